"""The learned codes: a table with a row per key, and what its rows start from."""

import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from iglo.models.geometry import Euclidean
from iglo.runtime.device import send
from iglo.runtime.threads import exact_threads

PCA_IMAGES, PCA_CHUNK = 10_000, 16_384  # images that components are fitted on, and that are transformed at once


class Factor(nn.Module):
    """One learned code per key.

    Args:
        codes: (K, d) float32, the starting codes, allowed by the geometry. They are taken as they are: to project what
            is projected changes last bits.
        geometry: where they may lie.
        keys: (N,) int64, the row of each image, or None when every image has a row of its own.
        noisy: whether the table's noise reaches these codes.
        first: the image of the first row, where the table is a rank's block of rows.
    """

    def __init__(
        self, codes: Tensor, geometry: Euclidean, keys: Tensor | None = None, noisy: bool = True, first: int = 0
    ):
        super().__init__()
        self.codes = nn.Parameter(codes)
        self.codes.by_image = keys is None  # so that each rank has rows of its own
        self.geometry, self.noisy, self.first = geometry, noisy, first
        self.register_buffer("keys", keys, persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        if self.keys is not None:
            return self.keys[ids]
        return ids - self.first if self.first else ids

    def forward(self, ids: Tensor) -> Tensor:
        """(B,) image ids → (B, d) codes, whose gradient reaches the batch's rows only."""
        return F.embedding(self.rows(ids), self.codes, sparse=True)


class LatentTable(nn.Module):
    """Factors side by side; an image's code is the concatenation of its factors' codes.

    GLO has one factor, keyed by image; class and content has two, one of them keyed by label.
    """

    def __init__(self, **factors: Factor):
        super().__init__()
        self.factors = nn.ModuleDict(factors)

    @property
    def dimension(self) -> int:
        return sum(factor.codes.shape[1] for factor in self.factors.values())

    def forward(self, ids: Tensor) -> Tensor:
        """(B,) image ids → (B, d) codes."""
        return torch.cat([factor(ids) for factor in self.factors.values()], dim=1)

    def shares(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(B, d) → views of each factor's columns."""
        return codes.split([factor.codes.shape[1] for factor in self.factors.values()], dim=1)

    def project(self, codes: Tensor) -> Tensor:
        """(B, d) → (B, d): each factor's share moved to where its codes may lie."""
        pairs = zip(self.factors.values(), self.shares(codes), strict=True)
        return torch.cat([factor.geometry.project(share) for factor, share in pairs], dim=1)

    def recombine(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """(B, d) → (B, d): the share of each factor that images have in common goes to another image of the batch."""
        shares = []
        for factor, share in zip(self.factors.values(), self.shares(codes), strict=True):
            order = None if factor.keys is None else send(torch.randperm(len(share), generator=rng), share.device)
            shares.append(share if order is None else share[order])
        return torch.cat(shares, dim=1)

    @torch.no_grad()
    def noise(self, codes: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
        """(B, d) noise N(0, σ²I) for the codes, 0 for factors that have none. Drawn on the CPU, so that a stream is the
        same on every device."""
        noise = sigma * send(torch.randn(codes.shape, generator=rng, dtype=torch.float32), codes.device)
        for factor, share in zip(self.factors.values(), self.shares(noise), strict=True):
            if not factor.noisy:
                share.zero_()
        return noise


def normal_codes(count: int, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """(count, d) float32 codes drawn from the geometry's prior."""
    return geometry.sample(count, dimension, rng)


@exact_threads()
def pca_codes(images: np.ndarray, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """Codes that start as the images' principal components (as in minimal GLO and LORD's starts), scaled to the radius.

    Args:
        images: (N, H, W, C) uint8. Components are fitted on at most 10,000 of them, at 32×32 or less.
        dimension: d; coordinates beyond the images' rank start as small noise.

    Returns:
        (N, d) float32, with the geometry's radius as root mean square length.
    """
    spread = np.linspace(0, len(images) - 1, min(len(images), PCA_IMAGES)).astype(int)
    flat = _thumbnails(images[spread])
    rank = min(dimension, *flat.shape)
    seed = int(torch.randint(2**31, (1,), generator=rng))
    pca = PCA(rank, random_state=seed).fit(flat)
    codes = torch.zeros(len(images), dimension, dtype=torch.float32)
    for start in range(0, len(images), PCA_CHUNK):
        rows = slice(start, start + PCA_CHUNK)
        codes[rows, :rank] = torch.from_numpy(pca.transform(_thumbnails(images[rows])))
    codes *= geometry.radius / codes.norm(dim=1).square().mean().sqrt().clamp_min(1e-12)
    noise = torch.randn(codes.shape, generator=rng, dtype=codes.dtype) * (0.01 * geometry.radius / math.sqrt(dimension))
    return geometry.project(codes + noise)


def _thumbnails(images: np.ndarray, side: int = 32) -> np.ndarray:
    """(N, H, W, C) uint8 → (N, features) float32: block means, at most `side` pixels a side."""
    count, height, width, channels = images.shape
    step = max(1, height // side)
    flat = np.empty((count, height // step * (width // step) * channels), np.float32)
    for start in range(0, count, 1024):
        chunk = np.asarray(images[start : start + 1024], np.float32) / 255
        blocks = chunk.reshape(len(chunk), height // step, step, width // step, step, channels)
        flat[start : start + 1024] = blocks.mean((2, 4)).reshape(len(chunk), -1)
    return flat
