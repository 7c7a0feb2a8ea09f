"""Samples as square images: nothing is lost, and what cannot be framed is said."""

import numpy as np
import pytest

from iglo.errors import UserError
from iglo.estimator.image_adapter import ImageAdapter, guess_shape


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("item_shape", "image_shape", "side"),
    [
        ((1,), (1, 1, 1), 16),
        ((3,), (1, 1, 3), 16),
        ((7,), (3, 3, 1), 16),
        ((64,), (8, 8, 1), 16),
        ((28, 28), (28, 28, 1), 32),
        ((300,), (10, 10, 3), 16),
        ((16, 40, 3), (16, 40, 3), 64),
        ((128, 65, 1), (128, 65, 1), 128),
    ],
)
def test_samples_come_back_bit_for_bit(item_shape, image_shape, side):
    given = samples(5, *item_shape)
    rows = given.reshape(5, -1)
    frame = ImageAdapter.of(rows, item_shape)
    images = frame.images(rows)
    assert (frame.image_shape, images.shape, images.dtype) == (image_shape, (5, side, side, image_shape[2]), np.uint8)
    back = frame.samples(images.astype(np.float32) / 255)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, given)


def test_a_small_image_is_enlarged_by_a_whole_factor_in_the_middle_of_its_own_edge():
    rows = np.arange(25, dtype=np.uint8)[None]
    (image,) = ImageAdapter.of(rows, (25,)).images(rows)[..., 0]
    np.testing.assert_array_equal(image[:15:3, :15:3], rows.reshape(5, 5))
    np.testing.assert_array_equal(image[2:15:3, 2:15:3], rows.reshape(5, 5))
    np.testing.assert_array_equal(image[15], image[14])


def test_floats_come_back_to_half_a_level_of_the_range_of_the_samples():
    rows = np.random.default_rng(1).normal(50, 10, (40, 10))
    frame = ImageAdapter.of(rows, (10,))
    assert (frame.low, frame.high) == (rows.min(), rows.max())
    back = frame.samples(frame.images(rows) / 255)
    assert back.dtype == np.float32 and back.shape == rows.shape
    np.testing.assert_allclose(back, rows, atol=0.51 * (frame.high - frame.low) / 255)


def test_a_given_range_clips():
    rows = np.array([[-1.0, 0.0, 8.0, 17.0]])
    frame = ImageAdapter.of(rows, (4,), value_range=(0, 16))
    np.testing.assert_allclose(frame.samples(frame.images(rows) / 255), [[0, 0, 8, 16]], atol=0.04)


def test_equal_values_have_a_frame():
    rows = np.full((2, 4), 3.0)
    frame = ImageAdapter.of(rows, (4,))
    np.testing.assert_array_equal(frame.samples(frame.images(rows) / 255), rows)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [-1.7e38, -1e17, 0.0, 1e17, 1.7e38])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_values_of_any_size_have_a_frame(value, dtype):
    rows = np.full((2, 4), value, dtype)
    frame = ImageAdapter.of(rows, (4,))
    np.testing.assert_allclose(frame.samples(frame.images(rows) / 255), rows, rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_range_comes_back_finite_and_a_larger_one_is_refused(dtype):
    rows = np.array([[-1.7e38, 0, 0, 1.7e38]], dtype)
    frame = ImageAdapter.of(rows, (4,))
    np.testing.assert_allclose(frame.samples(frame.images(rows) / 255), rows, atol=1e36)
    for high in (2e38, 1e308):  # these once gave infinity without an error
        with pytest.raises(UserError, match=r"X: values must be within ±1\.7e\+38, got -"):
            ImageAdapter.of(np.array([[-high, 0, 0, high]]), (4,))
        with pytest.raises(UserError, match=r"X: values must be within ±1\.7e\+38, got 0 to "):
            frame.images(np.array([[0, 0, 0, high]]))


@pytest.mark.filterwarnings("error")
def test_values_far_beyond_a_narrow_range_are_clipped():
    frame = ImageAdapter.of(np.zeros((2, 4)), (4,), value_range=(0, 1e-300))
    assert frame.images(np.array([[1e38, 0, 0, 0]]))[0, 0, 0] == 255


def test_a_given_shape_is_taken():
    rows = samples(2, 12)
    assert ImageAdapter.of(rows, (12,)).image_shape == (2, 2, 3)
    assert ImageAdapter.of(rows, (12,), [3, 4]).image_shape == (3, 4, 1)
    assert ImageAdapter.of(rows, (3, 4), (3, 4, 1)).image_shape == (3, 4, 1)


@pytest.mark.parametrize("features", range(1, 200))
def test_every_vector_fills_the_smallest_square(features: int):
    height, width, channels = guess_shape(features)
    assert height == width and (height - 1) ** 2 * channels < features <= height * width * channels


@pytest.mark.parametrize(
    ("item_shape", "arguments", "words"),
    [
        ((12,), {"image_shape": (5, 5)}, "image_shape: must be that of X"),
        ((3, 4), {"image_shape": (4, 3)}, "image_shape: must be that of X"),
        ((12,), {"image_shape": (2, 3, 2)}, "image_shape: must be None, "),
        ((12,), {"image_shape": (12,)}, "image_shape: must be None, "),
        ((12,), {"image_shape": (3.0, 4)}, "image_shape: must be None, "),
        ((12,), {"image_shape": (-3, -4)}, "image_shape: must be None, "),
        ((12,), {"image_shape": 12}, "image_shape: must be None, "),
        ((3, 2, 2), {}, "X: images must be"),
        ((129, 1), {}, "X: images must be at most 128×128, got 129×1"),
        ((128 * 128 + 1,), {}, "X: images must be at most 128×128, got 129×129"),
        ((12,), {"value_range": (1, 1)}, "value_range: must be"),
        ((12,), {"value_range": (0, np.inf)}, "value_range: must be"),
        ((12,), {"value_range": (np.nan, 1)}, "value_range: must be"),
        ((12,), {"value_range": (-1e308, 1e308)}, "value_range: must be"),
        ((12,), {"value_range": ("0", "1")}, "value_range: must be"),
        ((12,), {"value_range": 255}, "value_range: must be"),
    ],
)
def test_what_cannot_be_framed(item_shape, arguments, words):
    with pytest.raises(UserError, match=words):
        ImageAdapter.of(samples(2, int(np.prod(item_shape))), item_shape, **arguments)
