"""The measures of iglo as functions: arrays in, floats out.

Images are `(N, H, W, C)` floats in [0, 1]; features are `(N, D)` of any real dtype. Everything is computed in float64.
Results are finite, so that they can be written as JSON.
"""

from collections.abc import Iterator

import numpy as np
from skimage.metrics import structural_similarity

MSE_FLOOR = 1e-10  # gives 100 dB
RATIO_FLOOR = 1e-12
FEWEST_FOR_DISTANCE = 2  # images on each side, for kernel and Fréchet distance
FEWEST_FOR_PRECISION = 4  # images on each side, for precision and recall: with k = 3 each image needs 3 others
DISTANCES = 2**25  # distances in memory at a time: 256 MiB of float64

# --- Reconstruction: images compared with their targets ---


def l1(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean absolute difference, in [0, 1]."""
    return float(np.abs(np.subtract(images, targets, dtype=np.float64)).mean())


def psnr(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB, at most 100: the mean over images of -10 log10(MSE).

    The data range is 1. Identical images have 100 dB.
    """
    squares = np.subtract(images, targets, dtype=np.float64) ** 2
    mse = squares.reshape(len(squares), -1).mean(axis=1)
    return float(np.mean(-10 * np.log10(np.maximum(mse, MSE_FLOOR))))


def ssim(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the structural similarity, at most 1 (Wang et al. 2004, equation 13).

    It is the mean over images, channels and 7×7 uniform windows, computed by scikit-image.
    """
    return float(
        np.mean(
            [
                structural_similarity(
                    image.astype(np.float64), target.astype(np.float64), win_size=7, channel_axis=-1, data_range=1.0
                )
                for image, target in zip(images, targets, strict=True)
            ]
        )
    )


# --- Continuity: the caller measures the distances along paths ---


def path_length(distances: np.ndarray, epsilon: float) -> float:
    """Returns the perceptual path length: the mean of d(G(z_t), G(z_{t+ε})) / ε² (Karras et al. 2019, section 4.1).

    Args:
        distances: any shape; the distances d between images at t and t + `epsilon` on paths with t from 0 to 1.
    """
    return float(np.mean(distances, dtype=np.float64) / epsilon**2)


def jerkiness(steps: np.ndarray) -> float:
    """Returns the largest step divided by the mean step, averaged over paths: 1 is perfectly even, 2K is one jump.

    A path of length 0 counts as 1, because all its steps are equal.

    Args:
        steps: `(P, 2K)` distances between successive images on each of P paths.
    """
    steps = np.asarray(steps, dtype=np.float64)
    largest, mean = steps.max(axis=1), steps.mean(axis=1)
    return float(np.mean(np.divide(largest, mean, out=np.ones_like(mean), where=mean > 0)))


def midpoint_realism(
    midpoint_features: np.ndarray, reconstruction_features: np.ndarray, training_features: np.ndarray
) -> float:
    """Returns the mean distance from midpoints to their nearest training images, divided by that of reconstructions.

    1: midpoints are as near to real images as reconstructions are; larger: midpoints are less real.

    Args:
        midpoint_features, reconstruction_features, training_features: `(N, D)`; N may differ.
    """
    midpoints, _ = nearest(midpoint_features, training_features)
    reconstructions, _ = nearest(reconstruction_features, training_features)
    return _ratio(midpoints.mean(), reconstructions.mean())


# --- Samples: two sets of features are compared ---


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
    within_a = (_kernel_sum(a, a, chunk) - _kernel_diagonal_sum(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b, chunk) - _kernel_diagonal_sum(b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b, chunk) / (n * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray, chunk: int) -> float:
    y = np.asarray(y, dtype=np.float64)
    return sum(np.sum((x[rows].astype(np.float64) @ y.T / y.shape[1] + 1) ** 3) for rows in _chunks(len(x), chunk))


def _kernel_diagonal_sum(x: np.ndarray) -> float:
    return np.sum((np.mean(np.square(x, dtype=np.float64), axis=1) + 1) ** 3)


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3, chunk: int = 512) -> tuple[float, float]:
    """Returns precision and recall, both in [0, 1] (Kynkäänniemi et al. 2019, equations 1 and 2).

    Each real image has a ball around it; the radius is the distance to its k-th nearest other real image. Precision is
    the share of fake images in at least one ball. Recall is the same with real and fake exchanged.

    Args:
        real, fake: `(N, D)` and `(M, D)`, more than k rows each (FEWEST_FOR_PRECISION for the default k).
        chunk: rows that are compared at a time.
    """
    return _share_inside(fake, real, k, chunk), _share_inside(real, fake, k, chunk)


def _share_inside(points: np.ndarray, centres: np.ndarray, k: int, chunk: int) -> float:
    squared_radii = np.empty(len(centres))
    for rows, squared in _squared_distances(centres, centres, chunk, exclude_self=True):
        squared_radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    inside = [(squared <= squared_radii).any(axis=1) for _, squared in _squared_distances(points, centres, chunk)]
    return float(np.concatenate(inside).mean())


def novelty(samples: np.ndarray, unseen: np.ndarray) -> float:
    """Returns the median distance from samples to their nearest training images, divided by that of held-out images.

    1: samples are as new as held-out images; near 0: samples are copies of training images. It is 1 if both medians
    are 0.

    Args:
        samples, unseen: `(S,)` and `(T,)` distances from samples and held-out images to their nearest training images,
            at least one each.
    """
    return _ratio(np.median(samples), np.median(unseen))


def share_closer(samples: np.ndarray, unseen: np.ndarray, percentile: float = 1.0) -> float:
    """Returns the share of samples whose distance is below a percentile of the distances of held-out images.

    About `percentile` / 100: samples are as new as held-out images; 1: all samples are copies of training images.

    Args:
        samples, unseen: distances as in `novelty`.
        percentile: of the held-out distances, interpolated linearly.
    """
    return float(np.mean(samples < np.percentile(unseen, percentile)))


# --- Split: how well the selected images represent all ---


def cluster_coverage(labels: np.ndarray, selected: np.ndarray) -> float:
    """Returns the share of clusters that have a member in the selected rows.

    Args:
        labels: `(N,)` the cluster of each row.
        selected: `(M,)` row indices.
    """
    return len(np.unique(labels[selected])) / len(np.unique(labels))


def mean_nearest(features: np.ndarray, selected: np.ndarray) -> float:
    """Returns the mean distance from each row to its nearest selected row, which is 0 for a selected row.

    Args:
        features: `(N, D)`
        selected: `(M,)` row indices.
    """
    distances, _ = nearest(features, features[selected])
    return float(distances.mean())


# --- Nearest neighbours ---


def nearest(
    queries: np.ndarray, references: np.ndarray, count: int = 1, exclude_self: bool = False, chunk: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `count` references nearest to each query, the nearest first, by Euclidean distance.

    Ties may come in any order. Memory: `chunk` · (M + 2 D) float64, with fewer queries at a time for more than 65,536
    references.

    Args:
        queries: `(N, …)`
        references: `(M, …)`, read in chunks of rows.
        exclude_self: query i is reference i, and is not its own neighbour.

    Returns:
        Distances `(N, K) float64` and indices `(N, K) int64`; K is `count`, or M if there are fewer references.
    """
    count = min(count, len(references))
    distances = np.empty((len(queries), count))
    indices = np.empty((len(queries), count), dtype=np.int64)
    for rows, squared in _squared_distances(queries, references, chunk, exclude_self):
        if count == 1:
            indices[rows, 0] = squared.argmin(axis=1)
        else:
            indices[rows] = np.argsort(squared, axis=1, kind="stable")[:, :count]
        # measured again by subtraction: exactly 0 for a copy, where ‖q‖² + ‖r‖² − 2 q·r has a rounding error
        for column in range(count):
            difference = np.subtract(queries[rows], references[indices[rows, column]], dtype=np.float64)
            distances[rows, column] = np.linalg.norm(_flat(difference), axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def _squared_distances(
    queries: np.ndarray, references: np.ndarray, chunk: int, exclude_self: bool = False
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the rows of each chunk of queries and their squared distances to all references `(chunk, M) float64`."""
    for rows in _chunks(len(queries), max(1, min(chunk, DISTANCES // len(references)))):
        query = _flat(queries[rows])
        squared = np.empty((len(query), len(references)))
        for columns in _chunks(len(references), chunk):
            reference = _flat(references[columns])
            squared[:, columns] = np.sum(reference**2, axis=1) - 2 * query @ reference.T
        squared += np.sum(query**2, axis=1, keepdims=True)
        np.maximum(squared, 0, out=squared)
        if exclude_self:
            own = np.arange(rows.start, rows.start + len(query))
            squared[own - rows.start, own] = np.inf
        yield rows, squared


def _flat(points: np.ndarray) -> np.ndarray:
    """(M, …) → (M, D) float64"""
    return np.asarray(points, dtype=np.float64).reshape(len(points), -1)


def _chunks(length: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, length)) for start in range(0, length, chunk))


def _ratio(numerator: float, denominator: float) -> float:
    """Divides two distances; the result is finite, and 1 if both are 0."""
    return float(max(numerator, RATIO_FLOOR) / max(denominator, RATIO_FLOOR))
