"""Opens the prepared images of the first run and of the arrivals after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iglo.data.store import ImageStore
from iglo.errors import UserError


@dataclass(frozen=True)
class Collection:
    """The prepared images of the first run and of arrivals, in the order in which they came.

    Attributes:
        stores: those of the first run and of each arrival; None if its images are no longer there.
    """

    stores: tuple[ImageStore | None, ...]

    @classmethod
    def open(cls, prepared: str | Path, arrived: str | Path, ids: Sequence[str]) -> "Collection":
        """Opens what is there.

        Args:
            prepared: folder of the prepared images of the first run.
            arrived: folder with a folder of prepared images for each arrival.
            ids: names of the arrivals.
        """
        folders = [Path(prepared), *(Path(arrived) / each for each in ids)]
        return cls(tuple(ImageStore.open(each, whole=False) if each.is_dir() else None for each in folders))

    @property
    def is_complete(self) -> bool:
        """Whether all images are there."""
        return None not in self.stores

    def part(self, name: str) -> np.ndarray:
        """Returns the images of a part (train, validation or test) that are there, (N, H, W, C) uint8.

        If no images are there at all, N, H, W and C are 0.
        """
        parts = [getattr(store, name) for store in self.stores if store is not None]
        return np.concatenate(parts) if parts else np.empty((0, 0, 0, 0), np.uint8)


def subsets_of(folder: str | Path, subset_id: np.ndarray) -> list[np.ndarray]:
    """Returns the ids of each subset of an arrival, in the order in which they are learned.

    Args:
        subset_id: (M,) int32, the subset of each training image, from 1.
    """
    subsets = [np.flatnonzero(subset_id == number) for number in range(1, int(subset_id.max(initial=0)) + 1)]
    if not subsets or not all(map(len, subsets)) or sum(map(len, subsets)) != len(subset_id):
        raise UserError(f"{folder}: holds no subsets of an arrival; run the stage that makes it again.")
    return subsets
