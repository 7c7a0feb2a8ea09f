"""Paths against values computed by hand, and crossfades of images made here and of real ones."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from iglo.data.image_io import load_image
from iglo.evaluation import metrics


def test_path_length_of_a_straight_path_is_its_squared_length():
    """With a squared distance, a path of speed v has d = (v ε)², so the result is v² for every ε."""
    speed = np.array([1.0, 3.0])
    for epsilon in (1e-1, 1e-2):
        assert metrics.path_length((speed * epsilon) ** 2, epsilon) == pytest.approx((1 + 9) / 2)


def test_jerkiness_by_hand():
    even, jump, mixed = [1, 1, 1, 1], [0, 0, 7, 0], [1, 2, 3, 2]
    assert metrics.jerkiness(np.array([even])) == 1
    assert metrics.jerkiness(np.array([jump])) == 4
    assert metrics.jerkiness(np.array([even, jump, mixed])) == pytest.approx((1 + 4 + 1.5) / 3)


def test_jerkiness_of_a_path_of_length_0_is_1():
    assert metrics.jerkiness(np.array([[0.0, 0.0], [1.0, 3.0]])) == pytest.approx((1 + 1.5) / 2)


def test_midpoint_realism_by_hand():
    training = np.array([[0.0, 0.0], [10.0, 0.0]])
    reconstructions = np.array([[0.0, 1.0], [10.0, 3.0]])  # 1 and 3 away
    midpoints = np.array([[5.0, 0.0], [4.0, 3.0]])  # 5 and 5 away
    assert metrics.midpoint_realism(midpoints, reconstructions, training) == pytest.approx(2.5)


# --- Ghost index ---


def digits(count):
    """(N, 32, 32, 1)"""
    return np.stack([load_image((8 * image).astype(np.uint8), 32, 1) for image in load_digits().images[:count]]) / 255


def frogs(folder, size, count):
    """(N, size, size, 3)"""
    return np.stack([load_image(folder / f"frog-{i + 1}.jpg", size, 3) for i in range(count)]) / 255


def textures(rng, count):
    """(N, 32, 32, 3), soft noise"""
    return np.clip(0.5 + gaussian_filter(rng.normal(size=(count, 32, 32, 3)), (0, 1, 1, 0)), 0, 1)


@pytest.mark.parametrize("weight", [0.0, 0.03, 0.5, 0.8])
def test_a_crossfade_has_ghost_index_1_at_any_weight(rng, weight):
    for images in (digits(40), textures(rng, 40)):
        starts, ends = images[:20], images[20:]
        crossfades = (weight * starts + (1 - weight) * ends).astype(np.float32)
        assert metrics.ghost_index(crossfades, starts, ends) == pytest.approx(1, abs=1e-4)


def test_ghost_index_by_least_squares(rng):
    """Mixtures with positive weights and something new, where the best weights are positive without being told to."""
    starts, ends, new = textures(rng, 5), textures(rng, 5), textures(rng, 5)
    midpoints = 0.3 * starts + 0.3 * ends + 0.4 * new
    for index, *images in zip(metrics.ghost_index(midpoints, starts, ends), midpoints, starts, ends, strict=True):
        middle, *sides = [(gaussian_filter(x, (1, 1, 0)) - gaussian_filter(x, (2, 2, 0))).ravel() for x in images]
        _, residual, _, _ = np.linalg.lstsq(np.stack(sides, axis=1), middle, rcond=None)
        assert 0.3 < index < 0.7 and index == pytest.approx(1 - residual[0] / np.sum(middle**2))


def test_ghost_index_of_an_image_of_its_own_is_near_0(rng):
    images = textures(rng, 60)
    assert metrics.ghost_index(images[:20], images[20:40], images[40:]).max() < 0.05
    images = digits(600)  # they share their place
    assert metrics.ghost_index(images[:200], images[200:400], images[400:]).mean() < 0.2


def test_a_negative_of_an_end_is_no_ghost(rng):
    starts, ends = textures(rng, 5), textures(rng, 5)
    assert metrics.ghost_index(1 - starts, starts, ends).max() < 0.05


def test_ghost_index_of_images_without_detail(rng):
    flat, images = np.full((2, 32, 32, 3), 0.3, np.float32), textures(rng, 2)
    assert metrics.ghost_index(flat, images, images[::-1]).tolist() == [0, 0]
    assert metrics.ghost_index(images, flat, flat).tolist() == [0, 0]
    assert metrics.ghost_index(images, flat, images) == pytest.approx(1)
    assert metrics.ghost_index(images, images, images) == pytest.approx(1)  # ends that are alike


@pytest.mark.parametrize(("name", "size"), [("cifar10-frogs", 32), ("tiny-imagenet-frogs", 64)])
def test_ghost_index_of_frogs(shared, rng, name, size):
    starts, ends, others = np.split(frogs(shared / "data" / name, size, 180), 3)
    crossfades = 0.5 * starts + 0.5 * ends
    assert metrics.ghost_index(others, starts, ends).mean() < 0.015
    assert metrics.ghost_index(gaussian_filter(crossfades, (0, 1, 1, 0)), starts, ends).mean() > 0.9
    assert metrics.ghost_index(crossfades + 0.05 * rng.normal(size=crossfades.shape), starts, ends).mean() > 0.85
