"""Augments training images: random mirroring, shifts and channel gains."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from iglo.runtime.device import send


@dataclass(frozen=True)
class Augment:
    """Random mirroring, shifts and channel gains, drawn for each image.

    Attributes:
        flip: mirror images left to right with probability 1/2.
        shift: largest shift in each direction, in pixels; the edge is filled by reflection.
        gain: each channel is multiplied by a factor in [1 - gain, 1 + gain], and clipped to [0, 1].
    """

    flip: bool
    shift: int
    gain: float

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Augments images (B, C, H, W) float in [0, 1]. Draws on the CPU, so every device gets the same values."""
        count, channels, height, width = images.shape
        if self.flip:
            mirrored = send(torch.rand(count, 1, 1, 1, generator=rng, dtype=torch.float32) < 0.5, images.device)
            images = torch.where(mirrored, images.flip(3), images)
        if self.shift:
            corners = torch.randint(0, 2 * self.shift + 1, (count, 2), generator=rng).tolist()
            padded = F.pad(images, (self.shift,) * 4, mode="reflect")
            cut = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)]
            images = torch.stack(cut)
        if self.gain:
            gains = 1 + self.gain * (2 * torch.rand(count, channels, 1, 1, generator=rng, dtype=torch.float32) - 1)
            images = (images * send(gains, images.device)).clamp(0, 1)
        return images
