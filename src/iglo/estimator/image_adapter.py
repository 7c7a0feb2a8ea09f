"""Rows of a data matrix as square 8-bit images of a size that the networks have, and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from iglo.errors import UserError

SMALLEST, LARGEST = 16, 128  # pixels, the sides that the networks have
CHUNK = 1024  # rows that are made floats at a time
LARGEST_VALUE = float(np.finfo(np.float32).max) / 2  # the difference of two such values fits into float32


@dataclass(frozen=True)
class ImageAdapter:
    """A sample's values, row by row, fill an image of `image_shape`; that is enlarged by a whole factor, each pixel
    repeated, and its edge drawn out to a square. What comes back is the mean of each pixel's copies.

    Attributes:
        item_shape: of a sample: (F,), (H, W) or (H, W, C). Of F < H·W·C values, the rest of the image stays at `low`.
        image_shape: (H, W, C), H and W at most 128, C 1 or 3.
        low, high: the values that are drawn as 0 and as 255; beyond them, samples are clipped.
        dtype: of samples that come back: uint8 (rounded) or float32.
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
        """The frame of the samples `rows` (N, F) uint8 or float, which came as (N, *item_shape).

        Args:
            image_shape: (H, W) or (H, W, C); None: as `guess_shape` says, unless the samples are images already.
            value_range: (low, high); None: 0 and 255 for uint8, else the smallest and the largest of all values.

        Raises:
            UserError: they do not fit the samples, or the networks.
        """
        check_values(rows)
        shape = _image_shape(rows.shape[1], item_shape, image_shape)
        low, high = _value_range(rows, value_range)
        return cls(item_shape, shape, low, high, "uint8" if rows.dtype == np.uint8 else "float32")

    @property
    def side(self) -> int:
        """Pixels, the least power of two that holds the image."""
        return max(SMALLEST, 2 ** math.ceil(math.log2(max(self.image_shape[:2]))))

    @property
    def channels(self) -> int:
        return self.image_shape[2]

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(N, F) → (N, side, side, C) uint8."""
        check_values(rows)
        filled = np.zeros((len(rows), math.prod(self.image_shape)), np.uint8)
        for part in gen_batches(len(rows), CHUNK):  # 8-bit rows would be eight times as large as floats
            with np.errstate(over="ignore"):  # values far out of a narrow range are clipped
                shares = (rows[part] - self.low) / (self.high - self.low)
            filled[part, : rows.shape[1]] = np.rint(255 * shares.clip(0, 1))
        factor, (above, left) = self._placed()
        enlarged = filled.reshape(-1, *self.image_shape).repeat(factor, axis=1).repeat(factor, axis=2)
        below, right = self.side - above - enlarged.shape[1], self.side - left - enlarged.shape[2]
        return np.pad(enlarged, ((0, 0), (above, below), (left, right), (0, 0)), mode="edge")

    def samples(self, images: np.ndarray) -> np.ndarray:
        """(N, side, side, C) float in [0, 1] → (N, *item_shape), of `dtype`."""
        height, width, channels = self.image_shape
        factor, (above, left) = self._placed()
        inside = images[:, above : above + factor * height, left : left + factor * width]
        pixels = inside.reshape(-1, height, factor, width, factor, channels).mean((2, 4))
        rows = pixels.reshape(len(images), -1)[:, : math.prod(self.item_shape)]
        values = self.low + (self.high - self.low) * rows.astype(np.float64)
        values = np.rint(values).clip(0, 255) if self.dtype == "uint8" else values
        return values.astype(self.dtype).reshape(-1, *self.item_shape)

    def check(self, item_shape: tuple[int, ...]) -> None:
        """Raises UserError unless (H, W) or (H, W, C) is the frame's image shape."""
        if _with_channels(item_shape) != self.image_shape:
            raise UserError(f"X: images must have the shape {self.image_shape} of those in fit, got {item_shape}.")

    def _placed(self) -> tuple[int, tuple[int, int]]:
        """How many times each pixel is repeated along a side, and the corner of the image in the square."""
        height, width, _ = self.image_shape
        factor = self.side // max(height, width)
        return factor, ((self.side - factor * height) // 2, (self.side - factor * width) // 2)


def guess_shape(features: int) -> tuple[int, int, int]:
    """(H, W, C) of so many values: a square of 1 or else 3 channels where they make one, else the next square of 1."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side * side * channels == features:
            return side, side, channels
    side = math.isqrt(features) + 1
    return side, side, 1


def check_values(rows: np.ndarray) -> None:
    """Raises UserError if the range of the values is too large for float32, the type of samples."""
    low, high = float(rows.min()), float(rows.max())
    if max(-low, high) > LARGEST_VALUE:
        raise UserError(f"X: values must be within ±{LARGEST_VALUE:.2g}, got {low:g} to {high:g}; scale them.")


def _image_shape(features: int, item_shape: tuple[int, ...], asked: Any) -> tuple[int, int, int]:
    if asked is not None:
        shape = _with_channels(asked)
        if shape is None:
            raise UserError(f"image_shape: must be None, (height, width) or (height, width, 1 or 3), got {asked!r}.")
        if math.prod(shape) != features or (len(item_shape) > 1 and shape != _with_channels(item_shape)):
            raise UserError(
                f"image_shape: must be that of X, whose samples have the shape {item_shape}, got {asked!r}."
            )
    elif len(item_shape) > 1:
        shape = _with_channels(item_shape)
        if shape is None:
            raise UserError(
                f"X: images must be (n, height, width) or (n, height, width, 1 or 3), got (n, {item_shape})."
            )
    else:
        shape = guess_shape(features)
    if max(shape[:2]) > LARGEST:
        raise UserError(f"X: images must be at most {LARGEST}×{LARGEST}, got {shape[0]}×{shape[1]}; make them smaller.")
    return shape


def _with_channels(shape: Any) -> tuple[int, int, int] | None:
    """(H, W) or (H, W, C) as (H, W, C), or None when it is no shape of an image."""
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
