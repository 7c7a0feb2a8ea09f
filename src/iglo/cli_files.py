"""What the commands of `iglo` read and write: images and codes; what is there already is not written over."""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iglo.errors import UserError
from iglo.files import read_array, read_json, whole_file, whole_folder, write_array

if TYPE_CHECKING:
    from iglo.toolkit import LoadedModel

IMAGE_KINDS = ("", ".png", ".npy")  # suffixes: a folder of files, one file with all images, an array
NUMBERED = re.compile(r"\d{5,}(-.*)?\.png")  # image files that write_images wrote
UNSAFE = re.compile(r"[^\w.-]+")  # in the name of a file
SECONDS = 0.1  # a frame of an animation stays
ENLARGED = 128  # px, the side up to which frames are enlarged
COLUMNS = 12

# --- Reading ---


def read(model: "LoadedModel", names: Sequence[str]) -> tuple[np.ndarray, list[Path]]:
    """Images as the model takes them, (N, H, W, C) uint8, and their files."""
    from iglo.user_images import read_files

    return read_files(names, model.shape.image_size, model.shape.channels)


def read_codes(name: str) -> np.ndarray:
    if not Path(name).is_file():
        raise UserError(f"{name}: no such file; name an .npy file of codes.")
    try:
        return read_array(name)
    except UserError:
        raise UserError(f"{name}: not an .npy file of numbers, or truncated; `iglo encode` makes such files.") from None


def is_class_content(model: str | None) -> bool:
    """Whether the folder says of itself that it holds a model of class and content."""
    record = model and Path(model, "model.json")
    return bool(record) and record.is_file() and "class_content" in read_json(record)


# --- Writing ---


@contextmanager
def output(out: Path, force: bool, kinds: Sequence[str], replaceable: re.Pattern[str] = NUMBERED) -> Iterator[Path]:
    """A path to write to, which becomes `out` when the block ends well; it is a folder where `out` has no suffix.

    Args:
        kinds: suffixes that are possible.
        replaceable: names of files in a folder that `force` may replace.

    Raises:
        UserError: `out` is there and may not be replaced, is of another kind, or cannot be written.
    """
    if out.suffix not in kinds:
        wanted = ["a folder" if kind == "" else kind for kind in kinds]
        raise UserError(f"out: must be {' or '.join(wanted)}, got '{out}'.")
    place = Path(os.path.abspath(out))
    folder = not out.suffix
    if place.is_dir() != folder and place.exists():
        raise UserError(f"{out}: is {'a file' if folder else 'a folder'}, and cannot be replaced; name another.")
    there = sorted(os.listdir(place)) if place.is_dir() else [place.name] * place.exists()
    if there and not force:
        raise UserError(f"{out}: is there already; name another, or give --force to replace it.")
    if folder and (others := [name for name in there if not replaceable.fullmatch(name)]):
        raise UserError(f"{out}: holds other things too, such as {others[0]}, and is not replaced; name another.")
    try:
        with (whole_folder if folder else whole_file)(place) as partial:
            if not os.access(place.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            yield partial
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{out}: cannot be written ({reason}); name another place.") from None


def write_images(place: Path, images: np.ndarray, endings: Sequence[str] = ("",)) -> None:
    """(N, H, W, C) uint8 as what the suffix says; files of a folder are numbered, each number with all `endings`."""
    from iglo.figures import save_animation

    if place.suffix == ".npy":
        write_array(place, images)
    elif place.suffix == ".png":
        write_grid(place, [images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)])
    elif place.suffix == ".gif":
        scale = max(1, ENLARGED // images.shape[1])
        save_animation(place, images.repeat(scale, axis=1).repeat(scale, axis=2), SECONDS)
    else:
        for index, image in enumerate(images):
            number, ending = divmod(index, len(endings))
            squeezed = image[..., 0] if image.shape[2] == 1 else image
            Image.fromarray(squeezed).save(place / f"{number:05d}{endings[ending]}.png")


def class_endings(names: Sequence[str]) -> list[str]:
    """What the names of files end with in which an image was drawn in each class: -0-cat_dog."""
    return [f"-{number}-{UNSAFE.sub('_', name)}" for number, name in enumerate(names)]


def write_grid(place: Path, rows: Sequence[np.ndarray], **labels: Sequence[str]) -> None:
    from iglo.figures import save_grid

    save_grid(place, rows, **labels)
