"""Reads a user's images from files or arrays, converts them for the model, and warns of what it has changed."""

import warnings
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iglo.data.image_io import (
    MAX_PIXELS_AT_ONCE,
    BadImageError,
    ImageShape,
    LargeImageError,
    load_image,
    load_image_and_shape,
    to_bytes,
)
from iglo.data.sources import folder_source
from iglo.data.writing import no_memory
from iglo.errors import IgloWarning, UserError, shown, warn
from iglo.files.folders import files_of_pattern, is_folder, natural_key, status
from iglo.progress import bar

ShapeCounts = Counter[ImageShape]


class ConversionWarning(IgloWarning):
    """Images were converted to the model's size, or files were left out."""


def read_files(names: Sequence[str], size: int, channels: int) -> tuple[np.ndarray, list[Path]]:
    """Reads images: files, all files under folders, and patterns such as `frogs/*.png`.

    Returns:
        The images (N, size, size, channels) uint8 and their N files, in natural order within a folder or a pattern.

    Raises:
        UserError: nothing has that name, a folder or file cannot be read, or a file is not an image.
    """
    files = [file for name in names for file in _named(name)]
    images, shapes = np.empty((len(files), size, size, channels), np.uint8), Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of unusual metadata
        for row, file in enumerate(bar(files, desc="reading", unit="image")):
            try:
                images[row], shape = load_image_and_shape(file, size, channels)
            except BadImageError as reason:
                name = shown(str(file))
                raise UserError(f"{name}: cannot be used as an image ({reason}); correct it or leave it out.") from None
            except MemoryError:
                raise UserError(no_memory(str(file))) from None
            shapes[shape] += 1
    _warn_converted(names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}", shapes, size, channels)
    return images, files


def read_bytes(content: bytes, size: int, channels: int) -> tuple[np.ndarray, str | None]:
    """Reads one image from the bytes of a file.

    Returns:
        The image (size, size, channels) uint8, and a sentence that says how it was converted, or None.

    Raises:
        UserError: the bytes are no image that can be used, or it has more than MAX_PIXELS_AT_ONCE pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of unusual metadata
        try:
            image, shape = load_image_and_shape(BytesIO(content), size, channels, max_pixels=MAX_PIXELS_AT_ONCE)
        except BadImageError as reason:
            raise UserError(f"image: cannot be used ({reason}); take another file.") from None
        except LargeImageError:
            raise UserError(f"image: has more than {MAX_PIXELS_AT_ONCE} pixels; make it smaller.") from None
        except MemoryError:
            raise UserError(no_memory("image")) from None
    return image, _conversion("image", Counter([shape]), size, channels)


def read_arrays(images: np.ndarray | Tensor, size: int, channels: int, name: str = "images") -> np.ndarray:
    """Converts images in memory to (N, size, size, channels) uint8.

    Args:
        images: arrays (N, H, W, C) or tensors (N, C, H, W), uint8, uint16 or float in [0, 1]; C is 1, 3 or 4 (with
            opacity). They are rounded to 8 bits.
        name: name for messages.

    Raises:
        UserError: the layout, type or range is a different one, or there are no images.
    """
    if isinstance(images, Tensor):
        images = as_numpy(images.movedim(1, -1) if images.dim() == 4 else images)
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{name}: must be an array (N, H, W, C) or a tensor (N, C, H, W) with N at least 1 and C 1, 3 or 4, "
            f"got {' × '.join(map(str, images.shape)) or 'one number'}{' as (N, H, W, C)' if images.ndim == 4 else ''}."
        )
    try:
        images = to_bytes(images)
    except BadImageError as reason:
        raise UserError(f"{name}: {reason}; scale or convert them.") from None
    shapes: ShapeCounts = Counter({images.shape[1:]: len(images)})
    if [*shapes] == [(size, size, channels)]:
        return np.ascontiguousarray(images)
    try:
        squeezed = images[..., 0] if images.shape[3] == 1 else images
        converted = np.stack([load_image(np.ascontiguousarray(image), size, channels) for image in squeezed])
    except BadImageError as reason:
        raise UserError(f"{name}: cannot be used ({reason}); give larger ones.") from None
    _warn_converted(name, shapes, size, channels)
    return converted


def as_numpy(tensor: Tensor) -> np.ndarray:
    """Converts a tensor on any device to an array; float32 if numpy does not have its type (bfloat16)."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def in_one_array(images: Any) -> Any:
    """Converts a tensor, or a list of arrays, tensors or lists, to one array of their type; else returns `images`."""
    if isinstance(images, Tensor):
        return as_numpy(images)
    if not isinstance(images, (list, tuple)):
        return images
    arrays = [as_numpy(each) if isinstance(each, Tensor) else each for each in images]
    shapes = {np.shape(each) for each in arrays if hasattr(each, "shape")}
    if len(shapes) > 1:
        raise UserError(f"X: all must have one shape, got {' and '.join(map(str, sorted(shapes)[:2]))}.")
    return np.asarray(arrays)


def _named(name: str) -> list[Path]:
    """Returns the files that a name from the user means."""
    if not name:
        raise UserError("images: must be named by folders, files or patterns, got an empty name; write . for this one.")
    if is_folder(name, name):
        source = folder_source(Path(name), name)
        _warn_left_out(name, source.ignored)
        return list(source.items)
    if status(name, name) is not None:
        return [Path(name)]
    files = sorted(files_of_pattern(name), key=natural_key)
    if not files:
        raise UserError(f"{shown(name)}: no such file or folder, and no file matches it as a pattern; name images.")
    return list(map(Path, files))


def _warn_left_out(name: str, ignored: Sequence[str]) -> None:
    files = [file for file in ignored if not Path(file).name.startswith(".")]  # no warning for hidden files
    if files:
        warn(
            f"{shown(name)}: {len(files)} of the files in it were left out, because their names do not end like "
            f"those of images (the first is {shown(files[0])}); name each file that is an image.",
            ConversionWarning,
        )


def _warn_converted(name: str, shapes: ShapeCounts, size: int, channels: int) -> None:
    if sentence := _conversion(name, shapes, size, channels):
        warn(sentence, ConversionWarning)


def _conversion(name: str, shapes: ShapeCounts, size: int, channels: int) -> str | None:
    """Returns a sentence that says how images of these shapes were converted; None if they were not."""
    odd = [shape for shape in shapes if shape != (size, size, channels)]
    if not odd:
        return None
    changes = {
        "laid over white": any(count == 4 for *_, count in odd),
        "made grey": channels == 1 and any(count != 1 for *_, count in odd),
        "repeated to three channels": channels == 3 and any(count == 1 for *_, count in odd),
        "cut to the centre square": any(height != width for height, width, _ in odd),
        f"resized to {size}×{size}": any(min(height, width) != size for height, width, _ in odd),
    }
    height, width, count = odd[0]
    size = f"{width}×{height} with {count} channel{'s' if count > 1 else ''}"
    done = ", ".join(words for words, holds in changes.items() if holds)
    if shapes.total() == 1:
        return f"{shown(name)}: it is not as the model takes it ({size}) and was {done}."
    return (
        f"{shown(name)}: {sum(shapes[shape] for shape in odd)} of {shapes.total()} images are not as the model takes "
        f"them (the first is {size}) and were {done}."
    )
