"""Neighbours against double loops and values computed by hand."""

import json
import math

import numpy as np
import pytest

from iglo.evaluation import metrics
from iglo.evaluation.metrics import neighbours
from tests.tiny import peak_bytes


@pytest.mark.parametrize("chunk", [3, 100])
def test_precision_recall_by_double_loops(rng, chunk):
    real, fake = rng.normal(size=(40, 3)), 0.7 * rng.normal(size=(25, 3)) + 1.2

    def share_inside(points, centres, k=3):
        radii = [sorted(math.dist(c, other) for other in centres)[k] for c in centres]  # [0] is c itself
        inside = [any(math.dist(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
        return sum(inside) / len(points)

    precision, recall = metrics.precision_recall(real, fake, chunk=chunk)
    assert (precision, recall) == (share_inside(fake, real), share_inside(real, fake))
    assert 0 < recall < precision < 1  # else the test would show little


def test_a_collapsed_generator_has_precision_1_and_recall_0(rng):
    real = rng.normal(size=(50, 2))
    fake = np.zeros((50, 2)) + 1e-6 * rng.normal(size=(50, 2))
    assert metrics.precision_recall(real, fake) == (1, 0)


def test_novelty_and_share_closer_by_hand():
    reference = np.arange(101.0)  # its median is 50, its first percentile 1
    assert metrics.novelty(np.array([5.0, 100.0, 20.0]), reference) == pytest.approx(0.4)
    assert metrics.share_closer(np.array([0.0, 0.9, 1.0, 7.0]), reference) == 0.5  # 1 is not closer than 1
    assert metrics.share_closer(np.array([0.0, 0.9, 1.0, 7.0]), reference, percentile=50) == 1
    assert metrics.share_closer(np.array([0.1, 0.6]), np.array([0.0, 50.0])) == 0.5  # interpolated: 0.5


def test_ratios_stay_finite_json():
    same, away = np.zeros((3, 2)), np.ones((3, 2))
    none, some = np.zeros(3), np.ones(2)
    assert (metrics.novelty(none, none), metrics.share_closer(none, none)) == (1, 0)
    assert metrics.novelty(none, some) == pytest.approx(0, abs=1e-9)
    json.dumps([metrics.novelty(some, none), metrics.midpoint_realism(away, same, same)], allow_nan=False)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_nearest_by_double_loops(rng, chunk, exclude_self, count):
    references = rng.normal(size=(11, 3)).astype(np.float32)
    queries = references if exclude_self else rng.normal(size=(6, 3)).astype(np.float32)
    distances, indices = metrics.nearest(queries, references, count, exclude_self, chunk)
    assert distances.shape == indices.shape == (len(queries), count)
    for i, query in enumerate(queries):
        each = [math.inf if exclude_self and i == j else math.dist(query, r) for j, r in enumerate(references)]
        assert indices[i].tolist() == np.argsort(each)[:count].tolist()
        assert distances[i] == pytest.approx(sorted(each)[:count])


@pytest.mark.parametrize("count", [1, 2])
def test_a_copy_has_distance_0_exactly(rng, count):
    references = (1000 + rng.normal(size=(40, 64))).astype(np.float32)
    distances, indices = metrics.nearest(references[::-1], references, count)
    assert (distances[:, 0] == 0).all() and (np.diff(distances) > 0).all()
    assert (indices[:, 0] == np.arange(40)[::-1]).all()


def test_there_are_no_more_neighbours_than_references():
    distances, indices = metrics.nearest(np.zeros((3, 2)), np.array([[3.0, 4.0]]), 2)
    assert (distances.tolist(), indices.tolist()) == ([[5]] * 3, [[0]] * 3)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_memory_stays_small_with_many_references(rng, monkeypatch, exclude_self):
    points = rng.normal(size=(2000, 3)).astype(np.float32)
    at_once, indices = metrics.nearest(points, points, exclude_self=exclude_self)
    monkeypatch.setattr(neighbours, "DISTANCES", 7 * len(points))
    (distances, same), peak = peak_bytes(lambda: metrics.nearest(points, points, exclude_self=exclude_self))
    np.testing.assert_array_equal(same, indices)
    np.testing.assert_allclose(distances, at_once)
    assert peak < 4 * 8 * 7 * len(points)


def test_nearest_subtracts_bytes_without_overflow():
    distances, indices = metrics.nearest(np.array([[250]], np.uint8), np.array([[0], [255]], np.uint8))
    assert (distances.tolist(), indices.tolist()) == ([[5]], [[1]])


# --- Density, coverage, copies ---


@pytest.mark.parametrize("chunk", [3, 100])
def test_density_coverage_by_double_loops(rng, chunk):
    real, fake = rng.normal(size=(40, 3)), 0.7 * rng.normal(size=(25, 3)) + 1.2
    radii = [sorted(math.dist(x, other) for other in real)[5] for x in real]  # [0] is x itself
    inside = [[math.dist(x, y) <= radius for y in fake] for x, radius in zip(real, radii, strict=True)]
    density, coverage = metrics.density_coverage(real, fake, chunk=chunk)
    assert density == pytest.approx(sum(map(sum, inside)) / (5 * 25))
    assert coverage == pytest.approx(sum(map(any, inside)) / 40)
    assert 0 < coverage < 1 and density != 1


def test_density_coverage_of_equal_distributions(rng):
    """The expected values are 1 and 1 − ∏ (N − i) / (N + M − i): the k nearest of all others are all real."""
    n, m, k = 40, 15, 5
    pairs = [(rng.normal(size=(n, 2)), rng.normal(size=(m, 2))) for _ in range(200)]
    density, coverage = np.mean([metrics.density_coverage(*pair) for pair in pairs], axis=0)
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1 - np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)]), abs=0.02)


def test_neighbour_errors_are_those_of_half_samples(rng):
    real, fake = rng.normal(size=(40, 8)), rng.normal(size=(31, 8)) + 0.3

    def values(real, fake):
        return *metrics.precision_recall(real, fake), *metrics.density_coverage(real, fake)

    expected = metrics.half_sample_error(values, (real, fake), np.random.default_rng(1), repeats=10)
    assert metrics.neighbour_errors(real, fake, np.random.default_rng(1), repeats=10) == pytest.approx(expected)


def test_neighbour_errors_are_the_spread_over_draws(rng):
    """They are rather too large than too small: half of the images have larger balls."""
    pairs = [(rng.normal(size=(60, 4)), 0.8 * rng.normal(size=(90, 4)) + 0.4) for _ in range(100)]
    spread = np.std([(*metrics.precision_recall(*p), *metrics.density_coverage(*p)) for p in pairs], axis=0)
    errors = np.mean([metrics.neighbour_errors(*pair, rng, repeats=40) for pair in pairs[:20]], axis=0)
    assert (errors > 0.8 * spread).all() and (errors < 1.7 * spread).all()


def test_copies_by_hand():
    distances = np.array([[1.0, 3.1], [1.0, 3.0], [0.0, 5.0], [0.0, 0.0], [2.0, 2.0]])
    assert metrics.copies(distances).tolist() == [True, False, True, True, False]


def test_copies_among_new_images(rng):
    training = rng.random((100, 32))
    images = np.concatenate([training[:30] + 0.01 * rng.normal(size=(30, 32)), rng.random((30, 32))])
    found = metrics.copies(metrics.nearest(images, training, 2)[0])
    assert found[:30].all() and not found[30:].any()
