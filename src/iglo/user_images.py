"""Images as a user has them, in files or arrays: made what a model takes, with a warning that says what was done."""

import glob
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from iglo.decoding import BadImageError, decode
from iglo.errors import UserError
from iglo.images import natural_key
from iglo.progress import bar
from iglo.sources import folder_source

GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # Pillow's; those of 16 bits begin with "I;"
LEEWAY = 1e-6  # by which rounding may push a float out of [0, 1]

Found = Counter[tuple[int, int, int]]  # height, width and channels of images, and how many there are of each


class ConversionWarning(UserWarning):
    """Images were not of the model's size and channels, and were converted."""


def read_files(names: Sequence[str], size: int, channels: int) -> tuple[np.ndarray, list[Path]]:
    """The images that `names` name: folders with all that is under them, files, and patterns such as `frogs/*.png`.

    Returns:
        (N, size, size, channels) uint8, in natural order within a folder or a pattern; and their N files.

    Raises:
        UserError: nothing of that name, or a file that is no image.
    """
    files = [file for name in names for file in _named(name)]
    images, found = np.empty((len(files), size, size, channels), np.uint8), Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
        for row, file in enumerate(bar(files, desc="reading", unit="image")):
            try:
                images[row] = decode(file, size, channels)
            except BadImageError as reason:
                raise UserError(f"{file}: cannot be used as an image ({reason}); mend it or leave it out.") from None
            with Image.open(file) as image:
                found[image.height, image.width, _channels(image)] += 1
    _warn(names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}", found, size, channels)
    return images, files


def read_arrays(images: np.ndarray | Tensor, size: int, channels: int, name: str = "images") -> np.ndarray:
    """(N, size, size, channels) uint8 of images in memory.

    Args:
        images: arrays (N, H, W, C) or tensors (N, C, H, W), uint8 or float in [0, 1]; C is 1, 3 or 4 (with opacity).
            Floats are rounded to 8 bits.
        name: for messages.

    Raises:
        UserError: another layout, type or range; or nothing.
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = (images.movedim(1, -1) if images.dim() == 4 else images).numpy()
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{name}: must be an array (N, H, W, C) or a tensor (N, C, H, W) with N at least 1 and C 1, 3 or 4, "
            f"got {' × '.join(map(str, images.shape)) or 'one number'}{' as (N, H, W, C)' if images.ndim == 4 else ''}."
        )
    images = _as_bytes(images, name)
    found: Found = Counter({images.shape[1:]: len(images)})
    if [*found] == [(size, size, channels)]:
        return np.ascontiguousarray(images)
    try:
        squeezed = images[..., 0] if images.shape[3] == 1 else images
        converted = np.stack([decode(np.ascontiguousarray(image), size, channels) for image in squeezed])
    except BadImageError as reason:
        raise UserError(f"{name}: cannot be used ({reason}); give larger ones.") from None
    _warn(name, found, size, channels)
    return converted


def _named(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        source = folder_source(path, name)
        return list(source.items)
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True), key=natural_key)]
    files = [match for match in matches if match.is_file()]
    if not files:
        raise UserError(f"{name}: no such file or folder, and no file matches it as a pattern; name images.")
    return files


def _as_bytes(images: np.ndarray, name: str) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{name}: must be uint8 or float in [0, 1], got {images.dtype}; convert them.")
    low, high = images.min(), images.max()
    if not (low >= -LEEWAY and high <= 1 + LEEWAY):  # which NaN is not either
        raise UserError(f"{name}: floats must be in [0, 1], got {low:g} to {high:g}; scale them.")
    return np.rint(255 * images.clip(0, 1)).astype(np.uint8)


def _channels(image: Image.Image) -> int:
    if image.mode in GREY_MODES or image.mode.startswith("I;"):
        return 1
    return 4 if image.has_transparency_data else 3


def _warn(name: str, found: Found, size: int, channels: int) -> None:
    odd = [shape for shape in found if shape != (size, size, channels)]
    if not odd:
        return
    done = {
        "laid over white": any(count == 4 for *_, count in odd),
        "made grey": channels == 1 and any(count != 1 for *_, count in odd),
        "repeated to three channels": channels == 3 and any(count == 1 for *_, count in odd),
        "cut to the centre square": any(height != width for height, width, _ in odd),
        f"resized to {size}×{size}": any(min(height, width) != size for height, width, _ in odd),
    }
    height, width, count = odd[0]
    warnings.warn(
        f"{name}: {sum(found[shape] for shape in odd)} of {found.total()} images are not as the model takes them "
        f"(the first is {width}×{height} with {count} channel{'s' if count > 1 else ''}) and were "
        f"{', '.join(words for words, holds in done.items() if holds)}.",
        ConversionWarning,
        stacklevel=5,  # where a method of the loaded model was called
    )
