"""Warns if a training has learned nothing useful. The run goes on.

If the learning rate is far too high, the weights may be finite and the renders useless. The loss alone does not show
this: a black render is near to a dark image. So this module compares with the mean image. After a useful training,
renders are nearer to their originals than the mean image is.
"""

import numpy as np
import torch
from torch import nn

from iglo.errors import TrainingWarning, warn
from iglo.losses.terms import RenderedTerm, rendered
from iglo.training.batches import Targets
from iglo.training.loop import RunState

FEWEST_STEPS = 100  # shorter trainings are not checked
COMPARED_IMAGES = 64  # at most, on each rank
ALMOST_EQUAL = 1 / 255  # distance; if images are nearer than this to their mean, they are not checked


@torch.no_grad()
def warn_of_useless_images(
    name: str, state: RunState, model: nn.Module, term: RenderedTerm, targets: Targets, ids: np.ndarray, key: str
) -> None:
    """Warns if the renders of a term's codes are farther from the originals than the mean of the other images is.

    Args:
        name: name of the stage of training.
        term: its codes are rendered.
        ids: (M,) int64, this rank's images; COMPARED_IMAGES of them are compared.
        key: the key of the learning rate in params.yaml, which is the likely cause.
    """
    if state.step < FEWEST_STEPS:
        return
    runtime, distance = targets.runtime, targets.distance
    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(len(ids), COMPARED_IMAGES)).astype(int))]
    shown = targets.sub_batch(torch.from_numpy(some))
    means = (shown.images.sum(0) - shown.images) / max(1, len(some) - 1)  # for each image, the mean of the others
    sums = torch.zeros(3, dtype=torch.float64)
    if len(some) > 1:
        model.eval()
        codes = term.codes(model, {term.source: shown}, None)
        with runtime.autocast():
            pairs = [distance.represent(images) for images in (rendered(model.generator, codes), means)]
            values = [distance.compare(images, shown.target).double().sum().cpu() for images in pairs]
        sums = torch.stack([*values, torch.tensor(float(len(some)), dtype=torch.float64)])
    drawn, mean, count = runtime.all_reduce(sums).tolist()
    if runtime.is_main and count:
        warn_if_useless(name, state, drawn / count, mean / count, "images", key)


def warn_if_useless(name: str, state: RunState, found: float, of_mean: float, what: str, key: str) -> None:
    """Warns if a training is worse than a constant result.

    Args:
        found: mean distance of the results to the true values.
        of_mean: mean distance of the mean of the true values to the true values.
        what: the results in the message: "images" or "codes".
        key: the key of the learning rate in params.yaml.
    """
    if state.step >= FEWEST_STEPS and found > of_mean > ALMOST_EQUAL:
        warn(
            f"{name}: after {state.step} steps, its {what} are farther from the true {what} (distance {found:.3g}) "
            f"than the mean of the true {what} is ({of_mean:.3g}); lower {key}, or learn for more epochs.",
            TrainingWarning,
        )
