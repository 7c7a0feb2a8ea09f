"""Snapshots: renders of the same training images at several epochs."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_array, write_json
from iglo.randomness import numpy_generator

IMAGES_SHOWN = 12  # of these, a third is from the first subset


class Snapshots:
    """Renders of K training images at several epochs. The K images of one epoch are a frame.

    Args:
        ids: (K,) int64, the ids of the K training images.
    """

    def __init__(self, ids: Tensor):
        self.ids = ids
        self.places: list[tuple[str, int]] = []  # (stage, epoch) of each frame
        self.frames: list[Tensor] = []  # (K, H, W, C) uint8

    @classmethod
    def of_random_images(cls, first_subset: np.ndarray, count: int, seed: int) -> "Snapshots":
        """Chooses images at random, a third of them from the first subset. There are no frames yet.

        Args:
            first_subset: ids of the images of the first subset.
            count: number of training images.
        """
        rng = numpy_generator(seed, "album")  # an old name; another name would choose other images
        first = rng.permutation(first_subset)[: IMAGES_SHOWN // 3]
        others = np.setdiff1d(rng.permutation(count), first, assume_unique=True)
        return cls(torch.from_numpy(np.concatenate([first, others[: IMAGES_SHOWN - len(first)]])))

    def add(self, stage: str, epoch: int, frame: Tensor) -> None:
        """Adds a frame. It replaces an older frame of the same stage and epoch."""
        if (stage, epoch) in self.places:
            self.frames[self.places.index((stage, epoch))] = frame
        else:
            self.places.append((stage, epoch))
            self.frames.append(frame)

    def state_dict(self) -> dict:
        return {"ids": self.ids, "places": self.places, "frames": self.frames}

    def load_state_dict(self, state: dict) -> None:
        self.ids, self.frames = state["ids"], state["frames"]
        self.places = [(stage, epoch) for stage, epoch in state["places"]]

    def save(self, folder: Path) -> None:
        frames = torch.stack(self.frames).numpy() if self.frames else np.zeros(0, np.uint8)
        write_array(folder / "snapshots.npy", frames)
        write_json(folder / "snapshots.json", {"ids": self.ids.tolist(), "places": self.places})

    @classmethod
    def load(cls, folder: Path) -> "Snapshots":
        """Reads what `save` wrote.

        Raises:
            UserError: the folder holds no snapshots.
        """
        path = folder / "snapshots.json"
        record = read_json(path)
        try:
            snapshots = cls(torch.tensor(record["ids"], dtype=torch.int64))
            if snapshots.ids.dim() != 1:
                raise TypeError
            snapshots.places = [(stage, epoch) for stage, epoch in record["places"]]
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"{path}: describes no snapshots; run the stage that makes it again.") from None
        count = len(snapshots.places)
        shape = (count, len(snapshots.ids), None, None, None) if count else (0,)
        snapshots.frames = list(torch.from_numpy(read_array(folder / "snapshots.npy", dtype=np.uint8, shape=shape)))
        return snapshots
