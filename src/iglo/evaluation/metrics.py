"""What iglo measures: arrays in, numbers out. Computed in float64 and always finite, so that every value fits JSON.

Images are `(N, H, W, C)` floats in [0, 1]; features are `(N, D)` of any real dtype.
"""

from collections.abc import Iterator

import numpy as np
from skimage.metrics import structural_similarity

MSE_FLOOR = 1e-10  # identical images: 100 dB
RATIO_FLOOR = 1e-12
FEWEST_FOR_DISTANCE = 2  # images per side, for kernel and Fréchet distance
FEWEST_FOR_PRECISION = 4  # images per side, for precision and recall with k = 3: each image needs 3 others
DISTANCES = 2**25  # distances held at once: 256 MiB of float64

# --- Reconstruction: images beside their targets ---


def l1(images: np.ndarray, targets: np.ndarray) -> float:
    """Mean absolute difference, in [0, 1]."""
    return float(np.abs(np.subtract(images, targets, dtype=np.float64)).mean())


def psnr(images: np.ndarray, targets: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1: the mean over images of -10 log10(mse), at most 100."""
    squares = np.subtract(images, targets, dtype=np.float64) ** 2
    mse = squares.reshape(len(squares), -1).mean(axis=1)
    return float(np.mean(-10 * np.log10(np.maximum(mse, MSE_FLOOR))))


def ssim(images: np.ndarray, targets: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004), at most 1: mean over images, channels and 7×7 uniform windows."""
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


# --- Continuity: distances along paths, measured by the caller with a distance of its choice ---


def path_length(distances: np.ndarray, epsilon: float) -> float:
    """Perceptual path length (Karras et al. 2019, section 4.1): the mean of d(G(z_t), G(z_{t+ε})) / ε².

    distances: any shape, d for points `epsilon` apart on paths whose t runs from 0 to 1.
    """
    return float(np.mean(distances, dtype=np.float64) / epsilon**2)


def jerkiness(steps: np.ndarray) -> float:
    """Largest step over mean step, averaged over paths: 1 is perfectly even, 2K is one jump.

    steps: `(P, 2K)` distances between neighbours on each of P paths.
    A path of zero length counts as 1, all its steps being equal; its path length of 0 shows what it is.
    """
    steps = np.asarray(steps, dtype=np.float64)
    largest, mean = steps.max(axis=1), steps.mean(axis=1)
    return float(np.mean(np.divide(largest, mean, out=np.ones_like(mean), where=mean > 0)))


def midpoint_realism(
    midpoint_features: np.ndarray, reconstruction_features: np.ndarray, training_features: np.ndarray
) -> float:
    """Mean distance of midpoint images to their nearest training images, over the same figure for reconstructions.

    1: midpoints lie as near to real images as reconstructions do; larger is less real.
    """
    midpoints, _ = nearest_distances(midpoint_features, training_features)
    reconstructions, _ = nearest_distances(reconstruction_features, training_features)
    return _ratio(midpoints.mean(), reconstructions.mean())


# --- Samples: one set of features beside another ---


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the Gaussians fitted to two sets of features (Heusel et al. 2017, equation 6).

    ‖μa − μb‖² + tr(Σa + Σb − 2 (Σa Σb)^½), at least FEWEST_FOR_DISTANCE rows each, covariances over N − 1.
    With Σ = RᵀR the trace of the root is the sum of the singular values of Ra Rbᵀ. R is made from the centred rows,
    not from Σ, so singular covariances (N ≤ D) need no offset and nothing turns complex.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    means = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    trace_of_root = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    # tr(RᵀR) = Σ R²; rounding alone could go below 0
    return float(max(means + np.sum(root_a**2) + np.sum(root_b**2) - 2 * trace_of_root, 0.0))


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R of `(min(N, D), D)` with RᵀR the sample covariance."""
    centred = features - features.mean(axis=0)
    root = centred if len(centred) <= centred.shape[1] else np.linalg.qr(centred, mode="r")
    return root / np.sqrt(len(features) - 1)


def kernel_distance(a: np.ndarray, b: np.ndarray, chunk: int = 1024) -> float:
    """Kernel distance (Bińkowski et al. 2018): unbiased MMD² with the kernel (x·y / D + 1)³, over all rows at once.

    At least FEWEST_FOR_DISTANCE rows each. It is unbiased, so it may be a little below 0 for equal distributions.
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
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 to 3), both in [0, 1].

    A ball lies around each real; its radius is the distance to the k-th nearest other real. Precision is the share of
    fakes in at least one ball. Recall is the same with the roles exchanged. Each set needs more than k rows
    (FEWEST_FOR_PRECISION for the default k).
    """
    return _share_inside(fake, real, k, chunk), _share_inside(real, fake, k, chunk)


def _share_inside(points: np.ndarray, centres: np.ndarray, k: int, chunk: int) -> float:
    squared_radii = np.empty(len(centres))
    for rows, squared in _squared_distances(centres, centres, chunk, exclude_self=True):
        squared_radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    inside = [(squared <= squared_radii).any(axis=1) for _, squared in _squared_distances(points, centres, chunk)]
    return float(np.concatenate(inside).mean())


def novelty(samples: np.ndarray, unseen: np.ndarray) -> float:
    """Median distance of samples to their nearest training images, divided by that of held-out real images.

    1: samples are as new as unseen real images; near 0: they are copies of training images.

    samples: `(S,)`, unseen: `(T,)` distances to the nearest training image; at least one each. The result is 1 if both
    medians are 0.
    """
    return _ratio(np.median(samples), np.median(unseen))


def share_closer(samples: np.ndarray, unseen: np.ndarray, percentile: float = 1.0) -> float:
    """Share of samples nearer to a training image than the `percentile`-th percentile of held-out real images.

    About `percentile` / 100: samples are as new as unseen real images; 1: all are copies of training images.

    samples, unseen: as for `novelty`. The percentile of the unseen distances is interpolated linearly.
    """
    return float(np.mean(samples < np.percentile(unseen, percentile)))


# --- Split: how well the selected images stand for all ---


def cluster_coverage(labels: np.ndarray, selected: np.ndarray) -> float:
    """Share of clusters that have a member among the selected rows.

    labels: `(N,)` cluster of each row; selected: `(M,)` row indices.
    """
    return len(np.unique(labels[selected])) / len(np.unique(labels))


def mean_nearest(features: np.ndarray, selected: np.ndarray) -> float:
    """Mean distance of every row to its nearest selected row; a selected row is its own, at 0.

    features: `(N, D)`; selected: `(M,)` row indices.
    """
    distances, _ = nearest_distances(features, features[selected])
    return float(distances.mean())


# --- Nearest neighbours ---


def nearest_distances(
    queries: np.ndarray, references: np.ndarray, exclude_self: bool = False, chunk: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance `(N,) float64` of each query to its nearest reference, and that one's index `(N,) int64`.

    queries: `(N, …)`; references: `(M, …)`, read in chunks of rows; exclude_self: query i is reference i and does not
    count as its own neighbour. Of equally near references any may be given. Memory: `chunk` · (M + 2 D) float64, with
    fewer queries at a time for more than 65,536 references.
    """
    distances = np.empty(len(queries))
    indices = np.empty(len(queries), dtype=np.int64)
    for rows, squared in _squared_distances(queries, references, chunk, exclude_self):
        indices[rows] = squared.argmin(axis=1)
        # measured again by subtraction: exactly 0 for a copy, where ‖q‖² + ‖r‖² − 2 q·r leaves a rest
        difference = np.subtract(queries[rows], references[indices[rows]], dtype=np.float64)
        distances[rows] = np.linalg.norm(_flat(difference), axis=1)
    return distances, indices


def nearest_indices(queries: np.ndarray, references: np.ndarray, count: int, chunk: int = 512) -> np.ndarray:
    """Indices `(N, count) int64` of the references nearest to each query, the nearest first; arguments as above."""
    found = [
        np.argsort(squared, axis=1, kind="stable")[:, :count]
        for _, squared in _squared_distances(queries, references, chunk)
    ]
    return np.concatenate(found)


def _squared_distances(
    queries: np.ndarray, references: np.ndarray, chunk: int, exclude_self: bool = False
) -> Iterator[tuple[slice, np.ndarray]]:
    """For each chunk of queries its rows and their squared distances to all references, `(chunk, M) float64`."""
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
    """Finite for every pair of distances; 1 where both are 0."""
    return float(max(numerator, RATIO_FLOOR) / max(denominator, RATIO_FLOOR))
