"""Batches of training images: which ids come when, and their pixels and target features."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.distances import Distance, Representation
from iglo.losses.terms import Batch, Part
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, send


class Targets:
    """Training images and their representation under a distance, ready for any ids.

    Images stay where they are, in memory or in a memory map, and each batch reads its own; a device with memory of its
    own is given them once, if they fit `cache_gb`. So is their representation computed once and kept, in the type in
    which the distance computes; over it, each batch is computed as it comes, with the same result.

    Args:
        images: (N, H, W, C) uint8.
        ids: the images that will be asked for, int64.
    """

    def __init__(
        self, images: np.ndarray, ids: np.ndarray, distance: Distance | None, runtime: Runtime, cache_gb: float = 0
    ):
        self.runtime, self.distance = runtime, distance
        self.images = np.asarray(images)  # of a memory map a plain view, whose rows are found faster
        self.row = torch.full((len(images),), -1)  # of each id in what is kept
        self.row[ids] = torch.arange(len(ids))
        self.pixels, left = None, cache_gb * 1e9
        if runtime.on_gpu and len(ids) * self.images[0].nbytes <= left:
            self.pixels = send(torch.from_numpy(self.images[ids]), runtime.device)
            left -= self.pixels.nbytes
        cached = distance is not None and len(ids)
        self.cache = self._build_cache(torch.from_numpy(ids), left) if cached else None

    def part(
        self,
        ids: Tensor,
        augment: Augment | None = None,
        rng: torch.Generator | None = None,
        of: int | None = None,
    ) -> Part:
        """The images `ids`, or a variation of them drawn from `rng`, as a part of a batch, or this rank's share `of`
        it."""
        rows = send(self.row[ids], self.runtime.device)
        images = _unit(self._read(ids) if self.pixels is None else self.pixels[rows])
        if augment is not None:
            images = augment(images, rng)
        if self.distance is None:
            target = []
        elif self.cache is not None and augment is None:
            target = [images, *(level[rows] for level in self.cache)]
        else:
            target = self._represent(images)
        return Part(send(ids, self.runtime.device), images, target, of)

    def _read(self, ids: Tensor) -> Tensor:
        return send(torch.from_numpy(self.images[ids.numpy()]), self.runtime.device)

    @torch.no_grad()
    def _represent(self, images: Tensor) -> Representation:
        with self.runtime.autocast():
            return self.distance.represent(images)

    def _build_cache(self, ids: Tensor, budget: float) -> list[Tensor] | None:
        """Every level but the pixels, which are cheap to make; None over the budget, in bytes."""
        levels = self._represent(_unit(self._read(ids[:1])))[1:]
        if not levels:  # only pixels are compared, so the images need not be read now
            return []
        if sum(level.nbytes for level in levels) * len(ids) > budget:
            return None
        cache = [level.new_empty(len(ids), *level.shape[1:]) for level in levels]
        cache = [kept.contiguous(memory_format=torch.channels_last) for kept in cache]
        pieces = torch.arange(len(ids)).split(64)
        for rows in bar(pieces, desc="targets", unit="batch", hidden=not self.runtime.is_main):
            for kept, level in zip(cache, self._represent(_unit(self._read(ids[rows])))[1:], strict=True):
                kept[rows] = level
        return cache


def _unit(pixels: Tensor) -> Tensor:
    """(B, H, W, C) uint8 → (B, C, H, W) float in [0, 1]"""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True)
class Schedule:
    """Which ids fill a part of each batch, and how their images are varied."""

    ids: np.ndarray
    batch_size: int
    augment: Augment | None = None

    @property
    def steps(self) -> int:
        return math.ceil(len(self.ids) / self.batch_size)

    @property
    def filled(self) -> int:
        """Images in each batch."""
        return min(self.batch_size, len(self.ids))


class Batches:
    """The batches of every epoch, each part shuffled from (seed, name, epoch) and always full.

    An epoch is as long as its longest part; a shorter part is cycled, as is the end of a part that does not fill its
    last batch (a small last batch would disturb batch norm).

    Of a batch that ranks share, each rank fills its share with images of its own block, from one endless row of
    permutations of them: all its images come equally often.

    Args:
        reshuffle: false keeps the order of the first epoch.

    Raises:
        UserError: a rank has no image of a part, or no place in its batches.
    """

    def __init__(self, targets: Targets, parts: Mapping[str, Schedule], seed: int, name: str, reshuffle: bool = True):
        self.targets, self.parts, self.seed, self.name, self.reshuffle = targets, parts, seed, name, reshuffle
        self.steps = max(schedule.steps for schedule in parts.values())
        self.runtime = targets.runtime
        self.own = {part: self.runtime.local_ids(schedule.ids, len(targets.images)) for part, schedule in parts.items()}
        self.share = {part: _length(self.runtime.local_slice(schedule.filled)) for part, schedule in parts.items()}
        fewest = torch.tensor([min(map(len, self.own.values())), min(self.share.values())])
        if not self.runtime.all(bool(fewest.all())):
            raise UserError(
                f"launch: every rank needs images of its own in each batch of {name}, and there are "
                f"{self.runtime.ranks} ranks; use fewer, or larger batches."
            )

    def noise(self, step: int) -> torch.Generator:
        """What the terms draw from at a step: a stream for each rank."""
        return torch_generator(self.seed, self._stream("noise"), step)

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first, …, last − 1, counted from the start of the run."""
        order: dict[str, Tensor] = {}
        for step in range(first, last):
            epoch, position = divmod(step, self.steps)
            if not order or position == 0:
                order = {part: self._order(part, epoch) for part in self.parts}
            yield {part: self._part(part, ids[position], step) for part, ids in order.items()}

    def _part(self, part: str, ids: Tensor, step: int) -> Part:
        augment = self.parts[part].augment
        rng = torch_generator(self.seed, self._stream(f"{part}/variation"), step) if augment else None
        return self.targets.part(ids, augment, rng, self.parts[part].filled)

    def _stream(self, name: str) -> str:
        return f"{self.name}/{name}" if self.runtime.is_main else f"{self.name}/{name}/{self.runtime.rank}"

    def _order(self, part: str, epoch: int) -> Tensor:
        """(steps, B) ids: permutations of the part's ids, one after the other."""
        if self.runtime.ranks > 1:
            return self._order_of_rank(part, epoch)
        ids = torch.from_numpy(self.parts[part].ids)
        size = self.parts[part].filled
        rng = torch_generator(self.seed, f"{self.name}/{part}", epoch if self.reshuffle else 0)
        rounds = math.ceil(self.steps * size / len(ids))
        order = torch.cat([ids[torch.randperm(len(ids), generator=rng)] for _ in range(rounds)])
        return order[: self.steps * size].view(self.steps, size)

    def _order_of_rank(self, part: str, epoch: int) -> Tensor:
        ids, size = torch.from_numpy(self.own[part]), self.share[part]
        first, last = epoch * self.steps * size, (epoch + 1) * self.steps * size
        rounds = range(first // len(ids), math.ceil(last / len(ids)))
        streams = [torch_generator(self.seed, self._stream(part), k if self.reshuffle else 0) for k in rounds]
        order = torch.cat([ids[torch.randperm(len(ids), generator=rng)] for rng in streams])
        return order[first - rounds.start * len(ids) :][: last - first].view(self.steps, size)


def _length(part: slice) -> int:
    return part.stop - part.start
