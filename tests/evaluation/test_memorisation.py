"""Distances to the training images tell copies from new images."""

import numpy as np
import pytest

from iglo.data.store import UnitImages
from iglo.evaluation.memorisation import Nearness
from tests.tiny import tiny_images


@pytest.fixture
def images():
    """Training and held-out images of one distribution, (N, 4, 4, 1)."""
    return np.random.default_rng(0).random((2, 300, 4, 4, 1), dtype=np.float32)


def test_copies_of_training_images_are_found(images):
    train, test = images
    near = Nearness.measure(train[[7, 0, 299]], train, test)
    assert near.samples.tolist() == [0, 0, 0] and near.neighbours[:, 0].tolist() == [7, 0, 299]
    values = near.values(0)
    assert values.pop("se") == {"novelty": pytest.approx(0, abs=1e-9), "share_closer": 0}
    assert values == {"novelty": pytest.approx(0, abs=1e-9), "share_closer": 1}


def test_held_out_images_are_not_copies(images):
    train, test = images
    values = Nearness.measure(test[:150], train, test[150:]).values(0)
    assert values["novelty"] == pytest.approx(1, abs=0.1) and values["share_closer"] < 0.05


def test_neighbours_come_in_order(images):
    train, test = images
    near = Nearness.measure(test[:20], train, test)
    distances = np.linalg.norm((test[:20, None] - train[near.neighbours]).reshape(20, 2, -1), axis=2)
    np.testing.assert_allclose(distances[:, 0], near.samples, rtol=1e-6)
    assert (distances[:, 0] <= distances[:, 1]).all() and (near.neighbours[:, 0] != near.neighbours[:, 1]).all()


def test_nearness_is_the_same_for_images_read_in_chunks():
    train, samples = tiny_images(50), np.random.default_rng(0).random((9, 16, 16, 1), dtype=np.float32)
    read, held = (
        Nearness.measure(samples, images, images[:20]) for images in (UnitImages(train), train / np.float32(255))
    )
    for one, other in zip(vars(read).values(), vars(held).values(), strict=True):
        np.testing.assert_array_equal(one, other)
