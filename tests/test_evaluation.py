"""A run's numbers from images that memory does not hold at once."""

from types import SimpleNamespace

import numpy as np
import pytest

from iglo import evaluation
from iglo.evaluation import quality, rendered_quality
from iglo.images import UnitImages
from iglo.memorisation import Nearness
from tests.tiny import peak_bytes, tiny_images

JUDGE = SimpleNamespace(distance_name="squares", distance=lambda a, b: ((a - b) ** 2).mean((1, 2, 3)))


def darker(images: UnitImages):
    return lambda rows: images[rows] * np.float32(0.9)


def test_quality_in_blocks_is_that_at_once(monkeypatch):
    images = UnitImages(tiny_images(20))
    at_once = quality(darker(images)(slice(None)), images[:], JUDGE)
    assert rendered_quality(darker(images), images, JUDGE) == at_once
    monkeypatch.setattr(evaluation, "BLOCK", 7 * images[:1].size)
    in_blocks = rendered_quality(darker(images), images, JUDGE)
    assert in_blocks == pytest.approx(at_once, rel=1e-6) and in_blocks.keys() == at_once.keys()


def test_memory_holds_one_block(monkeypatch, mapped_images):
    monkeypatch.setattr(evaluation, "BLOCK", 100 * mapped_images[0].size)
    images = UnitImages(mapped_images[:10_000])
    values, peak = peak_bytes(lambda: rendered_quality(darker(images), images, JUDGE))
    assert values["psnr"] > 20 and peak < images.pixels.nbytes


def test_nearness_to_images_as_they_are_read():
    train, samples = tiny_images(50), np.random.default_rng(0).random((9, 16, 16, 1), dtype=np.float32)
    read, held = (
        Nearness.measure(samples, images, images[:20]) for images in (UnitImages(train), train / np.float32(255))
    )
    for one, other in zip(vars(read).values(), vars(held).values(), strict=True):
        np.testing.assert_array_equal(one, other)
