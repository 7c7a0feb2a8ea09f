"""Warns if a training has learned nothing useful; the run goes on.

If the rate is far too high, weights may be finite and images useless. The loss does not show this: black images are
near to dark ones. So this module compares with the mean image: every useful training gives images that are nearer to
the originals than the mean image is. Only runs of at least FEWEST_STEPS are checked.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from iglo.errors import TrainingWarning, warn
from iglo.losses.terms import Part, rendered
from iglo.training.batches import Targets
from iglo.training.loop import Progress

FEWEST_STEPS = 100
LOOKED_AT = 64  # how many images of each rank are compared
ALIKE = 1 / 255  # images nearer than this to their mean are almost equal; then there is no check


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
    """Warns if G(codes) is farther from the images than the mean of the other images is.

    Args:
        name: name of the training.
        codes_of: gives the codes (B, d) of the images of a part.
        ids: ids of this rank's images that were to be learned; LOOKED_AT of them are compared.
        key: the key of the rate in params.yaml that is the likely cause.
    """
    if progress.step < FEWEST_STEPS:
        return
    runtime, distance = targets.runtime, targets.distance
    some = ids[np.unique(np.linspace(0, len(ids) - 1, min(len(ids), LOOKED_AT)).astype(int))]
    part = targets.part(torch.from_numpy(some))
    means = (part.images.sum(0) - part.images) / max(1, len(some) - 1)  # the mean for an image leaves this image out
    sums = torch.zeros(3, dtype=torch.float64)
    if len(some) > 1:
        with runtime.autocast():
            pairs = [distance.represent(images) for images in (rendered(generator, codes_of(part)), means)]
            values = [distance.compare(images, part.target).double().sum().cpu() for images in pairs]
        sums = torch.stack([*values, torch.tensor(float(len(some)), dtype=torch.float64)])
    drawn, mean, count = runtime.all_reduce(sums).tolist()
    if runtime.is_main and count:
        warn_if_useless(name, progress, drawn / count, mean / count, "images", key)


def warn_if_useless(name: str, progress: Progress, found: float, of_mean: float, what: str, key: str) -> None:
    """Warns if the mean distance `found` of what was learned is larger than `of_mean`, that of the mean."""
    if progress.step >= FEWEST_STEPS and found > of_mean > ALIKE:
        warn(
            f"{name}: after {progress.step} steps, its {what} are farther from the true ones (distance {found:.3g}) "
            f"than their mean is ({of_mean:.3g}); lower {key}, or learn for more epochs.",
            TrainingWarning,
        )
