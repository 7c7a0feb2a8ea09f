"""Reads the prepared images of a run: one memory-mapped array, with ids, names and labels.

The id of an image is its row. Training images come first, then validation images, then test images.
"""

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from iglo.errors import UserError
from iglo.files.folders import natural_key
from iglo.params.sections import Parts

COLUMNS = ("id", "name", "label", "split")
PARTS = Parts._fields  # the values of the column `split`, in the order of the rows


@dataclass(frozen=True, eq=False)
class ImageStore:
    """The prepared images of a run.

    Attributes:
        images: (N, H, W, C) uint8, memory-mapped, read-only.
        names: N names.
        labels: N names of classes; "" for an image without a class.
        parts: the numbers of images for training, validation and test, which come in this order.
    """

    images: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    parts: Parts

    @classmethod
    def open(cls, folder: str | Path, whole: bool = True) -> "ImageStore":
        """Opens the folder that `prepare.write_store` made. Raises UserError if it is not such a folder.

        Args:
            whole: whether it must have training and test images. A small arrival has no test images.
        """
        try:
            images = np.load(Path(folder) / "images.npy", mmap_mode="r", allow_pickle=False)
            names, labels, parts = _read_index(Path(folder) / "index.csv")
            if not parts.train or (whole and not parts.test):
                raise ValueError("index.csv has no training images or no test images")
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names):
                raise ValueError("images.npy and index.csv do not agree")
        except PermissionError:
            raise UserError(f"{folder}: cannot be read (permission denied); change its permissions.") from None
        except (OSError, ValueError, EOFError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{folder}: no folder of prepared images ({reason}); run the prepare stage.") from None
        return cls(images, names, labels, parts)

    @property
    def train(self) -> np.ndarray:
        """The training images, a view (parts.train, H, W, C) uint8. Row i is the image with id i."""
        return self.images[: self.parts.train]

    @property
    def validation(self) -> np.ndarray:
        """The images on which the prior is chosen, a view (parts.validation, H, W, C) uint8."""
        return self.images[self.parts.train : self.first_test]

    @property
    def test(self) -> np.ndarray:
        """The images on which the results are measured, a view (parts.test, H, W, C) uint8."""
        return self.images[self.first_test :]

    @property
    def first_test(self) -> int:
        """The id of the first test image."""
        return self.parts.train + self.parts.validation

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


def _read_index(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], Parts]:
    """Reads names, labels and the numbers of images in the parts. Equal labels are one string, to need less memory.

    Raises:
        ValueError: the file is not the table that `write_store` writes.
    """
    names, labels, counts, place = [], [], Counter(), 0
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError(f"{path.name} does not have the columns {', '.join(COLUMNS)}")
        for _, name, label, split in rows:
            names.append(name)
            labels.append(sys.intern(label))
            if split not in PARTS[place:]:  # a test image would be taken for a training image
                raise ValueError(f"the rows of {path.name} must be those of {', '.join(PARTS)}, in this order")
            place = PARTS.index(split)
            counts[split] += 1
    return tuple(names), tuple(labels), Parts(*(counts[part] for part in PARTS))
