"""Reads the images and codes that commands take, and writes results. It replaces files only with --force."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iglo import environment
from iglo.errors import UserError, shown
from iglo.files.io import check_can_be_written, read_array, whole_file, whole_folder, write_array
from iglo.files.partials import PARTIAL

if TYPE_CHECKING:
    from iglo.export.api import LoadedModel

IMAGE_KINDS = ("", ".png", ".npy")  # suffixes: a folder of files, one file with all images, an array
NUMBERED = re.compile(r"\d{5,}(-.*)?\.png")  # names of image files that write_images writes
UNSAFE = re.compile(r"[^\w.-]+")  # characters that a file name should not have
FRAME_SECONDS = 0.1  # how long an animation shows a frame
ENLARGED = 128  # pixels; frames are enlarged up to this side
COLUMNS = 12  # images in a row of a picture
PIXEL = 9  # bytes of memory that a pixel of a picture takes: three colours, three copies

# --- Reading ---


def read(model: "LoadedModel", names: Sequence[str]) -> tuple[np.ndarray, list[Path]]:
    """Reads images, (N, H, W, C) uint8 of the model's size and channels, and returns them with their files."""
    from iglo.data.user_images import read_files

    try:
        return read_files(names, model.config.image_size, model.config.channels)
    except OSError as error:
        name = error.filename or (names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}")
        raise UserError(f"{name}: cannot be read ({_reason(error)}); name images that you may read.") from None


def read_codes(name: str) -> np.ndarray:
    """Reads an .npy file of codes."""
    try:
        is_file = stat.S_ISREG(os.stat(name).st_mode)  # opening a pipe could wait for ever
        if is_file:
            open(name, "rb").close()  # so that a file without read permission is not called damaged
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; name an .npy file of codes.") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({_reason(error)}); name an .npy file that you may read.") from None
    if not is_file:
        raise UserError(f"{name}: is not a file; name an .npy file of codes.")
    try:
        return read_array(name)
    except UserError:
        raise UserError(f"{name}: not an .npy file of numbers, or truncated; `iglo encode` makes such files.") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# --- Writing ---


@contextmanager
def writing(out: Path, force: bool, kinds: Sequence[str], replaceable: re.Pattern[str] = NUMBERED) -> Iterator[Path]:
    """Yields a path to write to, which becomes `out` if the block ends without an error.

    The path is a folder if `out` has no suffix.

    Args:
        kinds: allowed suffixes.
        replaceable: names of files in a folder that `force` may replace.

    Raises:
        UserError: `out` is there and may not be replaced, is of another kind, or cannot be written.
    """
    if out.suffix not in kinds:
        wanted = ["a folder" if kind == "" else kind for kind in kinds]
        raise UserError(f"out: must be {' or '.join(wanted)}, got '{out}'.")
    try:
        there = _replaced(out, force, replaceable)
        check_can_be_written(out, folder=not out.suffix)
        with whole_file(out) if out.suffix else whole_folder(out, stale=there) as partial:
            yield partial
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({_reason(error)}); name another place.") from None


def _replaced(out: Path, force: bool, replaceable: re.Pattern[str]) -> list[str]:
    """Returns the names in the folder `out` that will be replaced; UserError if they may not be."""
    folder = not out.suffix
    if out.is_dir() != folder and out.exists():
        raise UserError(f"{out}: is {'a file' if folder else 'a folder'}, and cannot be replaced; name another.")
    there = sorted(os.listdir(out)) if out.is_dir() else [out.name] * out.exists()
    there = [name for name in there if not name.startswith(PARTIAL)]  # a killed command left them
    if there and not force:
        raise UserError(f"{out}: is there already; name another, or give --force to replace it.")
    if folder and (others := [name for name in there if not replaceable.fullmatch(name)]):
        raise UserError(f"{out}: holds other things too, such as {others[0]}, and is not replaced; name another.")
    return there


def amount(out: Path) -> str:
    """Says how much was written: a number of files, or kB."""
    if out.is_dir():
        count = len(os.listdir(out))
        return f"{count} file{'s' * (count != 1)}"
    return f"{max(1, round(out.stat().st_size / 1000))} kB"


def write_images(place: Path, images: np.ndarray, endings: Sequence[str] = ("",)) -> None:
    """Writes images (N, H, W, C) uint8 as a folder, .png, .gif or .npy, as the suffix of `place` says.

    Files in a folder are numbered. With several `endings`, there is a file for each number and ending.
    """
    from iglo.report.figures import save_animation

    if place.suffix == ".npy":
        write_array(place, images)
    elif place.suffix == ".png":
        write_grid(place, [images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)])
    elif place.suffix == ".gif":
        scale = max(1, ENLARGED // images.shape[1])
        save_animation(place, images.repeat(scale, axis=1).repeat(scale, axis=2), FRAME_SECONDS)
    else:
        for index, image in enumerate(images):
            number, ending = divmod(index, len(endings))
            squeezed = image[..., 0] if image.shape[2] == 1 else image
            Image.fromarray(squeezed).save(place / f"{number:05d}{endings[ending]}.png")


def write_walks(place: Path, images: np.ndarray) -> None:
    """Writes walks (tiles, T, H, W, C) uint8 as a .gif, in which all walks move together, or as .npy."""
    from iglo.report.figures import save_walks

    if place.suffix == ".npy":
        write_array(place, images)
    else:
        save_walks(place, images, FRAME_SECONDS)


def class_endings(names: Sequence[str]) -> list[str]:
    """Returns an ending for the files of each class, such as -0-cat_dog."""
    return [f"-{number}-{UNSAFE.sub('_', name)}" for number, name in enumerate(names)]


def write_grid(place: Path, rows: Sequence[np.ndarray], **labels: Sequence[str]) -> None:
    """Writes rows of images, (n, H, W, C) uint8 each, all enlarged by the same factor."""
    from iglo.report.figures import GAP, LARGEST, MARGIN, PAGE, save_grid

    columns, side = max(map(len, rows)), max(rows[0].shape[1:3])
    scale = max(1, int(min((PAGE - 2 * MARGIN) / columns - GAP, LARGEST) / side))
    needed, there = PIXEL * len(rows) * columns * (side * scale + GAP) ** 2, environment.memory()
    if needed > there:
        raise UserError(
            f"out: a picture of {sum(map(len, rows))} images takes about {needed / 2**30:,.0f} GiB of memory, and this "
            f"machine has {there / 2**30:,.0f} GiB; write a folder or an .npy file."
        )
    save_grid(place, rows, scale=scale, **{key: [shown(text) for text in texts] for key, texts in labels.items()})
