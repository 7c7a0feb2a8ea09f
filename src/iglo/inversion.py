"""The code of an image that was not trained on: by optimisation, from any start."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iglo.batches import Targets
from iglo.losses import Distance
from iglo.model import Model
from iglo.runtime import Runtime


def optimise_codes(
    model: Model,
    images: np.ndarray,
    start: Tensor,
    distance: Distance,
    steps: Sequence[int],
    runtime: Runtime,
    rate: float = 5e-2,
    batch_size: int = 256,
) -> list[Tensor]:
    """min over z of ‖G(z), x‖ for every image by itself, G fixed and in evaluation mode, by Adam.

    Every coordinate has its own moments and no image's gradient reaches another's code, so an image's result depends
    on its batch through rounding alone.

    Args:
        images: (N, H, W, C) uint8.
        start: (N, d) codes.
        steps: increasing; 0 is the start.
        rate: of Adam, for codes of unit variance per coordinate; it goes with the geometry's radius.

    Returns:
        For each of `steps`, the (N, d) codes after that many steps.
    """
    targets = Targets(images, np.arange(len(images)), distance, runtime)
    generator = model.generator.eval()
    pieces = [
        _optimise(generator, targets.part(ids).target, start[ids], model, distance, steps, runtime, rate)
        for ids in torch.arange(len(images)).split(batch_size)
    ]
    return [torch.cat(codes) for codes in zip(*pieces, strict=True)]


def _optimise(generator, target, start, model, distance, steps, runtime, rate) -> list[Tensor]:
    geometry = model.shape.geometry()
    codes = start.to(runtime.device).clone().requires_grad_(True)
    adam = torch.optim.Adam([codes], rate * geometry.radius / math.sqrt(codes.shape[1]))
    found = []
    for step in range(steps[-1] + 1):
        if step in steps:
            found.append(codes.detach().cpu().clone())
        if step == steps[-1]:
            return found
        with runtime.autocast():
            loss = distance.compare(distance.represent(generator(codes)), target).sum()
        (codes.grad,) = torch.autograd.grad(loss, codes)
        adam.step()
        with torch.no_grad():
            codes.copy_(geometry.project(codes))
