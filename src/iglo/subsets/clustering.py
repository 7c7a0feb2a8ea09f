"""Splits the training images into subsets: PCA, k-means, and the images nearest to each centroid.

Helman et al. 2019, section 3. All functions take and return arrays, with the ids of the images.
"""

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from iglo.errors import UserError
from iglo.files.io import read_array, write_array
from iglo.params.pipeline import ClusterParams, RoundParams
from iglo.randomness import sklearn_seed
from iglo.runtime.threads import exact_threads

LARGE = 2**28  # values (1 GiB of float32); with more, PCA reads the rows in batches, which is five times slower
CHUNK = 4096  # number of distances that are computed at once


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of M images, and the images in PCA space."""

    ids: np.ndarray  # (M,) int64
    points: np.ndarray  # (M, P) float32
    labels: np.ndarray  # (M,) int32
    centroids: np.ndarray  # (K, P) float32

    def save(self, folder: Path) -> None:
        """Writes each array to an .npy file."""
        for field in fields(self):
            write_array(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: str | Path) -> "Clusters":
        """Reads what `save` has written. Raises UserError if an array is missing or damaged."""
        return cls(*(read_array(Path(folder) / f"{field.name}.npy") for field in fields(cls)))


class Nearest(NamedTuple):
    """Images in the order of clusters, and within a cluster by distance to its centroid."""

    index: np.ndarray  # (R,) int64: row in the points
    rank: np.ndarray  # (R,) int64: 0 for the nearest image of a cluster
    distance: np.ndarray  # (R,) float64, Euclidean


@dataclass(frozen=True, eq=False)
class Selection:
    """The images that one round takes for its subset, and the images that it leaves to later rounds."""

    chosen: np.ndarray  # sorted ids, int64
    rest: np.ndarray  # sorted ids, int64
    by_cluster: tuple[tuple[int, int, int, float], ...] = ()  # (cluster, rank, id, distance) of each chosen image

    def save(self, folder: Path) -> None:
        """Writes `chosen.npy`, `rest.npy` and the table `by_cluster.csv`."""
        write_array(folder / "chosen.npy", self.chosen)
        write_array(folder / "rest.npy", self.rest)
        with open(folder / "by_cluster.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("cluster", "rank", "id", "distance"), *self.by_cluster])


def everything(count: int) -> Selection:
    """Returns the selection before the first round: no image is chosen, and ids 0 to count - 1 are left."""
    return Selection(np.arange(0, dtype=np.int64), np.arange(count, dtype=np.int64))


def cluster_images(
    features: np.ndarray, ids: np.ndarray, item: RoundParams, params: ClusterParams, seed: int
) -> Clusters:
    """Clusters the images `ids` by their rows of `features` (N, D). Raises UserError if there are too few images."""
    if item.clusters > len(ids):
        raise UserError(
            f"rounds.{item.id - 1}.clusters: must be at most the number of images left, {len(ids)}, "
            f"got {item.clusters}; ask for fewer clusters, or take fewer images in the rounds before."
        )
    points = fit_pca(features, params.components, sklearn_seed(seed, "pca", item.id), rows=ids)
    labels, centroids = fit_kmeans(points, item.clusters, sklearn_seed(seed, "kmeans", item.id), params.minibatch_above)
    return Clusters(ids, points, labels, centroids)


def select_images(clusters: Clusters, item: RoundParams) -> Selection:
    """Takes the `per_cluster` images nearest to each centroid, or all images if that is None.

    Raises:
        UserError: the round leaves no images to later rounds.
    """
    ids = clusters.ids
    index, rank, distance = nearest_to_centroids(clusters.points, clusters.labels, clusters.centroids, item.per_cluster)
    rest = np.setdiff1d(np.arange(len(ids)), index)
    assert_partition([index, rest], len(ids))
    if item.per_cluster is not None and len(rest) == 0:
        raise UserError(
            f"rounds.{item.id - 1}: takes all {len(ids)} images that are left, and the rounds after it get none; "
            f"lower its clusters (now {item.clusters}) or per_cluster (now {item.per_cluster}), or use fewer rounds."
        )
    rows = zip(clusters.labels[index].tolist(), rank.tolist(), ids[index].tolist(), distance.tolist(), strict=True)
    return Selection(np.sort(ids[index]), np.sort(ids[rest]), tuple(rows))


def fit_pca(
    features: np.ndarray, components: int, seed: int, rows: np.ndarray | None = None, large: int = LARGE
) -> np.ndarray:
    """Fits a centred PCA to the M `rows` of `features` (N, D), and returns them in its space: (M, P) float32.

    P is the smallest of `components`, M and D. Up to `large` values it uses scikit-learn's PCA, which chooses its
    solver by the shape. For more it uses IncrementalPCA, so that a memory map is never read as a whole. Both make the
    largest entry of each axis positive.
    """
    from sklearn.decomposition import PCA, IncrementalPCA  # before exact_threads, which sets the loaded thread pools
    from sklearn.utils import gen_batches

    rows = np.arange(len(features)) if rows is None else rows
    components = min(components, len(rows), features.shape[1])
    if len(rows) == 1:  # scikit-learn refuses one row, which has no variance
        return np.zeros((1, 1), np.float32)
    if len(rows) * features.shape[1] <= large:
        model = PCA(components, copy=False, random_state=seed)  # indexing copies
        with exact_threads(), np.errstate(invalid="ignore"):  # equal images have no variance to explain
            return model.fit_transform(features[rows]).astype(np.float32)
    model = IncrementalPCA(components)
    parts = list(gen_batches(len(rows), max(256, 2 * components), min_batch_size=components))
    points = np.empty((len(rows), components), np.float32)
    with exact_threads():
        for part in parts:
            model.partial_fit(features[rows[part]])
        for part in parts:
            points[part] = model.transform(features[rows[part]])
    return points


def fit_kmeans(points: np.ndarray, clusters: int, seed: int, minibatch_above: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels (M,) int32 and centroids (clusters, P) of k-means++, the best of 10 starts.

    With more than `minibatch_above` points it uses mini-batches. It uses one thread, because with several threads the
    order of additions differs from run to run.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans  # before exact_threads, which sets the loaded thread pools
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(clusters, n_init=10, random_state=seed)
    if len(points) > minibatch_above:
        model = MiniBatchKMeans(clusters, n_init=10, batch_size=4096, random_state=seed)
    with exact_threads(1), warnings.catch_warnings():
        # with fewer different images than clusters, some clusters are empty, which is allowed
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points)
    return model.labels_.astype(np.int32), model.cluster_centers_


def nearest_to_centroids(
    points: np.ndarray, labels: np.ndarray, centroids: np.ndarray, per_cluster: int | None
) -> Nearest:
    """Returns the `per_cluster` points of each cluster that are nearest to its centroid.

    If two points are equally near, the lower row comes first. A smaller cluster gives all its points. None takes all
    points of every cluster.
    """
    distance = np.empty(len(points))
    for start in range(0, len(points), CHUNK):
        rows = slice(start, start + CHUNK)
        distance[rows] = np.linalg.norm(points[rows].astype(np.float64) - centroids[labels[rows]], axis=1)
    order = np.lexsort((distance, labels))  # stable
    starts = np.searchsorted(labels[order], labels[order])
    rank = np.arange(len(order)) - starts
    keep = slice(None) if per_cluster is None else rank < per_cluster
    return Nearest(order[keep], rank[keep], distance[order][keep])


def assert_partition(subsets: Sequence[np.ndarray], count: int) -> None:
    """Raises RuntimeError, for a defect of iglo, unless the subsets are disjoint and their union is 0 … count - 1."""
    together = np.sort(np.concatenate([np.asarray(subset) for subset in subsets]))
    if not np.array_equal(together, np.arange(count)):
        repeated = len(together) - len(np.unique(together))
        missing = len(np.setdiff1d(np.arange(count), together))
        raise RuntimeError(
            f"subsets of {count} images must be disjoint and cover them all: {len(together)} ids, "
            f"{repeated} repeated, {missing} missing"
        )
