"""Batches of training images: the order of the ids, the pixels and the representations of the targets."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.distances import Distance, Representation
from iglo.losses.terms import Batch, SubBatch
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, send


class Targets:
    """Training images and their representations under a distance.

    The images stay in memory or in a memory map, and each batch reads its own images. A GPU keeps all of them if they
    fit into `cache_gb`. The representations are computed once and kept if they fit too; otherwise each batch computes
    its own, with the same result.

    Args:
        images: (N, H, W, C) uint8.
        ids: (M,) int64, the images that batches will ask for.
        cache_gb: memory for images on a GPU and for representations, in 10⁹ bytes.
    """

    def __init__(
        self, images: np.ndarray, ids: np.ndarray, distance: Distance | None, runtime: Runtime, cache_gb: float = 0
    ):
        self.runtime, self.distance = runtime, distance
        self.images = np.asarray(images)  # a plain array reads rows of a memory map faster
        self.row = torch.full((len(images),), -1)  # place of each id in the cache
        self.row[ids] = torch.arange(len(ids))
        self.pixels, left = None, cache_gb * 1e9
        if runtime.on_gpu and len(ids) * self.images[0].nbytes <= left:
            self.pixels = send(torch.from_numpy(self.images[ids]), runtime.device)
            left -= self.pixels.nbytes
        cached = distance is not None and len(ids)
        self.cache = self._build_cache(torch.from_numpy(ids), left) if cached else None

    def sub_batch(
        self,
        ids: Tensor,
        augment: Augment | None = None,
        rng: torch.Generator | None = None,
        whole_size: int | None = None,
    ) -> SubBatch:
        """Makes a sub-batch of the images `ids`.

        Args:
            augment: augments the images with random draws from `rng`; None: they stay as they are.
            whole_size: number of images of this sub-batch over all ranks; None: `ids` are all of them.
        """
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
        return SubBatch(send(ids, self.runtime.device), images, target, whole_size)

    def _read(self, ids: Tensor) -> Tensor:
        return send(torch.from_numpy(self.images[ids.numpy()]), self.runtime.device)

    @torch.no_grad()
    def _represent(self, images: Tensor) -> Representation:
        with self.runtime.autocast():
            return self.distance.represent(images)

    def _build_cache(self, ids: Tensor, budget: float) -> list[Tensor] | None:
        """Computes the representations of images, without their pixels. None: they need more than `budget` bytes."""
        levels = self._represent(_unit(self._read(ids[:1])))[1:]
        if not levels:  # the distance compares only pixels
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
    """Scales images: (B, H, W, C) uint8 → (B, C, H, W) float in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True)
class IdSampler:
    """The ids that fill one sub-batch of every batch, and how their images are augmented.

    Attributes:
        sets_length: whether an epoch lasts until all these images have been seen. If not, an epoch may show only some
            of them, drawn anew every time.
    """

    ids: np.ndarray
    batch_size: int
    augment: Augment | None = None
    sets_length: bool = True

    @property
    def steps(self) -> int:
        """Batches that are needed to see every image once; 1 if these images do not set the length of an epoch."""
        return math.ceil(len(self.ids) / self.batch_size) if self.sets_length else 1

    @property
    def size(self) -> int:
        """Images in each sub-batch, over all ranks."""
        return min(self.batch_size, len(self.ids))


class Batches:
    """The batches of every epoch. The order of each sub-batch is random and depends on (seed, name, epoch).

    The sub-batch with the most steps sets the length of an epoch; the ids of the others repeat. All sub-batches are
    full, also in the last batch of an epoch, because a small batch would disturb batch norm.

    With several ranks, each rank fills its share of a batch with images of its own block. It takes them from one
    permutation after another, across epochs, so all its images come equally often.

    Args:
        sources: the ids of each sub-batch. The keys are the `source` of the terms.
        name: name of the stage of training, in messages.
        reshuffle: False keeps the order of the first epoch.
        stream: name of the random streams; empty: `name`.

    Raises:
        UserError: a rank has no images for a sub-batch, or the sub-batch has fewer images than there are ranks.
    """

    def __init__(
        self,
        targets: Targets,
        sources: Mapping[str, IdSampler],
        seed: int,
        name: str,
        reshuffle: bool = True,
        stream: str = "",
    ):
        self.targets, self.sources, self.seed, self.name, self.reshuffle = targets, sources, seed, name, reshuffle
        self.stream = stream or name
        self.steps = max(sampler.steps for sampler in sources.values())
        self.runtime = targets.runtime
        count = len(targets.images)
        self.own = {source: self.runtime.local_ids(sampler.ids, count) for source, sampler in sources.items()}
        self.share = {source: _length(self.runtime.local_slice(sampler.size)) for source, sampler in sources.items()}
        fewest = torch.tensor([min(map(len, self.own.values())), min(self.share.values())])
        if not self.runtime.all(bool(fewest.all())):
            raise UserError(
                f"launch: each of the {self.runtime.ranks} ranks needs its own images in every batch of {name}; use "
                "fewer ranks or larger batches."
            )

    def noise(self, step: int) -> torch.Generator:
        """Makes the random stream from which the terms draw at a step. Each rank has its own stream."""
        return torch_generator(self.seed, self._stream("noise"), step)

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """Yields the batches of the steps first, …, last − 1, counted from the start of the stage."""
        order: dict[str, Tensor] = {}
        for step in range(first, last):
            epoch, position = divmod(step, self.steps)
            if not order or position == 0:
                order = {source: self._order(source, epoch) for source in self.sources}
            yield {source: self._sub_batch(source, ids[position], step) for source, ids in order.items()}

    def _sub_batch(self, source: str, ids: Tensor, step: int) -> SubBatch:
        augment = self.sources[source].augment
        rng = torch_generator(self.seed, self._stream(f"{source}/variation"), step) if augment else None
        return self.targets.sub_batch(ids, augment, rng, self.sources[source].size)

    def _stream(self, name: str) -> str:
        return f"{self.stream}/{name}" if self.runtime.is_main else f"{self.stream}/{name}/{self.runtime.rank}"

    def _order(self, source: str, epoch: int) -> Tensor:
        """Makes the ids of an epoch, (steps, B): permutations of the ids of a source, one after the other."""
        if self.runtime.ranks > 1:
            return self._order_of_rank(source, epoch)
        ids = torch.from_numpy(self.sources[source].ids)
        size = self.sources[source].size
        rng = torch_generator(self.seed, f"{self.stream}/{source}", epoch if self.reshuffle else 0)
        rounds = math.ceil(self.steps * size / len(ids))
        order = torch.cat([ids[torch.randperm(len(ids), generator=rng)] for _ in range(rounds)])
        return order[: self.steps * size].view(self.steps, size)

    def _order_of_rank(self, source: str, epoch: int) -> Tensor:
        ids, size = torch.from_numpy(self.own[source]), self.share[source]
        first, last = epoch * self.steps * size, (epoch + 1) * self.steps * size
        rounds = range(first // len(ids), math.ceil(last / len(ids)))
        streams = [torch_generator(self.seed, self._stream(source), k if self.reshuffle else 0) for k in rounds]
        order = torch.cat([ids[torch.randperm(len(ids), generator=rng)] for rng in streams])
        return order[first - rounds.start * len(ids) :][: last - first].view(self.steps, size)


def _length(block: slice) -> int:
    return block.stop - block.start
