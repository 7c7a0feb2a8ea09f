"""The images of the training codes, as the page shows them: reconstructions, their PSNR, and sheets of thumbnails."""

from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.evaluation.metrics import psnr_of_each
from iglo.explore.opening import Explored
from iglo.explore.sheets import png, shrunk, tiled
from iglo.progress import bar, quiet

THUMBNAIL = 32  # pixels, the largest side of a thumbnail
COLUMNS, PER_SHEET = 32, 1024
SHEETS_KEPT = 24
AT_ONCE = 256  # images
COMPARED = 200  # images in the median `typical`
MOST_OTHERS = 4000  # images that are searched for the nearest one


class Pictures:
    """The images of the training codes that the map shows, and of those nearest to an image.

    All reconstructions are rendered once, when this is made; progress is shown.
    """

    def __init__(self, explored: Explored):
        self.model, self.training, self.rows = explored.model, explored.training, explored.rows
        codes = explored.codes[torch.tensor(explored.rows)]
        batches = bar(codes.split(AT_ONCE), desc="rendering", unit="batch")
        self.renders = np.concatenate([self.rendered(codes) for codes in batches])
        self.side = min(THUMBNAIL, self.renders.shape[1])
        self.sheet = lru_cache(SHEETS_KEPT)(self._sheet)

    @property
    def sheet_count(self) -> int:
        return -(-len(self.rows) // PER_SHEET)

    @property
    def layout(self) -> dict[str, int]:
        """Where the thumbnails are in the sheets."""
        return {"side": self.side, "columns": COLUMNS, "per_sheet": PER_SHEET, "count": self.sheet_count}

    def shown_images(self, points: slice) -> np.ndarray:
        """Returns the training images of some points (M, H, W, C) uint8, or renders if they are not here."""
        if self.training is None:
            return self.renders[points]
        return np.asarray(self.training.images[self.rows[points]])

    def images(self, rows: list[int]) -> np.ndarray:
        """Returns training images by their rows, or their renders if they are not here: (M, H, W, C) uint8."""
        if self.training is not None:
            return np.asarray(self.training.images[rows])
        return self.rendered(self.model.ways.codes[rows])

    def rendered(self, codes: Tensor) -> np.ndarray:
        """Renders codes (N, d) as (N, H, W, C) uint8."""
        with quiet():
            return self.model.decode(codes)

    @cached_property
    def psnr(self) -> np.ndarray | None:
        """The PSNR (M,) in dB of the reconstructions of the points; None: there are no training images."""
        if self.training is None:
            return None
        starts = range(0, len(self.rows), AT_ONCE)
        parts = [slice(start, start + AT_ONCE) for start in starts]
        return np.concatenate([psnr_of_each(self.renders[part] / 255, self.shown_images(part) / 255) for part in parts])

    def _sheet(self, kind: str, number: int) -> bytes:
        """Returns a PNG of thumbnails; UserError if there is no such sheet."""
        if number >= self.sheet_count or (kind == "images" and self.training is None):
            raise UserError(f"sheets: there is no sheet {number} of {kind}.")
        points = slice(number * PER_SHEET, (number + 1) * PER_SHEET)
        images = self.renders[points] if kind == "renders" else self.shown_images(points)
        return png(tiled(shrunk(images, self.side), COLUMNS))

    def nearest(self, image: np.ndarray, count: int) -> tuple[list[int], list[float]]:
        """Finds the training images that are nearest to an image (H, W, C) uint8.

        Without training images it looks among the reconstructions of the points.

        Returns:
            Their rows and distances, the nearest first. A distance is the root mean square of the differences of pixels
            in [0, 1].
        """
        among = self.renders if self.training is None else self.training.images
        starts = range(0, len(among), AT_ONCE * 4)
        away = np.concatenate([_distances(image, among[start : start + AT_ONCE * 4]) for start in starts])
        found = away.argsort(kind="stable")[:count]
        rows = [self.rows[place] for place in found] if self.training is None else found.tolist()
        return rows, away[found].tolist()

    @cached_property
    def typical(self) -> float:
        """The median distance from a training image to the nearest other one, for COMPARED of MOST_OTHERS images."""
        points = np.linspace(0, len(self.rows) - 1, min(len(self.rows), MOST_OTHERS)).astype(int)
        images = self.renders if self.training is None else self.training.images
        others = np.asarray(images[points if self.training is None else [self.rows[point] for point in points]])
        some = np.unique(np.linspace(0, len(others) - 1, min(len(others), COMPARED)).astype(int))
        nearest = []
        for place in some:
            away = _distances(others[place], others)
            away[place] = np.inf
            nearest.append(away.min())
        finite = [distance for distance in nearest if np.isfinite(distance)]
        return float(np.median(finite)) if finite else 0.0


def _distances(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns root mean square differences (N,) between an image (H, W, C) and others (N, H, W, C), uint8."""
    difference = np.asarray(others, np.float32) - image.astype(np.float32)
    flat = difference.reshape(len(difference), -1)
    return np.sqrt(np.einsum("nd,nd->n", flat, flat) / flat.shape[1]) / 255
