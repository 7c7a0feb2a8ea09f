"""Warns if a training has learned nothing useful; the run goes on.

If the learning rate is far too high, the weights may be finite and the images useless. The loss does not show this:
black images are near to dark ones. So this module compares with the mean image: a useful training gives images that are
nearer to the originals than the mean image is. Only runs of at least FEWEST_STEPS are checked.
"""

import numpy as np
import torch
from torch import nn

from iglo.errors import TrainingWarning, warn
from iglo.losses.terms import RenderedTerm, rendered
from iglo.training.batches import Targets
from iglo.training.loop import RunState

FEWEST_STEPS = 100
COMPARED_IMAGES = 64  # how many images of each rank are compared
ALMOST_EQUAL = 1 / 255  # images nearer than this to their mean are almost equal; then there is no check


@torch.no_grad()
def warn_of_useless_images(
    name: str, state: RunState, model: nn.Module, term: RenderedTerm, targets: Targets, ids: np.ndarray, key: str
) -> None:
    """Warns if the images of a term's codes are farther from the originals than the mean of the other images is.

    Args:
        name: name of the stage of training.
        ids: (M,) ids of this rank's images that were to be learned; COMPARED_IMAGES of them are compared.
        key: the key in params.yaml of the learning rate, which is the likely cause.
    """
    if state.step < FEWEST_STEPS:
        return
    runtime, distance = targets.runtime, targets.distance
    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(len(ids), COMPARED_IMAGES)).astype(int))]
    shown = targets.sub_batch(torch.from_numpy(some))
    means = (shown.images.sum(0) - shown.images) / max(1, len(some) - 1)  # the mean for an image leaves this image out
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
    """Warns if the mean distance `found` of the learned things is larger than the distance `of_mean` of their mean."""
    if state.step >= FEWEST_STEPS and found > of_mean > ALMOST_EQUAL:
        warn(
            f"{name}: after {state.step} steps, its {what} are farther from the true ones (distance {found:.3g}) "
            f"than their mean is ({of_mean:.3g}); lower {key}, or learn for more epochs.",
            TrainingWarning,
        )
