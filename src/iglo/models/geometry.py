"""The geometry of codes: they may lie anywhere, in a ball, or on a sphere. Only this module knows the difference."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Euclidean:
    """Codes may lie anywhere.

    Attributes:
        radius: root mean square length of the starting codes. With √d, each coordinate has variance 1.
    """

    radius: float

    def project(self, codes: Tensor) -> Tensor:
        """Moves each code (…, d) to the nearest allowed code."""
        return codes

    def sample(self, count: int, dimension: int, rng: torch.Generator) -> Tensor:
        """Draws (count, d) normal codes whose root mean square length is the radius, and projects them."""
        normal = torch.randn(count, dimension, generator=rng, dtype=torch.float32)
        return self.project(normal * (self.radius / math.sqrt(dimension)))

    def interpolate(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """Computes points on the path from each start to its end: (P, d), (P, d) → (P, T, d).

        Args:
            times: (T,), or (P, T) for each path its own, in [0, 1].
        """
        times = times[..., None]
        return self.project((1 - times) * start[:, None] + times * end[:, None])

    def distance(self, start: Tensor, end: Tensor) -> Tensor:
        """Computes the length of the path from each start to its end: (P, d), (P, d) → (P,)."""
        return (start - end).norm(dim=-1)


@dataclass(frozen=True)
class Ball(Euclidean):
    """Codes are at most `radius` long (Bojanowski et al. 2017: z / max(‖z‖, 1) for the unit ball)."""

    def project(self, codes: Tensor) -> Tensor:
        length = codes.norm(dim=-1, keepdim=True)
        return torch.where(length > self.radius, codes * (self.radius / length), codes)


@dataclass(frozen=True)
class Sphere(Euclidean):
    """Codes have the length `radius`. Paths are arcs of great circles."""

    def project(self, codes: Tensor) -> Tensor:
        return codes * (self.radius / codes.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    def interpolate(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """Interpolates by slerp (Shoemake 1985). Nearly equal or opposite codes get the projected straight line."""
        unit_start, unit_end = start / self.radius, end / self.radius
        angle = torch.arccos((unit_start * unit_end).sum(-1).clamp(-1, 1))[:, None, None]
        times = times[..., None]
        sine = angle.sin()
        safe = torch.where(sine < 1e-4, torch.ones_like(sine), sine)
        start, end = start[:, None], end[:, None]
        arc = (((1 - times) * angle).sin() * start + (times * angle).sin() * end) / safe
        return self.project(torch.where(sine < 1e-4, (1 - times) * start + times * end, arc))

    def distance(self, start: Tensor, end: Tensor) -> Tensor:
        """Computes lengths of arcs, from the chord, because it is exact for near codes and 0 for equal ones."""
        half = (start - end).norm(dim=-1) / (2 * self.radius)
        return 2 * self.radius * torch.arcsin(half.clamp_max(1))


GEOMETRIES = {"none": Euclidean, "ball": Ball, "sphere": Sphere}


def make_geometry(constraint: str, radius: float | None, dimension: int) -> Euclidean:
    """Makes the geometry named `none`, `ball` or `sphere`. Radius None means √d: each coordinate has variance 1."""
    return GEOMETRIES[constraint](math.sqrt(dimension) if radius is None else radius)
