"""The learned codes: tables with a row per image or per class, and the values from which the rows start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iglo.errors import UserError
from iglo.files.io import read_array, write_array, write_rows
from iglo.models.config import TableConfig
from iglo.models.geometry import Euclidean
from iglo.runtime.device import Runtime, send
from iglo.runtime.threads import exact_threads

PCA_IMAGES, PCA_CHUNK = 10_000, 16_384  # images that the PCA is fitted on; images that it transforms at once


@dataclass(frozen=True)
class Shard:
    """Which rows of a table one rank holds. The table has a row per image.

    Attributes:
        first: id of the image in the first row of this rank.
        count: number of rows of the whole table.
    """

    first: int
    count: int


class CodeTable(nn.Module):
    """A table of learned codes: one row per image, or one row per class that images share.

    Args:
        codes: (K, d) float32, the starting codes. They must already lie where the geometry allows, because projecting
            a code twice changes its last bits.
        geometry: where the codes may lie.
        keys: (N,) int64, the row of each image, if images share rows; None: every image has its own row.
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
        self.weight.by_image = keys is None  # then each rank holds its own rows
        self.geometry, self.noisy, self.shard = geometry, noisy, shard or Shard(0, len(codes))
        self.register_buffer("keys", keys, persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        """Finds the rows of images in this rank's table: (B,) ids → (B,)."""
        if self.keys is not None:
            return self.keys[ids]
        return ids - self.shard.first if self.shard.first else ids

    def forward(self, ids: Tensor) -> Tensor:
        """Looks up the codes of images: (B,) ids → (B, d). Only the rows of these images get a gradient."""
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
        """Reads what `save` wrote. If each image has its own row, reads only the rows of this rank.

        These codes are mapped into memory, so other rows stay on disk.

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
    """All codes of a model. The code of an image is the concatenation of its codes in each table.

    GLO has one table, with a row per image. Class and content has two tables: one with a row per class and one with a
    row per image.
    """

    def __init__(self, **tables: CodeTable):
        super().__init__()
        self.tables = nn.ModuleDict(tables)

    @classmethod
    def load(cls, folder: Path, configs: Mapping[str, TableConfig], runtime: Runtime) -> "Codes":
        """Reads the tables that `save` wrote, in the order of `configs`."""
        return cls(**{name: CodeTable.load(folder, name, config, runtime) for name, config in configs.items()})

    def save(self, folder: Path, is_main: bool = True) -> None:
        """Writes every table. Each rank writes its own rows; the main rank writes the codes that images share."""
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
        """Looks up the codes of images of this rank, without gradient: (B,) ids → (B, d)."""
        return self(torch.from_numpy(ids).to(next(self.parameters()).device)).detach()

    def forward(self, ids: Tensor) -> Tensor:
        """Looks up the codes of images: (B,) ids → (B, d)."""
        return torch.cat([table(ids) for table in self.tables.values()], dim=1)

    def split(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Splits codes (B, d) into the columns of each table, as views."""
        return codes.split([table.weight.shape[1] for table in self.tables.values()], dim=1)

    def project(self, codes: Tensor) -> Tensor:
        """Projects codes (B, d): moves the columns of each table to the nearest values that its geometry allows."""
        pairs = zip(self.tables.values(), self.split(codes), strict=True)
        return torch.cat([table.geometry.project(columns) for table, columns in pairs], dim=1)

    def recombine(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """Permutes the codes that images share among the images of a batch: (B, d) → (B, d)."""
        columns = []
        for table, own in zip(self.tables.values(), self.split(codes), strict=True):
            order = None if table.keys is None else send(torch.randperm(len(own), generator=rng), own.device)
            columns.append(own if order is None else own[order])
        return torch.cat(columns, dim=1)

    @torch.no_grad()
    def noise(self, codes: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
        """Draws noise N(0, σ²I) for codes (B, d): (B, d). It is 0 in the columns of tables without noise.

        The CPU draws it, so that a random stream is the same on every device.
        """
        noise = sigma * send(torch.randn(codes.shape, generator=rng, dtype=torch.float32), codes.device)
        for table, columns in zip(self.tables.values(), self.split(noise), strict=True):
            if not table.noisy:
                columns.zero_()
        return noise


def normal_codes(count: int, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """Draws (count, d) float32 codes from the normal prior of the geometry."""
    return geometry.sample(count, dimension, rng)


def pca_codes(images: np.ndarray, dimension: int, geometry: Euclidean, rng: torch.Generator) -> Tensor:
    """Computes starting codes: principal components of the images, scaled to the radius (as in minimal GLO, LORD).

    Args:
        images: (N, H, W, C) uint8. The PCA is fitted on at most 10,000 of them, reduced to at most 32×32.
        dimension: length d of a code. Coordinates for which there is no component start as small noise.

    Returns:
        (N, d) float32. The root mean square length is the radius of the geometry.
    """
    # here, because only the first stage needs it; and before exact_threads, which sets the thread pools that are loaded
    from sklearn.decomposition import PCA

    spread = np.linspace(0, len(images) - 1, min(len(images), PCA_IMAGES)).astype(int)
    flat = _thumbnails(images[spread])
    rank = min(dimension, *flat.shape)
    seed = int(torch.randint(2**31, (1,), generator=rng))
    codes = torch.zeros(len(images), dimension, dtype=torch.float32)
    with exact_threads():
        pca = PCA(rank, random_state=seed).fit(flat)
        for start in range(0, len(images), PCA_CHUNK):
            rows = slice(start, start + PCA_CHUNK)
            codes[rows, :rank] = torch.from_numpy(pca.transform(_thumbnails(images[rows])))
    codes *= geometry.radius / codes.norm(dim=1).square().mean().sqrt().clamp_min(1e-12)
    noise = torch.randn(codes.shape, generator=rng, dtype=codes.dtype) * (0.01 * geometry.radius / math.sqrt(dimension))
    return geometry.project(codes + noise)


def _thumbnails(images: np.ndarray, side: int = 32) -> np.ndarray:
    """Reduces images by block means: (N, H, W, C) uint8 → (N, pixels) float32.

    A block has `height // side` pixels a side, at least one.
    """
    count, height, width, channels = images.shape
    step = max(1, height // side)
    flat = np.empty((count, height // step * (width // step) * channels), np.float32)
    for start in range(0, count, 1024):
        chunk = np.asarray(images[start : start + 1024], np.float32) / 255
        blocks = chunk.reshape(len(chunk), height // step, step, width // step, step, channels)
        flat[start : start + 1024] = blocks.mean((2, 4)).reshape(len(chunk), -1)
    return flat
