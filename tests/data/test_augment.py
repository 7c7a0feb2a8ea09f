"""Augmented images equal what numpy computes, and are as random as they should be."""

import numpy as np
import pytest
import torch

from iglo.data.augment import Augment
from tests.tiny import generator

IMAGES = torch.rand(300, 3, 8, 8, generator=generator())


def varied(images=IMAGES, seed=1, flip=False, shift=0, gain=0.0) -> torch.Tensor:
    return Augment(flip, shift, gain)(images, generator(seed))


def test_without_options_nothing_changes():
    assert torch.equal(varied(), IMAGES)


def test_half_of_the_images_are_mirrored():
    mirrored = [torch.equal(copy, image.flip(2)) for copy, image in zip(varied(flip=True), IMAGES, strict=True)]
    kept = [torch.equal(copy, image) for copy, image in zip(varied(flip=True), IMAGES, strict=True)]
    assert [a != b for a, b in zip(mirrored, kept, strict=True)] == [True] * 300 and 0.4 < np.mean(mirrored) < 0.6


def test_a_shifted_image_is_a_crop_of_the_reflected_one():
    seen = set()
    for copy, image in zip(varied(shift=2).numpy(), IMAGES.numpy(), strict=True):
        padded = np.pad(image, [(0, 0), (2, 2), (2, 2)], mode="reflect")
        corners = [(y, x) for y in range(5) for x in range(5)]
        (corner,) = [(y, x) for y, x in corners if np.array_equal(copy, padded[:, y : y + 8, x : x + 8])]
        seen.add(corner)
    assert len(seen) == 25


def test_each_channel_of_each_image_has_its_own_gain():
    images = IMAGES * 0.5 + 0.1
    gains = varied(images, gain=0.2) / images
    assert (gains.amax((2, 3)) - gains.amin((2, 3))).max() < 1e-5
    factors = gains.mean((2, 3))
    assert 0.8 - 1e-5 < factors.min() < 0.82 and 1.18 < factors.max() < 1.2 + 1e-5
    assert factors.unique().numel() == 900 and factors.mean().item() == pytest.approx(1, abs=0.02)


def test_values_above_1_are_clipped():
    copies = varied(gain=0.9)
    assert copies.min() >= 0 and copies.max() == 1 and (copies == 1).any((1, 2, 3)).float().mean() > 0.5


def test_copies_depend_on_the_generator_and_do_not_change_the_images():
    before, options = IMAGES.clone(), {"flip": True, "shift": 2, "gain": 0.2}
    copies = varied(**options)
    assert torch.equal(copies, varied(**options)) and not torch.equal(copies, varied(seed=2, **options))
    assert torch.equal(IMAGES, before) and copies.shape == IMAGES.shape and copies.dtype == torch.float32
