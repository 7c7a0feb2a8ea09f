"""The order of the ids, and the targets: cached ones equal computed ones."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from iglo.data.augment import Augment
from iglo.losses.distances import L1, L1L2, L2, LaplacianL1, Perceptual
from iglo.models.networks import initialise
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches, IdSampler, Targets
from tests.tiny import RUNTIME, generator, peak_bytes, tiny_images

CURRENT, EARLIER = np.arange(3, 14), np.array([0, 1, 2])


@pytest.fixture
def targets():
    return Targets(tiny_images(14), np.arange(14), L1(), RUNTIME)


def make(targets, seed=0, name="staged 2", reshuffle=True, stream="", **sources) -> Batches:
    sources = sources or {"current": IdSampler(CURRENT, 4), "earlier": IdSampler(EARLIER, 2)}
    return Batches(targets, sources, seed, name, reshuffle, stream)


def ids(batches: Batches, first: int, last: int, source="current") -> list[list[int]]:
    return [batch[source].ids.tolist() for batch in batches.between(first, last)]


def flat(rows: list[list[int]]) -> list[int]:
    return [id for row in rows for id in row]


def test_an_epoch_covers_every_image_in_full_batches(targets):
    batches = make(targets)
    assert batches.steps == 3
    for epoch in range(4):
        rows = ids(batches, 3 * epoch, 3 * epoch + 3)
        assert [len(row) for row in rows] == [4, 4, 4]
        assert set(flat(rows)) == set(CURRENT)
        assert len(set(flat(rows)[:11])) == 11  # nothing comes twice before all have come


def test_the_ids_of_a_shorter_sub_batch_repeat(targets):
    for rows in (ids(make(targets), 3 * epoch, 3 * epoch + 3, "earlier") for epoch in range(4)):
        all_rows = flat(rows)
        assert len(all_rows) == 6 and sorted(all_rows[:3]) == sorted(all_rows[3:]) == [0, 1, 2]


def test_a_sub_batch_is_never_larger_than_its_ids(targets):
    batches = make(targets, current=IdSampler(CURRENT, 4), earlier=IdSampler(EARLIER, 35))
    assert [sorted(row) for row in ids(batches, 0, 3, "earlier")] == [[0, 1, 2]] * 3
    assert make(targets, current=IdSampler(CURRENT, 75)).steps == 1
    assert [IdSampler(CURRENT, size).size for size in (4, 11, 75)] == [4, 11, 11]


def test_the_sub_batch_with_the_most_steps_sets_the_length_of_an_epoch(targets):
    batches = make(targets, current=IdSampler(EARLIER, 2), earlier=IdSampler(CURRENT, 2))
    assert batches.steps == 6 and set(flat(ids(batches, 0, 6, "earlier"))) == set(CURRENT)


def test_the_order_depends_only_on_seed_stream_source_and_epoch(targets):
    first = ids(make(targets), 0, 12)
    assert first == ids(make(targets), 0, 12) == ids(make(targets, name="renamed", stream="staged 2"), 0, 12)
    assert make(targets, name="renamed", stream="staged 2").name == "renamed"
    epochs = [first[start : start + 3] for start in (0, 3, 6, 9)]
    others = [ids(make(targets, seed=1), 0, 3), ids(make(targets, name="full"), 0, 3)]
    others.append(ids(make(targets, other=IdSampler(CURRENT, 4)), 0, 3, "other"))
    orders = epochs + others
    assert all(a != b for index, a in enumerate(orders) for b in orders[:index])


@pytest.mark.parametrize("source", ["current", "earlier"])
def test_without_reshuffling_every_epoch_is_the_first(targets, source):
    batches = make(targets, reshuffle=False)
    first = ids(batches, 0, 3, source)
    assert first == ids(make(targets), 0, 3, source) and ids(batches, 0, 9, source) == first * 3
    assert ids(batches, 4, 6, source) == first[1:]  # also of a run that begins late


def test_a_run_that_begins_late_sees_the_same_batches(targets):
    batches = make(targets)
    whole = list(batches.between(0, 8))
    for first in range(8):
        for a, b in zip(islice(whole, first, None), batches.between(first, 8), strict=True):
            assert all(torch.equal(a[source].ids, b[source].ids) for source in ("current", "earlier"))
            assert all(torch.equal(a[source].images, b[source].images) for source in ("current", "earlier"))


def test_a_sub_batch_has_the_images_of_its_ids():
    images = tiny_images(14, channels=3)
    some = np.array([9, 2, 13, 4])
    sub_batch = Targets(images, some, L1(), RUNTIME).sub_batch(torch.tensor([13, 9, 13]))
    expected = torch.from_numpy(images[[13, 9, 13]] / 255).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(sub_batch.images.cpu(), expected, rtol=0, atol=1e-7)
    assert sub_batch.ids.tolist() == [13, 9, 13] and torch.equal(sub_batch.target[0], sub_batch.images)
    assert (
        sub_batch.images.max() > 0.5 and Targets(images, some, None, RUNTIME).sub_batch(torch.tensor([2])).target == []
    )


def test_images_are_read_from_their_map_batch_by_batch(mapped_images):
    ids = np.arange(1, len(mapped_images))

    def last_batch():
        targets = Targets(mapped_images, ids, L1(), RUNTIME)
        return list(make(targets, current=IdSampler(ids, 50)).between(0, 5))[-1]["current"]

    sub_batch, peak = peak_bytes(last_batch)
    expected = torch.from_numpy(mapped_images[sub_batch.ids.cpu().numpy()]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(sub_batch.images.cpu(), expected, rtol=0, atol=1e-7)
    assert peak < mapped_images.nbytes / 10


def perceptual(dtype: torch.dtype) -> Perceptual:
    blocks = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.Sequential(nn.MaxPool2d(2), nn.ReLU())]
    for block in blocks:
        initialise(block, generator())
    return Perceptual(blocks, (0.5,) * 3, (0.2,) * 3, dtype).to(RUNTIME.device)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["perceptual", "lap_l1"])
def test_cached_targets_equal_computed_ones(precision, kind):
    runtime = Runtime(RUNTIME.device, precision)
    distance = perceptual(runtime.dtype) if kind == "perceptual" else LaplacianL1().to(runtime.device)
    images, rows = tiny_images(70, channels=3), torch.tensor([69, 3, 64, 3])
    kept, fresh = (Targets(images, np.arange(1, 70), distance, runtime, cache_gb=gb) for gb in (1.0, 0.0))
    assert kept.cache is not None and fresh.cache is None
    pairs = list(zip(kept.sub_batch(rows).target, fresh.sub_batch(rows).target, strict=True))
    assert len(pairs) == (3 if kind == "perceptual" else 5)
    for a, b in pairs:
        assert a.dtype == b.dtype and a.any() and not a.requires_grad and not b.requires_grad
        tolerance = 1e-6 if precision == "fp32" else 0.01
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cache_gb", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("distance", [None, L1(), LaplacianL1()])
def test_a_device_with_its_own_memory_gets_the_images_once_if_they_fit(distance, cache_gb):
    class Apart(Runtime):
        on_gpu = True

    images, rows, cpu = tiny_images(70), torch.tensor([69, 3, 64, 3]), torch.device("cpu")
    runtimes = Runtime(cpu, "fp32"), Apart(cpu, "fp32")
    near, far = (Targets(images, np.arange(1, 70), distance, runtime, cache_gb) for runtime in runtimes)
    assert near.pixels is None and (far.pixels is not None) == (cache_gb == 1.0)
    pairs = zip(near.sub_batch(rows).target, far.sub_batch(rows).target, strict=True)
    assert torch.equal(near.sub_batch(rows).images, far.sub_batch(rows).images) and all(
        torch.equal(*pair) for pair in pairs
    )


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_augmented_images_have_targets_of_their_own(cache_gb):
    distance, images = LaplacianL1().to(RUNTIME.device), tiny_images(14)
    targets = Targets(images, np.arange(14), distance, RUNTIME, cache_gb)
    samplers = {"current": IdSampler(CURRENT, 4), "varied": IdSampler(CURRENT, 4, Augment(True, 0, 0.0))}
    batches = list(make(targets, **samplers).between(0, 6))
    mirrored = 0
    for batch in batches:
        plain, sub_batch = targets.sub_batch(batch["varied"].ids.cpu()), batch["varied"]
        mirrored += sum(not torch.equal(a, b) for a, b in zip(sub_batch.images, plain.images, strict=True))
        assert all(
            torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(sub_batch.images, plain.images, strict=True)
        )
        for a, b in zip(sub_batch.target, distance.represent(sub_batch.images), strict=True):
            torch.testing.assert_close(a, b)
        assert torch.equal(batch["current"].images, targets.sub_batch(batch["current"].ids.cpu()).images)
    assert 4 < mirrored < 20
    for late, batch in zip(make(targets, **samplers).between(4, 6), batches[4:], strict=True):
        assert torch.equal(late["varied"].images, batch["varied"].images)


def test_images_are_augmented_anew_at_every_step(targets):
    one = np.array([3])
    batches = make(targets, varied=IdSampler(one, 1, Augment(False, 0, 0.5)), other=IdSampler(CURRENT, 1))
    sums = [batch["varied"].images.sum().item() for batch in batches.between(0, 22)]
    assert len(set(sums)) == 22


@pytest.mark.parametrize("distance", [L1(), L2(), L1L2()], ids=["l1", "l2", "l1_l2"])
def test_distances_of_pixels_compute_nothing_beforehand(distance, monkeypatch):
    read, whole = [], Targets._read
    monkeypatch.setattr(Targets, "_read", lambda self, ids: read.extend(ids.tolist()) or whole(self, ids))
    targets = Targets(tiny_images(200), np.arange(200), distance, RUNTIME, cache_gb=1.0)
    assert len(read) <= 1
    sub_batch = targets.sub_batch(torch.tensor([7]))
    assert len(sub_batch.target) == 1 and torch.equal(sub_batch.target[0], sub_batch.images)


def test_the_cache_keeps_to_its_budget():
    distance, images = perceptual(torch.float32), tiny_images(10)
    size = 10 * 4 * (4 * 16 * 16 + 4 * 8 * 8)
    for gb, kept in ((size / 1e9, True), ((size - 1) / 1e9, False)):
        assert (Targets(images, np.arange(10), distance, RUNTIME, gb).cache is not None) is kept
    with_half = Targets(images, np.arange(5), distance, RUNTIME, size / 2e9)
    assert sum(level.nbytes for level in with_half.cache) == size // 2
