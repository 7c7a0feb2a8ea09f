"""Prepares the images of an arrival: decodes them, leaves out known ones, splits the rest as in the first run."""

from collections.abc import Sequence
from pathlib import Path

from iglo.data.known import GREY, KNOWN, KnownImage, write_known
from iglo.data.sources import Source, folder_source
from iglo.data.writing import LISTED, Written, listed, write_images
from iglo.errors import UserError, shown
from iglo.files.folders import is_folder
from iglo.files.io import write_json
from iglo.params.sections import DataParams, Parts
from iglo.randomness import numpy_generator


def arrival_source(path: str | Path, name: str) -> Source:
    """Finds the images in the folder of an arrival.

    Args:
        name: the id of the arrival.

    Raises:
        UserError: there is no such folder, or it has no images.
    """
    key = _key(name)
    if not is_folder(path, key):
        raise UserError(
            f"{key}: no folder {shown(str(path))!r}; it has moved or was removed, so put it back or name its new place."
        )
    return folder_source(Path(path), key)


def write_arrival(
    folder: Path, source: Source, name: str, data: DataParams, first_run: Parts, known: Sequence[KnownImage]
) -> Parts:
    """Decodes the new images of an arrival and writes them into a folder; returns the sizes of their parts.

    `images.npy` and `index.csv` are as those of the first run. `report.json` also counts the known images. `known.csv`
    has the images that were known before, and then the new ones. A seeded shuffle comes before the split, whatever
    `data.shuffle` says. No file holds the path of the source, so the same images in another folder give the same files.

    Args:
        folder: an empty folder.
        name: the id of the arrival.
        first_run: the numbers of images in the parts of the first run; the arrival has the same shares.
        known: the images that the run already has. They are left out, and so are repeated ones.

    Raises:
        UserError: no image is new; an image is in colour and all earlier ones are grey, or the reverse; or an image
            cannot be used and `data.on_error` is not skip.
    """
    count = len(source.names)
    order = numpy_generator(data.seed, f"{name}/split").permutation(count)
    earlier: dict[str, str] = {}
    for image in known:
        earlier.setdefault(image.digest, image.name)
    written = write_images(folder / "images.npy", source, order, data, count, earlier)
    _check_some_are_new(written, name)
    _check_channels(written, name, known)
    parts = split_as(first_run, len(written.kept))
    written.write_index(folder / "index.csv", parts)
    write_known(folder / KNOWN, [*known, *written.as_known(name)])
    left_out = {"count": len(written.known), "first": [list(pair) for pair in written.known[:LISTED]]}
    write_json(folder / "report.json", written.report(parts) | {"known": left_out})
    return parts


def split_as(first_run: Parts, count: int) -> Parts:
    """Splits `count` images in the shares of the first run. Shares are rounded down, and training gets the rest.

    Args:
        first_run: the numbers of images in its parts; there is at least one training image.
    """
    validation, test = (count * size // sum(first_run) for size in first_run[1:])
    return Parts(count - validation - test, validation, test)


def _key(name: str) -> str:
    return f"arrivals.{name}.path"


def _check_some_are_new(written: Written, name: str) -> None:
    if written.kept:
        return
    reasons = {image: f"is {shown(earlier)}" for image, earlier in written.known} | written.bad
    what = "cannot be used" if not written.known else "are known or cannot be used" if written.bad else "are known"
    raise UserError(
        f"{_key(name)}: must have new images, but all {len(written.source.names)} in {shown(written.source.where)!r} "
        f"{what}, such as {listed(reasons)}; add new images, or remove this arrival from the list."
    )


def _check_channels(written: Written, name: str, known: Sequence[KnownImage]) -> None:
    """Refuses colour images if all earlier ones are grey, and the reverse."""
    usual = {image.channels for image in known}
    others = [image for image, kind in zip(written.names, written.channels, strict=True) if kind not in usual]
    if not usual or not others:
        return
    old, new = ("grey", "in colour") if usual == {GREY} else ("in colour", "grey")
    raise UserError(
        f"{_key(name)}: all earlier images are {old}, but {len(others)} of these are {new}, such as "
        f"{shown(others[0])}; convert them to images that are {old}."
    )
