"""The share of the highest frequencies: waves whose share is known, noise, blur, upsampling that alternates."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from iglo.evaluation.metrics import nyquist_share
from iglo.evaluation.metrics.spectrum import CHUNK

ROWS, COLUMNS = np.mgrid[:16, :32]


def image(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, np.float32)[None, :, :, None], 3, axis=3)


def noise(count: int = 200, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 0.1, (count, side, side, 3))


@pytest.mark.parametrize("pattern", [ROWS + COLUMNS, ROWS, COLUMNS], ids=["checkerboard", "rows", "columns"])
def test_a_pattern_of_period_two_is_all_of_the_power(pattern):
    assert nyquist_share(image(0.5 + 0.2 * (-1.0) ** pattern)) == pytest.approx([1], abs=1e-9)


def test_longer_waves_and_flat_images_have_none_of_it():
    wave = np.sin(2 * np.pi * COLUMNS / 8)
    assert nyquist_share(image(0.5 + 0.2 * wave)) == pytest.approx([0], abs=1e-9)
    assert nyquist_share(image(np.full((16, 32), 0.7))) == nyquist_share(image(np.zeros((16, 32)))) == [0]


def test_powers_add_up():
    wave, alternating = np.sin(2 * np.pi * COLUMNS / 8), (-1.0) ** (ROWS + COLUMNS)
    share = nyquist_share(image(0.5 + 0.3 * wave + 0.1 * alternating))  # mean squares 0.09 / 2 and 0.01
    assert share == pytest.approx([0.01 / (0.01 + 0.045)], rel=1e-6)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_white_noise_has_the_share_of_its_frequencies(side):
    outside = 1 - (1 - 3 / side) ** 2
    assert nyquist_share(noise(side=side)).mean() == pytest.approx(outside * side**2 / (side**2 - 9), rel=0.02)


def test_blur_lowers_it_and_an_alternating_gain_raises_it():
    sharp = noise(50)
    blurred = gaussian_filter(sharp, (0, 1, 1, 0), mode="wrap")
    alternating = blurred * (1 + 0.1 * (-1.0) ** np.arange(32))[:, None]  # as uneven upsampling leaves it
    share = [nyquist_share(images).mean() for images in (sharp, blurred, alternating)]
    assert share[1] < 0.01 * share[0] and share[2] > 5 * share[1]


def test_brightness_and_contrast_do_not_matter_and_rows_are_independent():
    images = noise(CHUNK + 3, 16)
    np.testing.assert_allclose(nyquist_share(0.3 * images + 0.1), nyquist_share(images))
    np.testing.assert_allclose(nyquist_share(images[-2:]), nyquist_share(images)[-2:])
    assert nyquist_share(images[:0]).shape == (0,)
