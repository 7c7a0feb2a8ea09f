"""One image file in, one square of 8-bit pixels out; or a few words on why not."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SMALLEST_SIDE = 8  # pixels; less than that holds nothing to learn from
# White of the modes with more than 8 bits: the first of these that no pixel exceeds, for the files do not say it.
# Older Pillows open 16-bit PNGs as "I".
WHITES = {
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), (65535,)),
    "I": (65535, 2**31 - 1),
    "F": (1, 255, 65535),
}


class BadImageError(Exception):
    """Why one image cannot be used, in a few words."""


def decode(item: Path | np.ndarray, size: int, channels: int, pad: bool = False) -> np.ndarray:
    """The image in a file, or in a uint8 array (H, W) or (H, W, 3), as a (size, size, channels) uint8 array.

    Orientation as EXIF says, transparency over white, 16 bits and floats to 8 bits, first frame of several; the
    centre square, resized with antialiasing. An image of that size already keeps every bit; with `pad` a smaller one
    does too, in the middle of black.

    Raises:
        BadImageError: the file cannot be read, is no image, is damaged, too small or too large.
    """
    try:
        with _opened(item) as image:
            pixels = image.width * image.height
            if min(image.size) < SMALLEST_SIDE:
                raise BadImageError(f"{image.width}×{image.height} pixels, fewer than {SMALLEST_SIDE} on a side")
            if Image.MAX_IMAGE_PIXELS and pixels > Image.MAX_IMAGE_PIXELS:
                raise BadImageError(f"{pixels} pixels, more than {Image.MAX_IMAGE_PIXELS}")
            image.load()
            flat = _over_white(_to_8_bits(ImageOps.exif_transpose(image)))
            flat = flat.convert("L" if channels == 1 else "RGB")
            padded = pad and max(flat.size) <= size
            square = _in_the_middle(flat, size) if padded else _centre_square(flat, size)
    except BadImageError:
        raise
    except UnidentifiedImageError:
        raise BadImageError(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from None
    except Image.DecompressionBombError:
        raise BadImageError(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except (PermissionError, FileNotFoundError) as error:
        raise BadImageError(error.strerror.lower()) from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        raise BadImageError(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
    return np.asarray(square).reshape(size, size, channels)


def _opened(item: Path | np.ndarray) -> Image.Image:
    if isinstance(item, np.ndarray):
        return Image.fromarray(item)
    if item.stat().st_size == 0:
        raise BadImageError("empty file")
    return Image.open(item, formats=FORMATS)


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode not in WHITES:
        return image
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    white = next((white for white in WHITES[image.mode] if low >= 0 and high <= white), None)
    if white is None:
        raise BadImageError(f"values from {low:g} to {high:g}, which is no range of grey levels")
    return Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _in_the_middle(image: Image.Image, size: int) -> Image.Image:
    square = Image.new(image.mode, (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image.crop(box)
    return image.resize((size, size), Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC, box=box)
