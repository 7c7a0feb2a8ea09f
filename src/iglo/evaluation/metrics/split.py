"""The split: how well the selected images represent all."""

import numpy as np

from iglo.evaluation.metrics.neighbours import nearest


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
