"""Recognised classes against values computed by hand."""

import itertools

import numpy as np
import pytest

from iglo.evaluation import metrics


def test_top_classes_by_hand():
    probabilities = np.array([[0.1, 0.6, 0.3, 0.0], [0.1, 0.2, 0.5, 0.2]])  # mean 0.1, 0.4, 0.4, 0.1
    assert metrics.top_classes(probabilities, 0.4).tolist() == [1]
    assert metrics.top_classes(probabilities).tolist() == [1, 2]
    assert metrics.top_classes(probabilities, 0.85).tolist() == [1, 2, 0]
    assert metrics.top_classes(probabilities, 1.0).tolist() == [1, 2, 0, 3]


def test_no_fewer_classes_have_the_mass(rng):
    probabilities = rng.dirichlet(np.full(7, 0.3), size=9).astype(np.float32)
    mean = probabilities.mean(axis=0)
    chosen = metrics.top_classes(probabilities, 0.6)
    assert mean[chosen].sum() >= 0.6
    assert all(sum(fewer) < 0.6 for fewer in itertools.combinations(mean, len(chosen) - 1))


def test_all_classes_at_most(rng):
    probabilities = rng.dirichlet(np.ones(1000), size=3).astype(np.float32)
    assert sorted(metrics.top_classes(probabilities, 1.0)) == list(range(1000))


def test_recognised_and_confidence_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]], np.float32)
    assert metrics.recognised(probabilities, np.array([2, 1])) == pytest.approx([0.3, 0.95])
    assert metrics.recognised(probabilities, np.arange(3)) == pytest.approx([1, 1])
    assert metrics.confidence(probabilities) == pytest.approx([0.7, 0.9])


def test_real_images_have_the_mass_on_average(rng):
    probabilities = rng.dirichlet(np.full(20, 0.2), size=50)
    assert metrics.recognised(probabilities, metrics.top_classes(probabilities, 0.7)).mean() >= 0.7
