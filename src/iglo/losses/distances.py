"""Distances between images, one value per pair of images.

A distance first computes a representation of each image (pixels, pyramid or features), and then compares
representations. So the representations of the targets can be computed once and kept.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Representation = list[Tensor]


def mean_absolute(a: Tensor, *b: Tensor) -> Tensor:
    """Computes the mean of |a − b| over each row, (B,) float32. All `b` together have B rows, as `a` has."""
    return _MeanAbsolute.apply(a, *b)


def mean_square(a: Tensor, *b: Tensor) -> Tensor:
    """Computes the mean of (a − b)² over each row, (B,) float32. The arguments are those of `mean_absolute`."""
    return (a.float() - torch.cat(b).float()).square().flatten(1).mean(1)


class _MeanAbsolute(torch.autograd.Function):
    """The mean of |a − b|, summed in float32 even if the inputs have half precision. `b` gets no gradient.

    Feature maps are large. So the rows of `b` are not concatenated, and only signs are kept for the gradient.
    """

    @staticmethod
    def forward(ctx, a: Tensor, *b: Tensor) -> Tensor:
        signs = torch.empty_like(a)
        lengths = [len(target) for target in b]
        for rows, into, target in zip(a.split(lengths), signs.split(lengths), b, strict=True):
            torch.sub(rows, target, out=into)
        dims = tuple(range(1, a.dim()))
        values = torch.linalg.vector_norm(signs, 1, dims, dtype=torch.float32) / a[0].numel()
        signs.sign_()
        ctx.save_for_backward(signs)
        ctx.targets = len(b)
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (signs,) = ctx.saved_tensors
        scale = (gradient / signs[0].numel()).to(signs.dtype).view(-1, *[1] * (signs.dim() - 1))
        return signs * scale, *[None] * ctx.targets


class Distance(nn.Module):
    """Base of the distances: `represent` runs once per image, `compare` once per pair."""

    def represent(self, images: Tensor) -> Representation:
        """Computes the representation of images: (B, C, H, W) float in [0, 1] → tensors with a row per image."""
        return [images]

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        """Computes the distance of each image of `a` to its image of `b`, (B,) float32.

        All `b` together have B images.
        """
        raise NotImplementedError

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.compare(self.represent(a), self.represent(b))


class L1(Distance):
    """The mean absolute error."""

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        return mean_absolute(a[0], *(target[0] for target in b))


class L2(Distance):
    """The mean squared error."""

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        return mean_square(a[0], *(target[0] for target in b))


class L1L2(Distance):
    """The mean absolute error plus the mean squared error."""

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        pixels = [target[0] for target in b]
        return mean_absolute(a[0], *pixels) + mean_square(a[0], *pixels)


class LaplacianL1(Distance):
    """Σ_j 2^{2j} |L_j(a) − L_j(b)|₁ over a Laplacian pyramid, plus `l2` times the squared error.

    Bojanowski et al. 2017, after Ling & Okada 2006. Here the sums over the pixels of a level are means. The weight of a
    level stays the same, because level j has 2^{-2j} of the pixels.
    """

    def __init__(self, levels: int = 3, l2: float = 1.0):
        super().__init__()
        self.levels, self.l2 = levels, l2
        line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float32) / 16
        self.register_buffer("kernel", torch.outer(line, line)[None, None])

    def represent(self, images: Tensor) -> Representation:
        """Computes in float32 even under autocast: bfloat16 is too coarse for the small differences in a level."""
        with torch.autocast(images.device.type, enabled=False):
            pyramid, current = [], images.float()
            for _ in range(self.levels):
                smaller = self._blur(current)[:, :, ::2, ::2]
                pyramid.append(current - F.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False))
                current = smaller
        return [images, *pyramid, current]

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        pixels, *levels = zip(a, *b, strict=True)
        return sum(mean_absolute(*level) for level in levels) + self.l2 * mean_square(*pixels)

    def _blur(self, images: Tensor) -> Tensor:
        channels = images.shape[1]
        padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
        return F.conv2d(padded, self.kernel.expand(channels, 1, 5, 5), groups=channels)


class Perceptual(Distance):
    """w·‖a − b‖₁ + Σ_i ‖φ_i(a) − φ_i(b)‖₁, where φ_i are the features after block i of a VGG.

    Each norm is a mean over elements (Helman et al. 2019; after Johnson et al. 2016).

    Args:
        blocks: the frozen blocks of the VGG. A block ends with its last ReLU; the next block begins with the pooling.
        mean, std: three numbers each. They normalise the input of the VGG.
        dtype: the type in which the blocks run.
        pixel_weight: w. It is 1 in Helman et al. The errors of features are many times those of pixels, so with 1 the
            pixels hardly count.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        mean: Sequence[float],
        std: Sequence[float],
        dtype: torch.dtype = torch.float32,
        pixel_weight: float = 1.0,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(blocks).to(dtype, memory_format=torch.channels_last)
        self.dtype, self.pixel_weight = dtype, pixel_weight
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def represent(self, images: Tensor) -> Representation:
        features = ((images.expand(-1, 3, -1, -1) - self.mean) / self.std).to(
            self.dtype, memory_format=torch.channels_last
        )
        representation = [images]
        for block in self.blocks:
            features = block(features)
            representation.append(features)
        return representation

    def compare(self, a: Representation, *b: Representation) -> Tensor:
        pixels, *features = (mean_absolute(*level) for level in zip(a, *b, strict=True))
        return self.pixel_weight * pixels + sum(features)


PIXEL_DISTANCES = {"l1": L1, "l2": L2, "l1_l2": L1L2, "lap_l1": LaplacianL1}
