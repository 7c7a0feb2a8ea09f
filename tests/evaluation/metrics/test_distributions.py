"""Distances of distributions against closed forms, double loops, and torch-fidelity."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from iglo.evaluation import metrics


def with_moments(rng, count, mean, covariance):
    """Returns rows with exactly this sample mean and sample covariance."""
    rows = rng.normal(size=(count, len(mean)))
    q, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return q * math.sqrt(count - 1) @ np.linalg.cholesky(covariance).T + mean


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


def test_frechet_distance_is_that_of_torch_fidelity(rng):
    a, b = np.maximum(rng.normal(size=(90, 24)), 0), np.maximum(rng.normal(size=(70, 24)) + 0.2, 0)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("chunk", [13, 1024])
def test_subset_kernel_distance_is_that_of_torch_fidelity(rng, chunk):
    a, b = np.maximum(rng.normal(size=(60, 24)), 0), np.maximum(rng.normal(size=(50, 24)) + 0.2, 0)
    expected = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=7, kid_subset_size=20, rng_seed=5, verbose=False
    )
    draws = np.random.RandomState(5)  # the generator of torch-fidelity, so that the subsets are the same
    found = metrics.subset_kernel_distance(a, b, draws, subsets=7, size=20, chunk=chunk)
    assert found == pytest.approx(tuple(expected.values()), rel=1e-9)
    assert metrics.subset_kernel_distance(a, b, rng)[0] == pytest.approx(metrics.kernel_distance(a, b), abs=0.05)


@pytest.mark.parametrize("chunk", [2, 100])
def test_kernel_distance_error_by_leaving_out_rows(rng, chunk):
    """The jackknife by leaving out one image, less the part of pairs by loops over the centred kernel."""
    a, b = rng.normal(size=(7, 3)).astype(np.float32), 1.5 * rng.normal(size=(9, 3)).astype(np.float32) + 1

    def without(x):
        return [np.delete(x, i, axis=0) for i in range(len(x))]

    def centred(x, y):
        kernel = (x.astype(float) @ y.T.astype(float) / 3 + 1) ** 3
        return kernel - kernel.mean(axis=1, keepdims=True) - kernel.mean(axis=0) + kernel.mean()

    def pairs_within(x):
        """The variance of the kernel, centred without its diagonal (Székely & Rizzo)."""
        n, kernel = len(x), (x.astype(float) @ x.T.astype(float) / 3 + 1) ** 3
        np.fill_diagonal(kernel, 0)
        rows = kernel.sum(axis=1)
        total = 0.0
        for i in range(n):
            for j in range(n):
                if i != j:
                    centre = -(rows[i] + rows[j]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
                    total += (kernel[i, j] + centre) ** 2
        return total / (n * (n - 3))

    jackknife = 6 * np.var([metrics.kernel_distance(x, b) for x in without(a)])
    jackknife += 8 * np.var([metrics.kernel_distance(a, x) for x in without(b)])
    pairs = 2 * pairs_within(a) / (7 * 6) + 2 * pairs_within(b) / (9 * 8)
    pairs += 4 * np.sum(centred(a, b) ** 2) / (6 * 8) / (7 * 9)
    expected = math.sqrt(max(jackknife - pairs, pairs))
    assert metrics.kernel_distance_error(a, b, chunk=chunk) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kernel_distance_error_is_the_spread_over_draws(rng, shift):
    """With shift 0 the plain jackknife would be too large by √2."""
    pairs = [(rng.normal(size=(30, 16)), rng.normal(size=(50, 16)) + shift) for _ in range(300)]
    spread = np.std([metrics.kernel_distance(*pair) for pair in pairs])
    errors = [metrics.kernel_distance_error(*pair) for pair in pairs]
    assert np.mean(errors) == pytest.approx(spread, rel=0.25)


def test_kernel_distance_error_stays_finite():
    same = np.ones((4, 2), np.float32)
    assert metrics.kernel_distance_error(same, same) == metrics.kernel_distance_error(same, 2 * same) == 0


@pytest.mark.parametrize("chunk", [2, 100])
def test_paired_kernel_distance_by_double_loops(rng, chunk):
    images, targets, others = rng.normal(size=(3, 7, 3)).astype(np.float32)

    def kernel(x, y):
        return (float(x.astype(float) @ y.astype(float)) / 3 + 1) ** 3

    def by_loops(x, t):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
        return np.mean([kernel(x[i], x[j]) + kernel(t[i], t[j]) - 2 * kernel(x[i], t[j]) for i, j in pairs])

    distance, _ = metrics.paired_kernel_distance(images, targets, chunk=chunk)
    assert distance == pytest.approx(by_loops(images, targets))
    difference, _ = metrics.paired_kernel_distance(images, targets, others, chunk)
    assert difference == pytest.approx(by_loops(images, targets) - by_loops(others, targets))
    assert metrics.paired_kernel_distance(targets, targets) == (0, 0)
    assert metrics.paired_kernel_distance(images, targets, images) == (0, 0)
    assert metrics.paired_kernel_distance(images[:2], targets[:2])[1] == 0


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_paired_kernel_distance_is_unbiased_and_its_error_is_the_spread(rng, shift):
    """Images have the distribution of their targets, moved by the shift, and are correlated with them."""
    draws = []
    for _ in range(300):
        targets, noise = rng.normal(size=(2, 30, 16))
        draws.append((0.95 * targets + math.sqrt(1 - 0.95**2) * noise + shift, targets))
    distances, errors = np.transpose([metrics.paired_kernel_distance(*pair) for pair in draws])
    apart = np.mean([metrics.kernel_distance(draws[i][0], draws[i - 1][1]) for i in range(300)])
    assert distances.mean() == pytest.approx(apart, abs=0.02)
    assert np.mean([metrics.kernel_distance(*pair) for pair in draws]) < apart - 0.1  # of pairs, it is too low
    assert errors.mean() == pytest.approx(distances.std(), rel=0.25)


def test_off_code_ratio_by_hand():
    assert metrics.off_code_ratio(0.3, 0.1) == pytest.approx(3)
    assert math.isfinite(metrics.off_code_ratio(0.3, 0.0))
