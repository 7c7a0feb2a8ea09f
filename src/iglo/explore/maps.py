"""Maps: the training codes in two dimensions, and the code of every place of a map."""

import hashlib
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from iglo.errors import UserError, warn
from iglo.files.io import read_array, whole_file, write_array
from iglo.models.geometry import Euclidean
from iglo.runtime.threads import exact_threads, set_threads

LAYOUTS = ("pca", "neighbours")
MARGIN = 0.95  # the points lie within ±MARGIN, and the map ends at ±1
PERPLEXITY = 30.0  # of t-SNE
FEWEST = 5  # codes of a neighbour embedding; fewer codes have no neighbourhoods
BLENDED = 4  # codes that are blended at a place of the neighbour embedding
SMALLEST = 1e-12
EMBEDDING_VERSION = "1"


@dataclass(frozen=True)
class Directions:
    """The principal directions of codes.

    Attributes:
        mean: (d,) mean of the codes.
        vectors: (K, d) unit vectors, in the order of their variance.
        std: (K,) standard deviation of the codes along each direction.
        share: (K,) share of the variance.
    """

    mean: Tensor
    vectors: Tensor
    std: Tensor
    share: Tensor

    def values(self, codes: Tensor) -> Tensor:
        """Computes where codes (N, d) lie along the directions, (N, K), in standard deviations from the mean."""
        return (codes - self.mean) @ self.vectors.T / self.std


def principal_directions(codes: Tensor, first: int, most: int) -> Directions:
    """Computes principal directions of codes (N, d). The coordinate of the largest size is positive in each.

    Args:
        first: the first coordinate that may change. The coordinates of a class code, for example, come before it.
        most: largest number of directions.
    """
    fitted = PCA(min(most, len(codes), codes.shape[1] - first), svd_solver="full", random_state=0)
    with exact_threads(), np.errstate(invalid="ignore", divide="ignore"):  # one code, or equal codes, have no variance
        fitted.fit(codes[:, first:].double().numpy())
    varied = np.nan_to_num(fitted.explained_variance_ratio_) > SMALLEST
    vectors = np.pad(fitted.components_[varied], ((0, 0), (first, 0)))
    std, share = np.sqrt(fitted.explained_variance_[varied]), fitted.explained_variance_ratio_[varied]
    return Directions(codes.mean(0), *(torch.from_numpy(each).float() for each in (vectors, std, share)))


class CodeMap:
    """A map of codes.

    Attributes:
        points: (M, 2) float64, the places of the codes, within ±MARGIN.
        explained: the shares of the variance along x and y; None: the layout has none.
    """

    def __init__(self, points: np.ndarray, codes: Tensor, geometry: Euclidean, explained: list[float] | None = None):
        self.low, self.high = points.min(0), points.max(0)
        self.scale = MARGIN / max(((self.high - self.low) / 2).max(), SMALLEST)
        self.points = (points - (self.low + self.high) / 2) * self.scale
        self.codes, self.geometry, self.explained = codes, geometry, explained

    def code_at(self, places: np.ndarray) -> Tensor:
        """Returns the codes (P, d) of places (P, 2)."""
        raise NotImplementedError

    def _nearest(self, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the nearest points of places (P, 2): their numbers and distances, (P, count), the nearest first."""
        count = min(count, len(self.points))
        away = np.linalg.norm(places[:, None] - self.points[None], axis=2)
        some = np.argpartition(away, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(away, some, 1)
        order = found.argsort(1, kind="stable")
        return np.take_along_axis(some, order, 1), np.take_along_axis(found, order, 1)


class PrincipalMap(CodeMap):
    """The map of the first two principal directions.

    The code of a place is the code of the nearest point, moved along the two directions to that place.
    """

    def __init__(self, directions: Directions, codes: Tensor, geometry: Euclidean):
        vectors = directions.vectors[:2]
        points = np.zeros((len(codes), 2))
        points[:, : len(vectors)] = ((codes - directions.mean) @ vectors.T).double().numpy()
        share = [*directions.share[:2].tolist(), 0.0, 0.0][:2]
        super().__init__(points, codes, geometry, share)
        self.vectors = vectors

    def code_at(self, places: np.ndarray) -> Tensor:
        nearest = self._nearest(places, 1)[0][:, 0]
        moved = torch.from_numpy((places - self.points[nearest]) / self.scale).float()[:, : len(self.vectors)]
        return self.geometry.project(self.codes[torch.from_numpy(nearest)] + moved @ self.vectors)


class NeighbourMap(CodeMap):
    """The map of a neighbour embedding.

    The code of a place is a weighted mean of the codes of the nearest points. The weight of a point falls from infinity
    at the point to zero at the distance of the first point that is left out, so codes change continuously.
    """

    def code_at(self, places: np.ndarray) -> Tensor:
        nearest, away = self._nearest(places, BLENDED + 1)
        reach = away[:, -1:] if away.shape[1] > BLENDED else 2 * away[:, -1:]
        kept, away = nearest[:, :BLENDED], np.maximum(away[:, :BLENDED], SMALLEST)
        weights = np.maximum(1 / away - 1 / np.maximum(reach, 2 * SMALLEST), 0) ** 2
        weights[:, 0] = np.maximum(weights[:, 0], SMALLEST)  # all points may be equally far
        weights /= weights.sum(1, keepdims=True)
        blended = torch.from_numpy(weights)[..., None] * self.codes[torch.from_numpy(kept)].double()
        return self.geometry.project(blended.sum(1).float())


class Embedding:
    """The neighbour embedding of codes, which another process computes. Its file is kept for the next time.

    Args:
        codes: (M, d) float32.
        folder: where embeddings are kept.
    """

    def __init__(self, codes: Tensor, folder: Path):
        digest = hashlib.sha256(EMBEDDING_VERSION.encode() + repr(tuple(codes.shape)).encode())
        digest.update(codes.contiguous().numpy().tobytes())
        self.path = folder / f"{digest.hexdigest()[:24]}.npy"
        self._given = self.path.with_suffix(f".{os.getpid()}.npy")  # a pipe would block until the process reads
        self.codes, self.started, self._process, self._refused = codes, time.monotonic(), None, False

    def start(self) -> None:
        """Starts the process, unless the file is there. If the folder cannot be written, the embedding has failed."""
        started = self._process is not None and self._process.exitcode != 0  # 0: somebody has removed the file
        if started or self._refused or self.found() is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_array(self._given, self.codes.numpy())
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(target=write_embedding, args=(self._given, self.path), daemon=True)
            self._process.start()
        except OSError as error:
            self._refused = True
            reason = (error.strerror or str(error)).lower()
            warn(f"map: {self.path.parent} cannot be written ({reason}), so there is no neighbour embedding.")

    def stop(self) -> None:
        """Ends the process if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._given.unlink(missing_ok=True)

    def found(self) -> np.ndarray | None:
        """Reads the places (M, 2); None: they are not there yet, or the file is damaged."""
        with suppress(UserError, OSError):
            points = read_array(self.path, dtype=np.float64, shape=(len(self.codes), 2))
            if np.isfinite(points).all():
                return points
        return None

    def wait(self) -> np.ndarray:
        """Waits for the places (M, 2); UserError if they cannot be computed."""
        self.start()
        if self._process is not None:
            self._process.join()
        if (points := self.found()) is None:
            raise UserError(f"map: the neighbour embedding failed; see whether {self.path.parent} can be written.")
        return points

    @property
    def failed(self) -> bool:
        """Whether the process has ended without a result."""
        return self._refused or (self._process is not None and self._process.exitcode not in (None, 0))

    @property
    def seconds(self) -> int:
        """Seconds since the start."""
        return int(time.monotonic() - self.started)


def write_embedding(codes: Path, out: Path) -> None:
    """Computes the neighbour embedding of codes (M, d) in a file, and writes it as an array (M, 2) float64.

    The file of the codes is deleted. The process ends when its parent ends, however that happens.
    """
    set_threads(1)  # the page needs the other cores
    values = read_array(codes)
    codes.unlink()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    points = neighbour_embedding(values)
    with whole_file(out) as partial:
        write_array(partial, points)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def neighbour_embedding(codes: np.ndarray) -> np.ndarray:
    """Embeds codes (M, d) in two dimensions by t-SNE (van der Maaten & Hinton 2008): (M, 2) float64."""
    if len(codes) < FEWEST:
        return np.pad(codes[:, :2].astype(np.float64), ((0, 0), (0, max(0, 2 - codes.shape[1]))))
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    with exact_threads():
        embedded = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(codes)
    return embedded.astype(np.float64)


@dataclass(frozen=True)
class Shade:
    """How far the places of a square grid over a map are from the nearest code.

    Attributes:
        distance: (S, S) float32; row 0 is at y = +1.
    """

    distance: np.ndarray

    @classmethod
    def of(cls, code_map: CodeMap, side: int) -> "Shade":
        places = grid_places(side)
        codes = torch.cat([code_map.code_at(some) for some in np.array_split(places, -(-len(places) // 256))])
        away = torch.cat([torch.cdist(some, code_map.codes).amin(1) for some in codes.split(256)])
        return cls(away.reshape(side, side).numpy())

    @cached_property
    def grey(self) -> np.ndarray:
        """The distances as grey levels (S, S, 1) uint8; white is the largest."""
        return np.rint(255 * self.distance / max(self.distance.max(), SMALLEST)).astype(np.uint8)[..., None]


def grid_places(side: int) -> np.ndarray:
    """Returns the centres (S·S, 2) of the cells of a square grid over a map, row by row from y = +1."""
    centres = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(centres, -centres)
    return np.stack([x.ravel(), y.ravel()], axis=1)
