"""The split against values computed by hand."""

import numpy as np
import pytest

from iglo.evaluation import metrics


def test_cluster_coverage_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 7])
    assert metrics.cluster_coverage(labels, np.array([0, 1])) == 0.25
    assert metrics.cluster_coverage(labels, np.array([1, 5, 2])) == 0.75
    assert metrics.cluster_coverage(labels, np.arange(6)) == 1


def test_mean_nearest_by_hand():
    features = np.array([[0.0], [1.0], [4.0], [10.0]])
    assert metrics.mean_nearest(features, np.array([0, 3])) == pytest.approx((0 + 1 + 4 + 0) / 4)
