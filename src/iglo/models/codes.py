"""The learned codes: tables with a row per image or per class, and the starts of their rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from iglo.errors import UserError
from iglo.files.io import read_array, write_array, write_rows
from iglo.models.config import TableConfig
from iglo.models.geometry import Euclidean
from iglo.runtime.device import Runtime, send
from iglo.runtime.threads import exact_threads

PCA_IMAGES, PCA_CHUNK = 10_000, 16_384  # images that components are fitted on, and that are transformed at once


@dataclass(frozen=True)
class Shard:
    """The rows of a table that one rank holds, of a table with a row per image.

    Attributes:
        first: id of the image of the first row.
        count: rows of the whole table.
    """

    first: int
    count: int


class CodeTable(nn.Module):
    """A table of learned codes: one row per image, or one row per class that images share.

    Args:
        codes: (K, d) float32, the starting codes. They must already lie where the geometry allows, because projecting
            a code twice changes its last bits.
        geometry: where the codes may lie.
        keys: (N,) int64, the row of each image; None: every image has its own row.
        noisy: whether `Codes.noise` reaches these codes.
        shard: the rows that this rank holds; None: all rows.
    """

    def __init__(
        self,
        codes: Tensor,
        geometry: Euclidean,
        keys: Tensor | None = None,
        noisy: bool = True,
        shard: Shard | None = None,
    ):
        super().__init__()
        self.weight = nn.Parameter(codes)
        self.weight.by_image = keys is None  # so that each rank has rows of its own
        self.geometry, self.noisy, self.shard = geometry, noisy, shard or Shard(0, len(codes))
        self.register_buffer("keys", keys, persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        """(B,) image ids → (B,) rows of this rank's table."""
        if self.keys is not None:
            return self.keys[ids]
        return ids - self.shard.first if self.shard.first else ids

    def forward(self, ids: Tensor) -> Tensor:
        """(B,) image ids → (B, d) codes. The gradient reaches only the rows of the batch."""
        return F.embedding(self.rows(ids), self.weight, sparse=True)

    @property
    def values(self) -> Tensor:
        """(N, d) the code of every image of this rank, without gradient."""
        return self.weight.detach() if self.keys is None else self.weight.detach()[self.keys]

    def save(self, folder: Path, name: str, is_main: bool) -> None:
        """Writes `NAME_codes.npy`, and `NAME_keys.npy` if images share codes. Each rank writes its own rows."""
        codes = self.weight.detach().cpu().numpy()
        if self.keys is None:
            write_rows(folder / f"{name}_codes.npy", codes, self.shard.first, self.shard.count)
        elif is_main:
            write_array(folder / f"{name}_codes.npy", codes)
            write_array(folder / f"{name}_keys.npy", self.keys.cpu().numpy())

    @classmethod
    def load(cls, folder: Path, name: str, config: TableConfig, runtime: Runtime) -> "CodeTable":
        """Reads what `save` wrote: of a table with a row per image, the rows of this rank.

        The codes are mapped into memory: rows that are not asked for stay on disk.

        Raises:
            UserError: a file is missing, or holds no codes of this table.
        """
        path = folder / f"{name}_codes.npy"
        if config.shared:
            codes = read_array(path, dtype=np.float32, shape=(None, config.dimension))
            path = folder / f"{name}_keys.npy"
            keys = read_array(path, dtype=np.int64, shape=(None,))
            if len(keys) and not 0 <= keys.min() <= keys.max() < len(codes):
                raise UserError(f"{path}: names codes that are not there; run the stage that makes it again.")
            return cls(torch.from_numpy(codes), config.geometry, torch.from_numpy(keys), config.noisy)
        whole = read_array(path, mmap="c", dtype=np.float32, shape=(None, config.dimension))
        block = runtime.local_slice(len(whole))
        codes = torch.from_numpy(np.asarray(whole[block]))
        return cls(codes, config.geometry, noisy=config.noisy, shard=Shard(block.start, len(whole)))


class Codes(nn.Module):
    """All codes of a model: tables side by side. An image's code is the concatenation of its codes in each table.

    GLO has one table with a row per image. Class and content has two: one with a row per class, one with a row per
    image.
    """

    def __init__(self, **tables: CodeTable):
        super().__init__()
        self.tables = nn.ModuleDict(tables)

    @classmethod
    def load(cls, folder: Path, configs: Mapping[str, TableConfig], runtime: Runtime) -> "Codes":
        """Reads the tables that `save` wrote, in the order of `configs`."""
        return cls(**{name: CodeTable.load(folder, name, config, runtime) for name, config in configs.items()})

    def save(self, folder: Path, is_main: bool = True) -> None:
        """Writes every table. With several ranks, each rank writes its own rows, and the main rank the shared codes."""
        for name, table in self.tables.items():
            table.save(folder, name, is_main)

    @property
    def dimension(self) -> int:
        """Length of an image's code."""
        return sum(table.weight.shape[1] for table in self.tables.values())

    @property
    def values(self) -> Tensor:
        """(N, d) the code of every image of this rank, without gradient."""
        values = [table.values for table in self.tables.values()]
        return values[0] if len(values) == 1 else torch.cat(values, dim=1)

    def of(self, ids: np.ndarray) -> Tensor:
        """(B,) ids of images of this rank → (B, d) codes, without gradient."""
        return self(torch.from_numpy(ids).to(next(self.parameters()).device)).detach()

    def forward(self, ids: Tensor) -> Tensor:
        """(B,) image ids → (B, d) codes."""
        return torch.cat([table(ids) for table in self.tables.values()], dim=1)

    def split(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(B, d) codes → a view of the columns of each table."""
        return codes.split([table.weight.shape[1] for table in self.tables.values()], dim=1)

    def project(self, codes: Tensor) -> Tensor:
        """(B, d) → (B, d): moves the columns of each table to where its codes may lie."""
        pairs = zip(self.tables.values(), self.split(codes), strict=True)
        return torch.cat([table.geometry.project(columns) for table, columns in pairs], dim=1)

    def recombine(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """(B, d) → (B, d): gives the shared codes of each image to another image of the batch."""
        columns = []
        for table, own in zip(self.tables.values(), self.split(codes), strict=True):
            order = None if table.keys is None else send(torch.randperm(len(own), generator=rng), own.device)
            columns.append(own if order is None else own[order])
        return torch.cat(columns, dim=1)

    @torch.no_grad()
    def noise(self, codes: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
        """(B, d) noise N(0, σ²I) for the codes (B, d); 0 in the columns of tables without noise.

        It is drawn on the CPU, so that a random stream is the same on every device.
        """
        noise = sigma * send(torch.randn(codes.shape, generator=rng, dtype=torch.float32), codes.device)
        for table, columns in zip(self.tables.values(), self.split(noise), strict=True):
            if not table.noisy:
                columns.zero_()
        return noise


def normal_codes(count: int, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """Draws (count, d) float32 codes from the normal prior of the geometry."""
    return geometry.sample(count, dimension, rng)


@exact_threads()
def pca_codes(images: np.ndarray, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """Computes codes that start as principal components of the images, scaled to the radius (as in minimal GLO, LORD).

    Args:
        images: (N, H, W, C) uint8. Components are fitted on at most 10,000 of them, at 32×32 or less.
        dimension: length d of a code; coordinates beyond the rank of the images start as small noise.

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
