"""Two sets of features compared as distributions: Fréchet distance and kernel distance."""

import numpy as np

from iglo.evaluation.metrics.arrays import RATIO_FLOOR, chunks

FEWEST_FOR_DISTANCE = 2  # images on each side, for kernel and Fréchet distance
FEWEST_FOR_DISTANCE_ERROR = 4  # images on each side, for the standard error of the kernel distance


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the Fréchet distance between two sets of features (Heusel et al. 2017, equation 6).

    A Gaussian is fitted to each set, with its covariance over N − 1. The distance is
    ‖μa − μb‖² + tr(Σa + Σb − 2 (Σa Σb)^½). With Σ = RᵀR, the trace of the root is the sum of the singular values of
    Ra Rbᵀ. R comes from the centred rows and not from Σ. So singular covariances (N ≤ D) need no offset, and no number
    becomes complex.

    Args:
        a, b: `(N, D)` and `(M, D)`, at least FEWEST_FOR_DISTANCE rows each.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    means = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    trace_of_root = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    # tr(RᵀR) = Σ R²; rounding could give a number below 0
    return float(max(means + np.sum(root_a**2) + np.sum(root_b**2) - 2 * trace_of_root, 0.0))


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """Returns R `(min(N, D), D)`, where RᵀR is the sample covariance."""
    centred = features - features.mean(axis=0)
    root = centred if len(centred) <= centred.shape[1] else np.linalg.qr(centred, mode="r")
    return root / np.sqrt(len(features) - 1)


def kernel_distance(a: np.ndarray, b: np.ndarray, chunk: int = 1024) -> float:
    """Returns the kernel distance: unbiased MMD² with the kernel (x·y / D + 1)³ (Bińkowski et al. 2018).

    It uses all rows, not random subsets. It can be a little below 0 if the distributions are equal.

    Args:
        a, b: `(N, D)` and `(M, D)`, at least FEWEST_FOR_DISTANCE rows each.
        chunk: rows that are compared at a time.
    """
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a, chunk) - _diagonal(a).sum()) / (n * (n - 1))
    within_b = (_kernel_sum(b, b, chunk) - _diagonal(b).sum()) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b, chunk) / (n * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray, chunk: int) -> float:
    y = np.asarray(y, dtype=np.float64)
    return sum(np.sum((x[rows].astype(np.float64) @ y.T / y.shape[1] + 1) ** 3) for rows in chunks(len(x), chunk))


def kernel_distance_error(a: np.ndarray, b: np.ndarray, chunk: int = 1024) -> float:
    """Returns the standard error of `kernel_distance` over draws of the images of both sets.

    It is the two-sample jackknife over images. The jackknife counts the part of the variance that comes from pairs of
    images twice (Efron & Stein 1981), which makes it too large by √2 for equal distributions. So the part of the pairs
    is estimated from the centred kernel matrices, and subtracted once.

    Args:
        a, b: `(N, D)` and `(M, D)`, at least FEWEST_FOR_DISTANCE_ERROR rows each.
        chunk: rows that are compared at a time.
    """
    n, m = len(a), len(b)
    means = [np.mean(x, axis=0, dtype=np.float64) for x in (a, b)]
    offset = float((np.mean(means[0] * means[1]) + 1) ** 3)  # changes nothing but rounding
    rows_a, _, squares_a = _kernel_sums(a, a, offset, chunk, within=True)
    rows_b, _, squares_b = _kernel_sums(b, b, offset, chunk, within=True)
    across_a, across_b, squares = _kernel_sums(a, b, offset, chunk)
    jackknife = _jackknife(rows_a, across_a / m) + _jackknife(rows_b, across_b / n)
    of_pairs = 2 * _variance_within(rows_a, squares_a) / (n * (n - 1))
    of_pairs += 2 * _variance_within(rows_b, squares_b) / (m * (m - 1))
    of_pairs += 4 * _variance_across(across_a, across_b, squares) / (n * m)
    of_pairs = max(of_pairs, 0.0)
    return float(np.sqrt(max(jackknife - of_pairs, of_pairs)))


def paired_kernel_distance(
    images: np.ndarray, targets: np.ndarray, others: np.ndarray | None = None, chunk: int = 512
) -> tuple[float, float]:
    """Returns the kernel distance between images and their own targets, and its standard error.

    No image is compared with its own target. So the distance stays unbiased, though image i depends on target i
    (Gretton et al. 2012, equation 4); `kernel_distance` would be too low. It is 0 if images and targets are equal.

    Args:
        images, targets: `(N, D)` features, at least FEWEST_FOR_DISTANCE rows.
        others: `(N, D)`, other images of the same targets. Then it is the distance of `images` minus that of `others`,
            with the standard error of the difference. None: the distance itself.
        chunk: rows that are compared at a time.

    Returns:
        The distance, and the error by the jackknife over pairs, as in `kernel_distance_error`; the error is 0 with
        fewer than FEWEST_FOR_DISTANCE_ERROR rows.
    """
    n, squares, sums = len(targets), 0.0, np.empty(len(targets))
    for rows in chunks(n, chunk):
        statistic = _pair_statistic(images, targets, rows)
        if others is not None:
            statistic -= _pair_statistic(others, targets, rows)
        own = np.arange(rows.start, rows.stop)
        statistic[own - rows.start, own] = 0
        sums[rows] = statistic.sum(axis=1)
        squares += float(np.sum(statistic**2))
    distance = float(sums.sum() / (n * (n - 1)))
    if n < FEWEST_FOR_DISTANCE_ERROR:
        return distance, 0.0
    of_pairs = max(2 * _variance_within(sums, squares) / (n * (n - 1)), 0.0)
    return distance, float(np.sqrt(max(_jackknife(sums, np.zeros(n)) - of_pairs, of_pairs)))


def _pair_statistic(images: np.ndarray, targets: np.ndarray, rows: slice) -> np.ndarray:
    """Returns k(x, x') + k(t, t') − k(x, t') − k(t, x') for images x of some rows and all images x': `(M, N)`."""
    (x, t), (all_x, all_t) = (
        [np.asarray(each[some], np.float64) for each in (images, targets)] for some in (rows, slice(None))
    )
    return _kernel(x, all_x) + _kernel(t, all_t) - _kernel(x, all_t) - _kernel(t, all_x)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / y.shape[1] + 1) ** 3


def _kernel_sums(
    x: np.ndarray, y: np.ndarray, offset: float, chunk: int, within: bool = False
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the sums of the kernel less `offset` over y `(N,)` and over x `(M,)`, and the sum of its squares.

    `within`: x is y, and no image is compared with itself.
    """
    y = np.asarray(y, dtype=np.float64)
    of_x, of_y, squares = np.empty(len(x)), np.zeros(len(y)), 0.0
    for rows in chunks(len(x), chunk):
        kernel = (x[rows].astype(np.float64) @ y.T / y.shape[1] + 1) ** 3 - offset
        if within:
            own = np.arange(rows.start, rows.stop)
            kernel[own - rows.start, own] = 0
        of_x[rows] = kernel.sum(axis=1)
        of_y += kernel.sum(axis=0)
        squares += float(np.sum(kernel**2))
    return of_x, of_y, squares


def _jackknife(within: np.ndarray, across: np.ndarray) -> float:
    """Returns the jackknife's variance over the images of one set, from sums `(N,)` over the same and the other set."""
    n = len(within)
    without = (within.sum() - 2 * within) / ((n - 1) * (n - 2)) - 2 * (across.sum() - across) / (n - 1)
    return (n - 1) * float(np.var(without))


def _variance_within(rows: np.ndarray, squares: float) -> float:
    """Returns an unbiased estimate of the variance of the centred kernel between two images of one set."""
    n = len(rows)
    centred = squares - 2 * np.sum(rows**2) / (n - 2) + rows.sum() ** 2 / ((n - 1) * (n - 2))
    return float(centred) / (n * (n - 3))


def _variance_across(rows: np.ndarray, columns: np.ndarray, squares: float) -> float:
    """Returns an unbiased estimate of the variance of the centred kernel between images of two sets."""
    n, m = len(rows), len(columns)
    centred = squares - np.sum(rows**2) / m - np.sum(columns**2) / n + rows.sum() ** 2 / (n * m)
    return float(centred) / ((n - 1) * (m - 1))


def subset_kernel_distance(
    a: np.ndarray, b: np.ndarray, rng: np.random.Generator, subsets: int = 100, size: int = 1000, chunk: int = 1024
) -> tuple[float, float]:
    """Returns mean and standard deviation of the kernel distance over random subsets, as torch-fidelity defines KID.

    In each pair of subsets no image is drawn twice. The deviation is that of one subset, with division by `subsets`; it
    is no standard error of the mean, because subsets share images. `kernel_distance_error` is that.

    Args:
        a, b: `(N, D)` and `(M, D)`, at least FEWEST_FOR_DISTANCE rows each.
        rng: draws the subsets.
        size: images in a subset. If a set has fewer, `size` is their number, and the deviation is too small.
        chunk: rows that are compared at a time.
    """
    size = min(size, len(a), len(b))
    in_a, in_b = np.zeros((subsets, len(a))), np.zeros((subsets, len(b)))
    for row_a, row_b in zip(in_a, in_b, strict=True):
        row_a[rng.choice(len(a), size, replace=False)] = 1
        row_b[rng.choice(len(b), size, replace=False)] = 1
    within = sum(
        _subset_sums(x, x, chosen, chosen, chunk) - chosen @ _diagonal(x) for x, chosen in ((a, in_a), (b, in_b))
    )
    distances = within / (size * (size - 1)) - 2 * _subset_sums(a, b, in_a, in_b, chunk) / size**2
    return float(distances.mean()), float(distances.std())


def _subset_sums(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray, chunk: int) -> np.ndarray:
    """Returns the sum of the kernel between the x and y of each subset `(S,)`; `in_x` `(S, N)` is 1 for its rows."""
    y = np.asarray(y, dtype=np.float64)
    sums = np.zeros(len(in_x))
    for rows in chunks(len(x), chunk):
        kernel = (x[rows].astype(np.float64) @ y.T / y.shape[1] + 1) ** 3
        sums += np.sum((kernel @ in_y.T) * in_x[:, rows].T, axis=0)
    return sums


def _diagonal(x: np.ndarray) -> np.ndarray:
    """Returns the kernel of each row with itself `(N,)`."""
    return (np.mean(np.square(x, dtype=np.float64), axis=1) + 1) ** 3


def off_code_ratio(kd: float, kd_reconstructions: float) -> float:
    """Returns the kernel distance of samples or midpoints divided by that of reconstructions.

    1: images of new codes are as near to real images as images of learned codes are. Larger: images of new codes are
    worse, because G was not trained there.
    The ratio says nothing if the distance of reconstructions is not above its standard error.
    """
    return float(kd / max(kd_reconstructions, RATIO_FLOOR))
