"""Where codes may lie: anywhere, in a ball, or on a sphere. No other module knows the difference."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Euclidean:
    """Codes may lie anywhere. `radius` is the root mean square length of the starting codes; √d gives unit variance."""

    radius: float

    def project(self, codes: Tensor) -> Tensor:
        """(…, d) → (…, d): moves each code to the nearest allowed one."""
        return codes

    def sample(self, count: int, dimension: int, rng: torch.Generator) -> Tensor:
        """Draws (count, d) normal codes with the radius as root mean square length, and projects them."""
        normal = torch.randn(count, dimension, generator=rng, dtype=torch.float32)
        return self.project(normal * (self.radius / math.sqrt(dimension)))

    def interpolate(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """(P, d), (P, d), (T,) → (P, T, d): the path from start to end at times in [0, 1]."""
        times = times[None, :, None]
        return self.project((1 - times) * start[:, None] + times * end[:, None])


@dataclass(frozen=True)
class Ball(Euclidean):
    """Codes no longer than `radius` (GLO, Bojanowski et al. 2017: z / max(‖z‖, 1) for the unit ball)."""

    def project(self, codes: Tensor) -> Tensor:
        length = codes.norm(dim=-1, keepdim=True)
        return torch.where(length > self.radius, codes * (self.radius / length), codes)


@dataclass(frozen=True)
class Sphere(Euclidean):
    """Codes of length `radius`; paths are great circles."""

    def project(self, codes: Tensor) -> Tensor:
        return codes * (self.radius / codes.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    def interpolate(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """Slerp (Shoemake 1985); nearly opposite or equal codes fall back to the projected straight line."""
        unit_start, unit_end = start / self.radius, end / self.radius
        angle = torch.arccos((unit_start * unit_end).sum(-1).clamp(-1, 1))[:, None, None]
        times = times[None, :, None]
        sine = angle.sin()
        safe = torch.where(sine < 1e-4, torch.ones_like(sine), sine)
        start, end = start[:, None], end[:, None]
        arc = (((1 - times) * angle).sin() * start + (times * angle).sin() * end) / safe
        return self.project(torch.where(sine < 1e-4, (1 - times) * start + times * end, arc))


GEOMETRIES = {"none": Euclidean, "ball": Ball, "sphere": Sphere}


def make_geometry(constraint: str, radius: float | None, dimension: int) -> Euclidean:
    """The geometry named `none`, `ball` or `sphere`; radius None is √d, where noise σ is per unit variance."""
    return GEOMETRIES[constraint](math.sqrt(dimension) if radius is None else radius)
