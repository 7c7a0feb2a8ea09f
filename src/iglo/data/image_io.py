"""Reads an image file as a square of 8-bit pixels, or says in a few words why it cannot."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from iglo.errors import shown

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SMALLEST_SIDE = 8  # pixels; a smaller image has nothing to learn from
LEEWAY = 1e-6  # rounding may move a float this far out of [0, 1]
GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # Pillow's names; modes of 16 bits begin with "I;"
BAND = 2**20  # pixels that are converted at once
MAX_PIXELS_AT_ONCE = 2**25  # in all decoding threads together
BYTES_PER_PIXEL = 16  # the most memory that a decoder needs for a pixel of the file (libwebp)
DRAFT = 4  # a large JPEG is decoded at no less than this many times the wanted size

BITS, PHOTOMETRIC = 258, 262  # TIFF's tags

ImageShape = tuple[int, int, int]  # height, width, channels
Item = Path | np.ndarray | BytesIO


class BadImageError(Exception):
    """An image cannot be used; the message says why in a few words."""


class LargeImageError(Exception):
    """An image has more pixels than the caller wants to decode now."""


def load_image(item: Item, size: int, channels: int, pad: bool = False, max_pixels: int | None = None) -> np.ndarray:
    """Returns the pixels of an image; see `load_image_and_shape`."""
    return load_image_and_shape(item, size, channels, pad, max_pixels)[0]


def load_image_and_shape(
    item: Item, size: int, channels: int, pad: bool = False, max_pixels: int | None = None
) -> tuple[np.ndarray, ImageShape]:
    """Loads an image from a file, from the bytes of a file, or from a uint8 array (H, W) or (H, W, 3).

    The image is turned as EXIF says, and transparent parts become white. 16 bits and floats become 8 bits as in
    `to_bytes`. From a file with several frames it takes the first. It resizes the centre square with antialiasing. If
    the image has the wanted size already, its pixels do not change.

    A JPEG of at least 8 times the wanted size is decoded at half, a quarter or an eighth of its own size, but no
    smaller than 4 times the wanted size.

    Args:
        size: side of the square, in pixels.
        channels: 1 or 3.
        pad: put an image that is smaller than the square in the middle of black, and do not change its pixels.
        max_pixels: the most pixels that may be decoded; None: no limit.

    Returns:
        The pixels (size, size, channels) uint8, and the shape of the image in the file.

    Raises:
        BadImageError: the file cannot be read, is not an image, is damaged, too small or too large.
        LargeImageError: the image has more pixels than `max_pixels`; nothing was decoded.
        MemoryError: there is not enough memory; the image may be good or damaged.
    """
    try:
        try:
            return _read(item, size, channels, pad, max_pixels)
        except ValueError:  # Pillow raises it for a PNG with too much text
            if (bare := _without_text(item)) is None:
                raise
            return _read(bare, size, channels, pad, max_pixels)
    except (BadImageError, LargeImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImageError(_unidentified(item)) from None
    except Image.DecompressionBombError:
        raise BadImageError(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except (PermissionError, FileNotFoundError) as error:
        raise BadImageError(error.strerror.lower()) from None
    except Exception as error:  # Pillow's decoders raise many types of error on damaged files
        raise BadImageError(f"damaged: {shown(' '.join(str(error).split())) or type(error).__name__}") from None


def to_bytes(values: np.ndarray, white: int = 65535) -> np.ndarray:
    """Converts grey levels to uint8, with rounding: `white` in uint16 and 1.0 in floats become 255; uint8 stays.

    Raises:
        BadImageError: floats are outside [0, 1], or the type is another one, whose white value is unknown.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((510 * values.astype(np.uint32) + white) // (2 * white)).astype(np.uint8)
    if values.dtype.kind != "f":
        raise BadImageError(f"values must be uint8, uint16 or float in [0, 1], got {values.dtype}")
    low, high = values.min(), values.max()
    if not (low >= -LEEWAY and high <= 1 + LEEWAY):  # also false for NaN
        raise BadImageError(f"floats must be in [0, 1], got {low:g} to {high:g}")
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)


# --- Opening ---


def _read(item: Item, size: int, channels: int, pad: bool, max_pixels: int | None) -> tuple[np.ndarray, ImageShape]:
    with _opened(item, DRAFT * size, max_pixels) as (image, shape), _memory(shape):
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        flat = _flat(image, "L" if channels == 1 else "RGB")
        padded = pad and max(flat.size) <= size
        square = _in_the_middle(flat, size) if padded else _centre_square(flat, size)
    return np.asarray(square).reshape(size, size, channels), shape


@contextmanager
def _opened(item: Item, enough: int, max_pixels: int | None) -> Iterator[tuple[Image.Image, ImageShape]]:
    """Opens an image; yields it, not decoded yet, and its shape.

    Args:
        enough: the fewest pixels that the shorter side of a reduced JPEG may have.
    """
    if isinstance(item, np.ndarray):
        _check_size(*item.shape[1::-1], max_pixels)
        yield Image.fromarray(item), (*item.shape, 1)[:3]
        return
    if (item.stat().st_size if isinstance(item, Path) else item.getbuffer().nbytes) == 0:
        raise BadImageError("empty file")
    with _file(item) as file:
        if webp := _webp_size(file.read(30)):  # libwebp allocates memory when the file is opened
            _check_size(*webp, max_pixels)
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            _check_size(*image.size)
            shape = image.height, image.width, _channels(image)
            if image.format == "JPEG":
                image.draft(image.mode, (enough, enough))
            if image.format == "PNG":
                _scale_transparency(image)
            _check_size(*image.size, max_pixels)
            yield image, shape


def _file(item: Path | BytesIO) -> BinaryIO:
    """Opens a file to read, or the bytes of one; these stay open when the result is closed."""
    return open(item, "rb") if isinstance(item, Path) else BytesIO(item.getvalue())


def _check_size(width: int, height: int, max_pixels: int | None = None) -> None:
    if min(width, height) < SMALLEST_SIDE:
        raise BadImageError(f"{width}×{height} pixels, fewer than {SMALLEST_SIDE} on a side")
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise BadImageError(f"{width * height} pixels, more than {Image.MAX_IMAGE_PIXELS}")
    if max_pixels is not None and width * height > max_pixels:
        raise LargeImageError


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Returns width and height from the first 30 bytes of a WebP file of any kind; None for other files."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None

    def number(start: int, stop: int) -> int:
        return int.from_bytes(head[start:stop], "little")

    if head[12:16] == b"VP8X":
        return number(24, 27) + 1, number(27, 30) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 25) & 0x3FFF) + 1, (number(21, 25) >> 14 & 0x3FFF) + 1
    return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF


@contextmanager
def _memory(shape: ImageShape) -> Iterator[None]:
    """Raises MemoryError if the block fails and there is too little memory. Many decoders do not give this reason.

    It counts the images of other threads too, because they may have used the memory in the meantime.
    """
    try:
        yield
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOMEM or "out of memory" in str(error):
            raise MemoryError from None
        np.empty(
            BYTES_PER_PIXEL * max(shape[0] * shape[1], MAX_PIXELS_AT_ONCE), np.uint8
        )  # raises MemoryError if there is too little
        raise


def _channels(image: Image.Image) -> int:
    if image.mode in GREY_MODES or image.mode.startswith("I;"):
        return 1
    return 4 if image.has_transparency_data else 3


def _scale_transparency(image: Image.Image) -> None:
    """Scales the transparent colour of PNGs of 2, 4 and 16 bits to 8 bits; Pillow scales only their pixels."""
    colour, kind = image.info.get("transparency"), image.tile[0][3] if image.tile else None
    if isinstance(colour, tuple) and kind == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    elif isinstance(colour, int) and kind in ("L;2", "L;4"):
        image.info["transparency"] = colour * (85 if kind == "L;2" else 17)


def _without_text(item: Item) -> BytesIO | None:
    """Returns a PNG file without its text and colour profile, which Pillow refuses if long; None for other files."""
    if isinstance(item, np.ndarray):
        return None
    content = item.read_bytes() if isinstance(item, Path) else item.getvalue()
    if not content.startswith(b"\x89PNG"):
        return None
    kept, start = [content[:8]], 8
    while start < len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[start:stop])
        start = stop
    return BytesIO(b"".join(kept))


def _unidentified(item: Path | BytesIO) -> str:
    """Returns why Pillow cannot identify a file."""
    with _file(item) as file:
        head = file.read(16)
    for name in FORMATS:
        _, accepts = Image.OPEN[name]
        if accepts(head):
            also = ", such as 64-bit floats" if name == "TIFF" else ""
            return f"a {name} file that is damaged, or of a kind that Pillow cannot read{also}"
    return f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


# --- Converting to the wanted colours and size ---


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to 8 bits without transparency. It works in bands, so a large image needs less memory."""
    if image.mode == mode and not image.has_transparency_data:
        return image
    flat, rows = Image.new(mode, image.size), max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        flat.paste(_over_white(_in_8_bits(band, image)).convert(mode), (0, top))
    return flat


def _in_8_bits(band: Image.Image, image: Image.Image) -> Image.Image:
    """Converts a band to 8 bits. The tags of a TIFF file say, for example, whether 0 is white."""
    if band.mode not in ("I", "F") and not band.mode.startswith("I;"):
        return band
    if band.mode == "I":
        raise BadImageError("32-bit or signed integers do not say which value is white; save 8 or 16 bits")
    values = np.asarray(band)
    tags = getattr(image, "tag_v2", {})  # of a TIFF file
    grey = to_bytes(values, 4095 if tags.get(BITS) == (12,) else 65535)
    if tags.get(PHOTOMETRIC) == 0:  # 0 is white
        grey = 255 - grey
    if "transparency" in band.info:
        grey = np.where(values == band.info["transparency"], np.uint8(255), grey)
    return Image.fromarray(grey)


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
