"""Each metric against its own oracle: a closed form, double loops, another library, or values computed by hand."""

import json
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio

from iglo.evaluation import metrics
from tests.tiny import peak_bytes


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def images(rng, count=3, side=12, channels=3):
    return rng.random((count, side, side, channels)).astype(np.float32)


def with_moments(rng, count, mean, covariance):
    """Returns rows with exactly this sample mean and sample covariance."""
    rows = rng.normal(size=(count, len(mean)))
    q, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return q * math.sqrt(count - 1) @ np.linalg.cholesky(covariance).T + mean


# --- Reconstruction ---


def test_l1_by_hand():
    a = np.zeros((2, 1, 2, 1), np.float32)
    b = np.array([0.0, 0.5, 1.0, 0.5], np.float32).reshape(2, 1, 2, 1)
    assert metrics.l1(a, b) == pytest.approx(0.5)
    assert metrics.l1(b, a) == metrics.l1(a, b)


def test_psnr_is_the_mean_over_images_of_scikit_images(rng):
    a, b = images(rng), images(rng)
    b[0] = a[0] + 0.01  # so that the mean of the dB and the dB of the mean error differ
    each = [peak_signal_noise_ratio(x.astype(float), y.astype(float), data_range=1) for x, y in zip(a, b, strict=True)]
    assert metrics.psnr(a, b) == pytest.approx(np.mean(each))


def test_psnr_of_identical_images_is_100_db(rng):
    a = images(rng)
    assert metrics.psnr(a, a) == pytest.approx(100)


def test_ssim_by_loops_over_windows(rng):
    """Wang et al. 2004, equation 13, on every whole 7×7 window, with the sample covariance as in scikit-image."""
    a, b = images(rng, count=2, side=9), images(rng, count=2, side=9)
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for x, y in zip(a.astype(float), b.astype(float), strict=True):
        for channel in range(3):
            for i in range(3):
                for j in range(3):
                    p = x[i : i + 7, j : j + 7, channel].ravel()
                    q = y[i : i + 7, j : j + 7, channel].ravel()
                    (var_p, cov), (_, var_q) = np.cov(p, q)
                    mean_p, mean_q = p.mean(), q.mean()
                    top = (2 * mean_p * mean_q + c1) * (2 * cov + c2)
                    values.append(top / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2)))
    assert metrics.ssim(a, b) == pytest.approx(np.mean(values))
    assert metrics.ssim(a, a) == pytest.approx(1)


def test_reconstruction_metrics_take_grey_images(rng):
    a, b = images(rng, channels=1), images(rng, channels=1)
    colour = metrics.ssim(a.repeat(3, -1), b.repeat(3, -1))
    assert metrics.ssim(a, b) == pytest.approx(colour)
    assert metrics.psnr(a, b) == pytest.approx(metrics.psnr(a.repeat(3, -1), b.repeat(3, -1)))


# --- Continuity ---


def test_path_length_of_a_straight_path_is_its_squared_length():
    """With a squared distance, a path of speed v has d = (v ε)², so the result is v² for every ε."""
    speed = np.array([1.0, 3.0])
    for epsilon in (1e-1, 1e-2):
        assert metrics.path_length((speed * epsilon) ** 2, epsilon) == pytest.approx((1 + 9) / 2)


def test_jerkiness_by_hand():
    even, jump, mixed = [1, 1, 1, 1], [0, 0, 7, 0], [1, 2, 3, 2]
    assert metrics.jerkiness(np.array([even])) == 1
    assert metrics.jerkiness(np.array([jump])) == 4
    assert metrics.jerkiness(np.array([even, jump, mixed])) == pytest.approx((1 + 4 + 1.5) / 3)


def test_jerkiness_of_a_path_of_length_0_is_1():
    assert metrics.jerkiness(np.array([[0.0, 0.0], [1.0, 3.0]])) == pytest.approx((1 + 1.5) / 2)


def test_midpoint_realism_by_hand():
    training = np.array([[0.0, 0.0], [10.0, 0.0]])
    reconstructions = np.array([[0.0, 1.0], [10.0, 3.0]])  # 1 and 3 away
    midpoints = np.array([[5.0, 0.0], [4.0, 3.0]])  # 5 and 5 away
    assert metrics.midpoint_realism(midpoints, reconstructions, training) == pytest.approx(2.5)


# --- Samples ---


def test_frechet_distance_of_diagonal_gaussians(rng):
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    var_a, var_b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    a = with_moments(rng, 50, mean_a, np.diag(var_a))
    b = with_moments(rng, 20, mean_b, np.diag(var_b))
    expected = ((mean_a - mean_b) ** 2).sum() + ((np.sqrt(var_a) - np.sqrt(var_b)) ** 2).sum()
    assert metrics.frechet_distance(a, b) == pytest.approx(expected)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_distance_by_the_papers_formula(rng):
    a, b = rng.normal(size=(40, 6)), rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 1
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = means + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_with_fewer_rows_than_features(rng):
    """Features in a 4-dimensional subspace of 64 dimensions have the same distance as in the 4 dimensions."""
    a, b = rng.normal(size=(12, 4)), 2 * rng.normal(size=(9, 4)) + 1
    basis, _ = np.linalg.qr(rng.normal(size=(64, 4)))
    expected = metrics.frechet_distance(a, b)
    assert metrics.frechet_distance(a @ basis.T, b @ basis.T) == pytest.approx(expected)
    assert metrics.frechet_distance(a @ basis.T, a @ basis.T) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_takes_float32_far_from_the_origin(rng):
    a, b = with_moments(rng, 30, np.zeros(2), np.eye(2)), with_moments(rng, 30, np.zeros(2), 4 * np.eye(2))
    shifted = [(x + 1000).astype(np.float32) for x in (a, b)]
    assert metrics.frechet_distance(*shifted) == pytest.approx(2, rel=1e-3)


def test_kernel_distance_by_hand():
    """k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1."""
    assert metrics.kernel_distance(np.zeros((2, 1)), np.ones((3, 1))) == pytest.approx(1 + 8 - 2)


@pytest.mark.parametrize("chunk", [2, 100])
def test_kernel_distance_by_double_loops(rng, chunk):
    a, b = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32) + 1

    def kernel(x, y):
        return (sum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / 5 + 1) ** 3

    within_a = np.mean([kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(6) for j in range(6) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert metrics.kernel_distance(a, b, chunk=chunk) == pytest.approx(within_a + within_b - 2 * across)


def test_kernel_distance_is_unbiased(rng):
    """For pairs of sets from one distribution its mean is 0; with the diagonal in the sums it would not be."""
    values = [metrics.kernel_distance(rng.normal(size=(8, 4)), rng.normal(size=(8, 4))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0


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


# --- Split ---


def test_cluster_coverage_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 7])
    assert metrics.cluster_coverage(labels, np.array([0, 1])) == 0.25
    assert metrics.cluster_coverage(labels, np.array([1, 5, 2])) == 0.75
    assert metrics.cluster_coverage(labels, np.arange(6)) == 1


def test_mean_nearest_by_hand():
    features = np.array([[0.0], [1.0], [4.0], [10.0]])
    assert metrics.mean_nearest(features, np.array([0, 3])) == pytest.approx((0 + 1 + 4 + 0) / 4)


# --- Nearest neighbours ---


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
    monkeypatch.setattr(metrics, "DISTANCES", 7 * len(points))
    (distances, same), peak = peak_bytes(lambda: metrics.nearest(points, points, exclude_self=exclude_self))
    np.testing.assert_array_equal(same, indices)
    np.testing.assert_allclose(distances, at_once)
    assert peak < 4 * 8 * 7 * len(points)


def test_nearest_subtracts_bytes_without_overflow():
    distances, indices = metrics.nearest(np.array([[250]], np.uint8), np.array([[0], [255]], np.uint8))
    assert (distances.tolist(), indices.tolist()) == ([[5]], [[1]])


# --- All ---


def test_values_are_plain_floats(rng):
    a, b, features = images(rng), images(rng), rng.normal(size=(9, 4)).astype(np.float32)
    labels, selected = np.arange(9), np.arange(4)
    values = [
        metrics.l1(a, b),
        metrics.psnr(a, b),
        metrics.ssim(a, b),
        metrics.path_length(np.ones(3, np.float32), 0.01),
        metrics.jerkiness(np.ones((2, 4), np.float32)),
        metrics.midpoint_realism(features, features + 1, features),
        metrics.frechet_distance(features, features),
        metrics.kernel_distance(features, features),
        *metrics.precision_recall(features, features),
        metrics.novelty(features, features),
        metrics.share_closer(features, features),
        metrics.cluster_coverage(labels, selected),
        metrics.mean_nearest(features, selected),
    ]
    assert {type(value) for value in values} == {float}
