"""Codes: where they start, their neighbours, and points between them."""

import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from iglo.models.codes import pca_codes
from iglo.models.geometry import Sphere

NEIGHBOURS = 5


def starting_codes(
    kind: str, images: np.ndarray, features: Tensor, dimension: int, geometry: Sphere, rng: torch.Generator
) -> Tensor:
    """Returns the starting codes (N, d): `Options.start` says what `kind` means.

    Args:
        images: (N, H, W, C) uint8.
        features: (N, C, H, W), the last block of the loss.
    """
    if kind == "pixels":
        return pca_codes(images, dimension, geometry, rng)
    if kind == "normal":
        codes = torch.randn(len(images), dimension, generator=rng, dtype=torch.float32)
    else:
        known = features.float().flatten(1).numpy()
        if kind == "both":
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            known = np.concatenate([_unit_variance(pixels.flatten(1).numpy()), _unit_variance(known)], 1)
        codes = torch.from_numpy(PCA(dimension, random_state=0).fit_transform(known)).float()
    codes = codes * geometry.radius / codes.norm(dim=1).square().mean().sqrt()
    return geometry.project(codes + 0.01 * torch.randn(codes.shape, generator=rng, dtype=torch.float32))


def _unit_variance(vectors: np.ndarray) -> np.ndarray:
    """Centres vectors and scales them so that their total variance is 1."""
    return (vectors - vectors.mean(0)) / math.sqrt(vectors.var(0).sum())


def nearest_codes(codes: Tensor) -> Tensor:
    """Finds the rows of the five nearest other codes of each code: (N, d) → (N, 5)."""
    distances = torch.cdist(codes, codes)
    return distances.fill_diagonal_(1e9).topk(NEIGHBOURS, largest=False).indices


def between(geometry: Sphere, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
    """Returns a point on each path: (B, d), (B, d) and times (B,) in [0, 1] → (B, d)."""
    return torch.cat(
        [geometry.interpolate(a[None], b[None], t[None])[0] for a, b, t in zip(start, end, times, strict=True)]
    )


def between_pairs(geometry: Sphere, codes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draws points between random codes, (count, d)."""
    first = torch.randint(len(codes), (count,), generator=rng)
    second = torch.randint(len(codes), (count,), generator=rng)
    times = torch.rand(count, generator=rng, dtype=torch.float32)
    return between(geometry, codes[first], codes[second], times)


def between_neighbours(geometry: Sphere, codes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draws points between random codes and one of their nearest codes, (count, d)."""
    nearest = nearest_codes(codes)
    first = torch.randint(len(codes), (count,), generator=rng)
    second = nearest[first, torch.randint(NEIGHBOURS, (count,), generator=rng)]
    times = torch.rand(count, generator=rng, dtype=torch.float32)
    return between(geometry, codes[first], codes[second], times)
