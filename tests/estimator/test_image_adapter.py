"""Samples as square images: nothing is lost on the way back, and samples that do not fit are refused."""

import numpy as np
import pytest

from iglo.errors import UserError
from iglo.estimator.image_adapter import ImageAdapter, guess_shape


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def there_and_back(adapter: ImageAdapter, rows: np.ndarray) -> np.ndarray:
    return adapter.to_samples(adapter.to_images(rows) / 255)


ROUND_TRIPS = [  # shape of a sample, shape of its image, side of the square
    ((1,), (1, 1, 1), 16),
    ((3,), (1, 1, 3), 16),
    ((7,), (3, 3, 1), 16),
    ((64,), (8, 8, 1), 16),
    ((28, 28), (28, 28, 1), 32),
    ((300,), (10, 10, 3), 16),
    ((16, 40, 3), (16, 40, 3), 64),
    ((128, 65, 1), (128, 65, 1), 128),
]


def test_samples_come_back_bit_for_bit():
    for item_shape, image_shape, side in ROUND_TRIPS:
        given = samples(5, *item_shape)
        rows = given.reshape(5, -1)
        adapter = ImageAdapter.of(rows, item_shape)
        images = adapter.to_images(rows)
        assert adapter.image_shape == image_shape
        assert images.shape == (5, side, side, image_shape[2]) and images.dtype == np.uint8
        back = adapter.to_samples(images.astype(np.float32) / 255)
        assert back.dtype == np.uint8
        np.testing.assert_array_equal(back, given)


def test_a_small_image_is_enlarged_by_a_whole_factor_and_padded_with_its_edge():
    rows = np.arange(25, dtype=np.uint8)[None]
    (image,) = ImageAdapter.of(rows, (25,)).to_images(rows)[..., 0]
    np.testing.assert_array_equal(image[:15:3, :15:3], rows.reshape(5, 5))
    np.testing.assert_array_equal(image[2:15:3, 2:15:3], rows.reshape(5, 5))
    np.testing.assert_array_equal(image[15], image[14])


def test_floats_come_back_to_half_a_level_of_the_range_of_the_samples():
    rows = np.random.default_rng(1).normal(50, 10, (40, 10))
    adapter = ImageAdapter.of(rows, (10,))
    assert (adapter.low, adapter.high) == (rows.min(), rows.max())
    back = there_and_back(adapter, rows)
    assert back.dtype == np.float32 and back.shape == rows.shape
    np.testing.assert_allclose(back, rows, atol=0.51 * (adapter.high - adapter.low) / 255)


def test_a_given_range_clips():
    rows = np.array([[-1.0, 0.0, 8.0, 17.0]])
    adapter = ImageAdapter.of(rows, (4,), value_range=(0, 16))
    np.testing.assert_allclose(there_and_back(adapter, rows), [[0, 0, 8, 16]], atol=0.04)


@pytest.mark.filterwarnings("error")
def test_equal_values_of_any_size_come_back():
    for dtype in (np.float32, np.float64):
        for value in (-1.7e38, -1e17, 0.0, 3.0, 1e17, 1.7e38):
            rows = np.full((2, 4), value, dtype)
            back = there_and_back(ImageAdapter.of(rows, (4,)), rows)
            np.testing.assert_allclose(back, rows, rtol=0 if value == 3 else 1e-6)


@pytest.mark.filterwarnings("error")
def test_the_largest_range_comes_back_finite_and_a_larger_one_is_refused():
    for dtype in (np.float32, np.float64):
        rows = np.array([[-1.7e38, 0, 0, 1.7e38]], dtype)
        adapter = ImageAdapter.of(rows, (4,))
        np.testing.assert_allclose(there_and_back(adapter, rows), rows, atol=1e36)
        for high in (2e38, 1e308):  # these once gave infinity without an error
            with pytest.raises(UserError, match=r"X: values must be within ±1\.7e\+38, got -"):
                ImageAdapter.of(np.array([[-high, 0, 0, high]]), (4,))
            with pytest.raises(UserError, match=r"X: values must be within ±1\.7e\+38, got 0 to "):
                adapter.to_images(np.array([[0, 0, 0, high]]))


@pytest.mark.filterwarnings("error")
def test_values_far_outside_a_narrow_range_are_clipped():
    adapter = ImageAdapter.of(np.zeros((2, 4)), (4,), value_range=(0, 1e-300))
    assert adapter.to_images(np.array([[1e38, 0, 0, 0]]))[0, 0, 0] == 255


def test_a_given_shape_is_taken():
    rows = samples(2, 12)
    assert ImageAdapter.of(rows, (12,)).image_shape == (2, 2, 3)
    assert ImageAdapter.of(rows, (12,), [3, 4]).image_shape == (3, 4, 1)
    assert ImageAdapter.of(rows, (3, 4), (3, 4, 1)).image_shape == (3, 4, 1)


def test_every_vector_fills_the_smallest_square():
    for features in range(1, 200):
        height, width, channels = guess_shape(features)
        assert height == width and (height - 1) ** 2 * channels < features <= height * width * channels, features


REFUSED = [  # shape of a sample, arguments, start of the message
    ((12,), {"image_shape": (5, 5)}, "image_shape: must be the shape of the samples in X, (12,), got (5, 5)."),
    ((3, 4), {"image_shape": (4, 3)}, "image_shape: must be the shape of the samples in X, (3, 4), got (4, 3)."),
    ((12,), {"image_shape": (2, 3, 2)}, "image_shape: must be None, "),
    ((12,), {"image_shape": (12,)}, "image_shape: must be None, "),
    ((12,), {"image_shape": (3.0, 4)}, "image_shape: must be None, "),
    ((12,), {"image_shape": (-3, -4)}, "image_shape: must be None, "),
    ((12,), {"image_shape": 12}, "image_shape: must be None, "),
    ((3, 2, 2), {}, "X: images must be (n, height, width) or (n, height, width, 1 or 3), got (n, 3, 2, 2)."),
    ((129, 1), {}, "X: images must be at most 128×128, got 129×1"),
    ((128 * 128 + 1,), {}, "X: images must be at most 128×128, got 129×129"),
    ((12,), {"value_range": (1, 1)}, "value_range: must be None or (low, high)"),
    ((12,), {"value_range": (0, np.inf)}, "value_range: must be None or (low, high)"),
    ((12,), {"value_range": (np.nan, 1)}, "value_range: must be None or (low, high)"),
    ((12,), {"value_range": (-1e308, 1e308)}, "value_range: must be None or (low, high)"),
    ((12,), {"value_range": ("0", "1")}, "value_range: must be None or (low, high)"),
    ((12,), {"value_range": 255}, "value_range: must be None or (low, high)"),
]


def test_samples_that_do_not_fit_are_refused():
    for item_shape, arguments, said in REFUSED:
        with pytest.raises(UserError) as error:
            ImageAdapter.of(samples(2, int(np.prod(item_shape))), item_shape, **arguments)
        assert str(error.value).startswith(said), (item_shape, arguments)
