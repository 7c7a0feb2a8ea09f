"""The term for the realism of images of drawn codes: features are compared with those of real images."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

GRID, COMPARED = 4, 256  # cells a side of a map, in which features are averaged; real images of a step
SAMPLED = 300  # images in each of two groups, whose mean distance is the unit; N must be larger


class Realism:
    """Distance of images to the training images, summed over levels of features and divided by their number.

    Args:
        kind: energy (the energy distance of two sets) or chamfer (each image's distance to its
            nearest real one).
        levels: which tensors of a representation, as digits; 1 is the first block of features.
        targets: the representation of the training images, a tensor (N, C, H, W) for each level.
    """

    def __init__(self, kind: str, levels: str, targets: Sequence[Tensor]):
        self.kind, self.levels = kind, [int(level) for level in levels]
        chunks = [self._vectors([t[i : i + 100] for t in targets]) for i in range(0, len(targets[0]), 100)]
        vectors = [torch.cat(parts) for parts in zip(*chunks, strict=True)]
        self.means = [each.mean(0) for each in vectors]
        self.spreads = [(each.std(0) + 1e-3 * each.std()).mean() for each in vectors]
        self.real = [(v - m) / s for v, m, s in zip(vectors, self.means, self.spreads, strict=True)]
        self.units = [torch.cdist(v[:SAMPLED], v[SAMPLED : 2 * SAMPLED]).mean() for v in self.real]

    def __call__(self, representation: Sequence[Tensor], rng: torch.Generator) -> Tensor:
        """Computes the distance of the images with this representation; `rng` draws the real ones."""
        total = torch.zeros((), dtype=torch.float32)
        known = zip(self.real, self.means, self.spreads, self.units, strict=True)
        for vectors, (real, mean, spread, unit) in zip(self._vectors(representation), known, strict=True):
            vectors = (vectors - mean) / spread
            rows = torch.randperm(len(real), generator=rng)[:COMPARED]
            if self.kind == "energy":
                total = total + _energy(vectors, real[rows]) / unit
            else:
                total = total + _distances(vectors, real).min(1).values.mean() / unit
        return total / len(self.real)

    def _vectors(self, representation: Sequence[Tensor]) -> list[Tensor]:
        """Returns, for each level, means and standard deviations of the features in each cell: (B, 2 · C · cells).

        A map with fewer cells than GRID² has no standard deviations.
        """
        found = []
        for level in self.levels:
            maps = representation[level].float()
            side = min(GRID, maps.shape[-1])
            means = F.adaptive_avg_pool2d(maps, side)
            parts = [means]
            if maps.shape[-1] > side:
                variances = F.adaptive_avg_pool2d(maps * maps, side) - means * means
                parts.append(variances.clamp_min(1e-6).sqrt())
            found.append(torch.cat([part.flatten(1) for part in parts], 1))
        return found


def _energy(a: Tensor, b: Tensor) -> Tensor:
    """Computes twice the mean distance of rows of a to rows of b, minus that between different rows of a."""
    cross, own, count = _distances(a, b).mean(), _distances(a, a), len(a)
    return 2 * cross - (own.sum() - own.diagonal().sum()) / (count * (count - 1))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Computes the Euclidean distances of all rows, with a gradient where they are 0."""
    return (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp_min(1e-6).sqrt()
