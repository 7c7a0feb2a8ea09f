"""Converts rows of a data matrix to square 8-bit images for the networks, and images back to rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from iglo.errors import UserError

SMALLEST, LARGEST = 16, 128  # pixels, the smallest and the largest side of an image that the networks take
CHUNK = 1024  # rows that are converted to floats at a time
LARGEST_VALUE = float(np.finfo(np.float32).max) / 2  # the difference of two such values fits into float32


@dataclass(frozen=True)
class ImageAdapter:
    """How samples are converted to square images, and images to samples.

    The values of a sample fill an image of `image_shape`, row by row. Each pixel is repeated by a whole factor, and the
    image is padded to a square by repeating its edge. On the way back, a pixel is the mean of its copies.

    Attributes:
        item_shape: shape of a sample: (F,), (H, W) or (H, W, C). If F < H·W·C, the rest of the image stays at `low`.
        image_shape: (H, W, C), H and W at most 128, C 1 or 3.
        low, high: the values that become 0 and 255; values outside are clipped.
        dtype: type of samples that come back: uint8 (rounded) or float32.
    """

    item_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    low: float
    high: float
    dtype: str

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        item_shape: tuple[int, ...],
        image_shape: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
    ) -> "ImageAdapter":
        """Returns the adapter of samples (N, *item_shape), given as `rows` (N, F) uint8 or float.

        Args:
            image_shape: (H, W) or (H, W, C); None: the shape of the samples if they are images, else `guess_shape`.
            value_range: (low, high); None: 0 and 255 for uint8, else the smallest and the largest value.

        Raises:
            UserError: shape or range do not fit the samples or the networks.
        """
        check_values(rows)
        shape = _image_shape(rows.shape[1], item_shape, image_shape)
        low, high = _value_range(rows, value_range)
        return cls(item_shape, shape, low, high, "uint8" if rows.dtype == np.uint8 else "float32")

    @property
    def side(self) -> int:
        """Pixels along a side of the square: the smallest power of two, at least 16, that holds the image."""
        return max(SMALLEST, 2 ** math.ceil(math.log2(max(self.image_shape[:2]))))

    @property
    def channels(self) -> int:
        return self.image_shape[2]

    def to_images(self, rows: np.ndarray) -> np.ndarray:
        """Converts samples (N, F) to images (N, side, side, C) uint8."""
        check_values(rows)
        filled = np.zeros((len(rows), math.prod(self.image_shape)), np.uint8)
        for part in gen_batches(len(rows), CHUNK):  # float64 needs eight times the memory of 8-bit rows
            with np.errstate(over="ignore"):  # values far outside a narrow range are clipped
                shares = (rows[part] - self.low) / (self.high - self.low)
            filled[part, : rows.shape[1]] = np.rint(255 * shares.clip(0, 1))
        factor, (above, left) = self._placement()
        enlarged = filled.reshape(-1, *self.image_shape).repeat(factor, axis=1).repeat(factor, axis=2)
        below, right = self.side - above - enlarged.shape[1], self.side - left - enlarged.shape[2]
        return np.pad(enlarged, ((0, 0), (above, below), (left, right), (0, 0)), mode="edge")

    def to_samples(self, images: np.ndarray) -> np.ndarray:
        """Converts images (N, side, side, C) float in [0, 1] to samples (N, *item_shape) of `dtype`."""
        height, width, channels = self.image_shape
        factor, (above, left) = self._placement()
        inside = images[:, above : above + factor * height, left : left + factor * width]
        pixels = inside.reshape(-1, height, factor, width, factor, channels).mean((2, 4))
        rows = pixels.reshape(len(images), -1)[:, : math.prod(self.item_shape)]
        values = self.low + (self.high - self.low) * rows.astype(np.float64)
        values = np.rint(values).clip(0, 255) if self.dtype == "uint8" else values
        return values.astype(self.dtype).reshape(-1, *self.item_shape)

    def check_shape(self, item_shape: tuple[int, ...]) -> None:
        """Raises UserError unless `item_shape`, (H, W) or (H, W, C), is the image shape."""
        if _with_channels(item_shape) != self.image_shape:
            raise UserError(f"X: images must have the shape {self.image_shape}, as in fit, got {item_shape}.")

    def _placement(self) -> tuple[int, tuple[int, int]]:
        """Returns the factor by which an image is enlarged, and the (row, column) of its corner in the square."""
        height, width, _ = self.image_shape
        factor = self.side // max(height, width)
        return factor, ((self.side - factor * height) // 2, (self.side - factor * width) // 2)


def guess_shape(features: int) -> tuple[int, int, int]:
    """Returns (H, W, C) of an image for `features` values.

    It is a square of 1 or 3 channels if the values fill one, else the smallest larger square of 1 channel.
    """
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side * side * channels == features:
            return side, side, channels
    side = math.isqrt(features) + 1
    return side, side, 1


def check_values(rows: np.ndarray) -> None:
    """Raises UserError if the range of the values is too large for float32, the type of samples that come back."""
    low, high = float(rows.min()), float(rows.max())
    if max(-low, high) > LARGEST_VALUE:
        raise UserError(f"X: values must be within ±{LARGEST_VALUE:.2g}, got {low:g} to {high:g}; scale them.")


def _image_shape(features: int, item_shape: tuple[int, ...], asked: Any) -> tuple[int, int, int]:
    if asked is not None:
        shape = _with_channels(asked)
        if shape is None:
            raise UserError(f"image_shape: must be None, (height, width) or (height, width, 1 or 3), got {asked!r}.")
        if math.prod(shape) != features or (len(item_shape) > 1 and shape != _with_channels(item_shape)):
            raise UserError(f"image_shape: must be the shape of the samples in X, {item_shape}, got {asked!r}.")
    elif len(item_shape) > 1:
        shape = _with_channels(item_shape)
        if shape is None:
            inner = ", ".join(map(str, item_shape))
            raise UserError(f"X: images must be (n, height, width) or (n, height, width, 1 or 3), got (n, {inner}).")
    else:
        shape = guess_shape(features)
    if max(shape[:2]) > LARGEST:
        raise UserError(f"X: images must be at most {LARGEST}×{LARGEST}, got {shape[0]}×{shape[1]}; make them smaller.")
    return shape


def _with_channels(shape: Any) -> tuple[int, int, int] | None:
    """Returns (H, W) or (H, W, C) as (H, W, C); None if it is not the shape of an image."""
    if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
        return None
    if not all(isinstance(length, Integral) and length > 0 for length in shape):
        return None
    height, width, channels = (int(length) for length in (*shape, 1)[:3])
    return (height, width, channels) if channels in (1, 3) else None


def _value_range(rows: np.ndarray, asked: Any) -> tuple[float, float]:
    if asked is None:
        low, high = (0.0, 255.0) if rows.dtype == np.uint8 else (float(rows.min()), float(rows.max()))
        return low, high if high > low else max(low + 1.0, float(np.nextafter(np.float32(low), np.float32(np.inf))))
    pair = isinstance(asked, (tuple, list)) and len(asked) == 2 and all(isinstance(end, Real) for end in asked)
    if not pair or not -LARGEST_VALUE <= asked[0] < asked[1] <= LARGEST_VALUE:
        raise UserError(
            f"value_range: must be None or (low, high) with low < high within ±{LARGEST_VALUE:.2g}, got {asked!r}."
        )
    return float(asked[0]), float(asked[1])
