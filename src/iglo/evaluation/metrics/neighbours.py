"""Nearest neighbours: precision, recall, density, coverage, and copies of training images."""

from collections.abc import Iterator

import numpy as np

from iglo.evaluation.metrics.arrays import chunks, flat, ratio
from iglo.evaluation.metrics.errors import half_sample_error

FEWEST_FOR_PRECISION = 4  # images on each side, for precision and recall: with k = 3 each image needs 3 others
FEWEST_FOR_DENSITY = 6  # real images, for density and coverage: with k = 5 each image needs 5 others
FEWEST_FOR_NEIGHBOUR_ERRORS = 12  # images on each side, for `neighbour_errors`: half of them are 6
DISTANCES = 2**25  # distances in memory at a time: 256 MiB of float64


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
    inside = [balls.any(axis=1) for balls in _inside(points, centres, k, chunk)]
    return float(np.concatenate(inside).mean())


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5, chunk: int = 512) -> tuple[float, float]:
    """Returns density and coverage (Naeem et al. 2020).

    The balls of real images are as in `precision_recall`. Density is the number of balls that a fake image lies in,
    divided by k, averaged over fake images: 0 or more, and about 1 for equal distributions; one outlier with a large
    ball matters less than for precision. Coverage is the share of real images with a fake image in their ball, in
    [0, 1]. For equal distributions its mean is 1 − ∏ (N − i) / (N + M − i), i = 1 to k. A point on a ball's surface is
    inside, as for precision.

    Args:
        real, fake: `(N, D)` and `(M, D)`, more than k real rows (FEWEST_FOR_DENSITY for the default k).
        chunk: rows that are compared at a time.
    """
    balls, covered = 0, np.zeros(len(real), dtype=bool)
    for inside in _inside(fake, real, k, chunk):
        balls += int(inside.sum())
        covered |= inside.any(axis=0)
    return balls / (k * len(fake)), float(covered.mean())


def _inside(points: np.ndarray, centres: np.ndarray, k: int, chunk: int) -> Iterator[np.ndarray]:
    """Yields for each chunk of points whether they are in the ball around each centre `(chunk, M)` bool.

    The radius of a ball is the distance to the k-th nearest other centre.
    """
    squared_radii = np.empty(len(centres))
    for rows, squared in _squared_distances(centres, centres, chunk, exclude_self=True):
        squared_radii[rows] = _smallest(squared, k)
    for _, squared in _squared_distances(points, centres, chunk):
        yield squared <= squared_radii


def neighbour_errors(
    real: np.ndarray, fake: np.ndarray, rng: np.random.Generator, repeats: int = 100
) -> tuple[float, float, float, float]:
    """Returns the standard errors of precision, recall, density and coverage with their default k.

    They are those of `half_sample_error`, from distances that are computed once.

    Args:
        real, fake: `(N, D)` and `(M, D)`, at least FEWEST_FOR_NEIGHBOUR_ERRORS rows each. Memory: (N + M)² float64.
        rng: draws the halves.
        repeats: how many halves are drawn, at least 2.
    """
    both = np.concatenate([flat(real), flat(fake)])
    squared = np.concatenate([part for _, part in _squared_distances(both, both, 512, exclude_self=True)])

    def values(real: np.ndarray, fake: np.ndarray) -> tuple[float, ...]:
        between, of_real, of_fake = (squared[np.ix_(*pair)] for pair in ((fake, real), (real, real), (fake, fake)))
        dense = between <= _smallest(of_real, 5)
        return (
            (between <= _smallest(of_real, 3)).any(axis=1).mean(),
            (_smallest(of_fake, 3) >= between.T).any(axis=1).mean(),
            dense.sum() / (5 * len(fake)),
            dense.any(axis=0).mean(),
        )

    rows = np.arange(len(both))
    return half_sample_error(values, (rows[: len(real)], rows[len(real) :]), rng, repeats)


def _smallest(squared: np.ndarray, k: int) -> np.ndarray:
    """Returns the k-th smallest number of each row."""
    return np.partition(squared, k - 1, axis=1)[:, k - 1]


def novelty(samples: np.ndarray, unseen: np.ndarray) -> float:
    """Returns the median distance from samples to their nearest training images, divided by that of test images.

    1: samples are as new as test images; near 0: samples are copies of training images. It is 1 if both medians
    are 0.

    Args:
        samples, unseen: `(S,)` and `(T,)` distances from samples and test images to their nearest training images,
            at least one each.
    """
    return ratio(np.median(samples), np.median(unseen))


def share_closer(samples: np.ndarray, unseen: np.ndarray, percentile: float = 1.0) -> float:
    """Returns the share of samples whose distance is below a percentile of the distances of test images.

    About `percentile` / 100: samples are as new as test images; 1: all samples are copies of training images.

    Args:
        samples, unseen: distances as in `novelty`.
        percentile: of the distances of test images, interpolated linearly.
    """
    return float(np.mean(samples < np.percentile(unseen, percentile)))


def copies(distances: np.ndarray) -> np.ndarray:
    """Returns which images are copies of a training image `(N,)` bool; their mean is the copy rate.

    An image is a copy if its nearest training image is less than a third as far as the second nearest, or has
    distance 0. The second case is for training images that are there twice.

    Args:
        distances: `(N, 2)` to the nearest and the second nearest training image, as `nearest` returns them.
    """
    first, second = np.asarray(distances, dtype=np.float64).T
    return (3 * first < second) | (first == 0)


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
            distances[rows, column] = np.linalg.norm(flat(difference), axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def _squared_distances(
    queries: np.ndarray, references: np.ndarray, chunk: int, exclude_self: bool = False
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the rows of each chunk of queries and their squared distances to all references `(chunk, M) float64`."""
    for rows in chunks(len(queries), max(1, min(chunk, DISTANCES // len(references)))):
        query = flat(queries[rows])
        squared = np.empty((len(query), len(references)))
        for columns in chunks(len(references), chunk):
            reference = flat(references[columns])
            squared[:, columns] = np.sum(reference**2, axis=1) - 2 * query @ reference.T
        squared += np.sum(query**2, axis=1, keepdims=True)
        np.maximum(squared, 0, out=squared)
        if exclude_self:
            own = np.arange(rows.start, rows.start + len(query))
            squared[own - rows.start, own] = np.inf
        yield rows, squared
