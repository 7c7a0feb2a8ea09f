"""Reads the prepared images of a run: one memory-mapped array, with ids, names and labels.

The id of an image is its row. Training images are rows 0 to n - 1, and test images follow.
"""

import csv
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from iglo.errors import UserError
from iglo.files.folders import natural_key

COLUMNS = ("id", "name", "label", "split")


@dataclass(frozen=True, eq=False)
class ImageStore:
    """The prepared images of a run.

    Attributes:
        images: (N, H, W, C) uint8, memory-mapped, read-only.
        names: N names.
        labels: N names of classes; "" for an image without a class.
        train_count: number of training images, which come first.
    """

    images: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    train_count: int

    @classmethod
    def open(cls, folder: str | Path) -> "ImageStore":
        """Opens the folder that `prepare.write_store` made. Raises UserError if it is not such a folder."""
        try:
            images = np.load(Path(folder) / "images.npy", mmap_mode="r", allow_pickle=False)
            names, labels, train_count = _read_index(Path(folder) / "index.csv")
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names):
                raise ValueError("images.npy and index.csv do not agree")
        except PermissionError:
            raise UserError(f"{folder}: cannot be read (permission denied); change its permissions.") from None
        except (OSError, ValueError, EOFError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{folder}: no folder of prepared images ({reason}); run the prepare stage.") from None
        return cls(images, names, labels, train_count)

    @property
    def train(self) -> np.ndarray:
        """The training images, a view (train_count, H, W, C) uint8. Row i is the image with id i."""
        return self.images[: self.train_count]

    @property
    def test(self) -> np.ndarray:
        """The test images, a view (N - train_count, H, W, C) uint8."""
        return self.images[self.train_count :]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The different labels, in natural order. "" is one of them if images have no label."""
        return tuple(sorted(set(self.labels), key=natural_key))

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(N,) int64: the position of each image's label in `classes`."""
        position = {label: index for index, label in enumerate(self.classes)}
        return np.array([position[label] for label in self.labels], dtype=np.int64)


class UnitImages:
    """uint8 images that are converted to floats in [0, 1] when they are read, so memory need not hold them all.

    Args:
        pixels: (N, H, W, C) uint8, memory-mapped if large.
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the rows as (M, H, W, C) float32."""
        return np.asarray(self.pixels[rows], np.float32) / 255


def _read_index(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Reads names, labels and the number of training images. Equal labels are one string, to need less memory.

    Raises:
        ValueError: the file is not the table that `write_store` writes.
    """
    names, labels, train_count = [], [], 0
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError(f"{path.name} does not have the columns {', '.join(COLUMNS)}")
        for _, name, label, split in rows:
            names.append(name)
            labels.append(sys.intern(label))
            train_count += split == "train"
    return tuple(names), tuple(labels), train_count
