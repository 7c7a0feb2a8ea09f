"""Quality of images that are rendered in blocks, and of the split."""

from types import SimpleNamespace

import numpy as np
import pytest

from iglo.data.store import UnitImages
from iglo.evaluation import measure
from iglo.evaluation.measure import quality, rendered_quality, split_quality
from tests.evaluation.stand_ins import squared_distance
from tests.tiny import peak_bytes, tiny_images

NETWORK = SimpleNamespace(distance_name="squares", distance=squared_distance)


def darker(images: UnitImages):
    return lambda rows: images[rows] * np.float32(0.9)


def test_quality_in_blocks_is_quality_at_once(monkeypatch):
    images = UnitImages(tiny_images(20))
    at_once = quality(darker(images)(slice(None)), images[:], NETWORK)
    assert rendered_quality(darker(images), images, NETWORK) == at_once
    monkeypatch.setattr(measure, "BLOCK", 7 * images[:1].size)
    in_blocks = rendered_quality(darker(images), images, NETWORK)
    assert in_blocks == pytest.approx(at_once, rel=1e-6) and in_blocks.keys() == at_once.keys()


def test_memory_has_one_block_only(monkeypatch, mapped_images):
    monkeypatch.setattr(measure, "BLOCK", 10 * mapped_images[0].size)
    images = UnitImages(mapped_images[:1000])
    values, peak = peak_bytes(lambda: rendered_quality(darker(images), images, NETWORK))
    assert values["psnr"] > 20 and peak < images.pixels.nbytes


def test_a_subset_of_centroids_is_better_than_random_subsets():
    """Four clusters far apart, of very different sizes: few random images are in the small ones."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], [94, 2, 2, 2])
    points = 100.0 * np.eye(4)[labels] + rng.normal(size=(100, 4))
    chosen = np.array([0, 94, 96, 98])
    values = split_quality(points, labels, chosen, 0)
    assert values["coverage"] == 1 > values["coverage_random"] + 2 * values["se"]["coverage_random"]
    assert values["distance"] < values["distance_random"] - 2 * values["se"]["distance_random"]
    assert split_quality(points, labels, chosen, 0) == values != split_quality(points, labels, chosen, 1)
