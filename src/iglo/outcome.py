"""Whether a training has learned anything: where it has not, a warning says so, and the run goes on.

A rate that is far too high ends in garbage with finite numbers, which no check of weights finds. Nor does the loss: on
dark images, black ones are nearer than those of an untrained generator. So what was learned is held against the mean
of what was to be learned, which every training beats that is of use. Only a run of at least FEWEST_STEPS is judged.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from iglo.batches import Targets
from iglo.errors import TrainingWarning, warn
from iglo.objectives import Part, rendered
from iglo.training import Progress

FEWEST_STEPS = 100
LOOKED_AT = 64  # images of each rank
ALIKE = 1 / 255  # images that are nearer than this to their mean are all but the same, and it is hard to beat


@torch.no_grad()
def warn_of_useless_images(
    name: str,
    progress: Progress,
    generator: nn.Module,
    codes_of: Callable[[Part], Tensor],
    targets: Targets,
    ids: np.ndarray,
    key: str,
) -> None:
    """Warns where G(codes) is farther from its images than the mean of the other images is.

    Args:
        name: of the training.
        codes_of: the (B, d) codes of the images of a part.
        ids: of this rank's images that were to be learned, of which LOOKED_AT are looked at.
        key: the rate in params.yaml that is the likely cause.
    """
    if progress.step < FEWEST_STEPS:
        return
    runtime, distance = targets.runtime, targets.distance
    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(len(ids), LOOKED_AT)).astype(int))]
    part = targets.part(torch.from_numpy(some))
    means = (part.images.sum(0) - part.images) / max(1, len(some) - 1)  # no image is in its own mean
    sums = torch.zeros(3, dtype=torch.float64)
    if len(some) > 1:
        with runtime.autocast():
            pairs = [distance.represent(images) for images in (rendered(generator, codes_of(part)), means)]
            values = [distance.compare(images, part.target).double().sum().cpu() for images in pairs]
        sums = torch.stack([*values, torch.tensor(float(len(some)), dtype=torch.float64)])
    drawn, mean, count = runtime.total(sums).tolist()
    if runtime.first and count:
        warn_if_useless(name, progress, drawn / count, mean / count, "images", key)


def warn_if_useless(name: str, progress: Progress, found: float, of_mean: float, what: str, key: str) -> None:
    """Warns where `found`, a mean distance to what was to be learned, is more than that of its mean, `of_mean`."""
    if progress.step >= FEWEST_STEPS and found > of_mean > ALIKE:
        warn(
            f"{name}: after {progress.step} steps its {what} are farther from the true ones (distance {found:.3g}) "
            f"than the mean of those is ({of_mean:.3g}); lower {key}, or learn for more epochs.",
            TrainingWarning,
        )
