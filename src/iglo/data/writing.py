"""Decodes images and writes them as one array with an index. The first run and the arrivals share this."""

import csv
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from iglo.data.image_io import MAX_PIXELS_AT_ONCE, BadImageError, ImageShape, LargeImageError, load_image_and_shape
from iglo.data.known import COLOUR, GREY, KnownImage
from iglo.data.sources import Source
from iglo.data.store import COLUMNS
from iglo.errors import UserError, shown
from iglo.files.folders import natural_key
from iglo.params.sections import DataParams, Parts
from iglo.progress import bar

LISTED = 10  # most names in an error, and most groups and names in a report
_WORKERS, _CHUNK = 4, 256  # threads, and images that they may hold at a time


@dataclass(frozen=True)
class Written:
    """The images that were written, in the order of their rows, and those that were left out.

    Attributes:
        source: where they come from.
        kept: the position of each image in the source.
        digests: hexadecimal digests of the pixels.
        channels: those of each image file: 1 or 3.
        bad: the reason for each image that cannot be used, by its name.
        known: names of images that were left out because they are known, each with the name of the image it equals.
    """

    source: Source
    kept: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    known: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [self.source.names[index] for index in self.kept]

    @property
    def labels(self) -> list[str]:
        return [self.source.labels[index] for index in self.kept]

    def write_index(self, path: Path, parts: Parts) -> None:
        """Writes a row for each image (id, name, label, split)."""
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(range(len(self.kept)), self.names, self.labels, splits_of(parts), strict=True))

    def report(self, parts: Parts) -> dict[str, Any]:
        """Counts splits, labels, grey and colour files, and what was left out."""
        return {
            "images": dict(Counter(splits_of(parts))),
            "labels": dict(sorted(Counter(self.labels).items(), key=lambda item: natural_key(item[0]))),
            "channels": {str(kind): self.channels.count(kind) for kind in (GREY, COLOUR)},
            "skipped": {"count": len(self.bad), "reasons": self.bad},
            "ignored": {"count": len(self.source.ignored), "first": self.source.ignored[:LISTED]},
        }

    def as_known(self, arrival: str = "") -> list[KnownImage]:
        """Returns the rows of these images in a list of known images."""
        rows = zip(self.names, self.digests, self.channels, strict=True)
        return [KnownImage(*row, arrival) for row in rows]


def splits_of(parts: Parts) -> list[str]:
    """Returns the name of the part of each row."""
    return [name for name, size in parts._asdict().items() for _ in range(size)]


def write_images(
    path: Path,
    source: Source,
    order: np.ndarray,
    data: DataParams,
    wanted: int,
    known: Mapping[str, str] | None = None,
) -> Written:
    """Decodes images and writes them into an .npy file (N, H, W, C) uint8.

    Args:
        order: positions in the source, in the order in which they are tried.
        wanted: at most this number of images.
        known: names of known images by digest. Images that equal one of them are left out, and so are repeated ones.
            None: repeated images are kept.

    Raises:
        UserError: there are bad images, unless `data.on_error` is skip; or there is too little memory for an image.
            Skip does not leave out the last kind, because the data set must not depend on free memory.
    """
    written, seen = Written(source), None if known is None else dict(known)
    shape = (data.image_size, data.image_size, data.channels)
    with (
        open(path, "wb") as file,
        warnings.catch_warnings(),
        ThreadPoolExecutor(_WORKERS) as pool,
        bar(total=wanted, unit="image") as progress,
    ):
        warnings.simplefilter("ignore")  # Pillow warns of unusual metadata, and of size, which `load_image` checks
        _write_header(file, (0, *shape))
        for index, result in _load_all(pool, source, order, data):
            if isinstance(result, BadImageError):
                written.bad[source.names[index]] = str(result)
            elif _add(written, index, result, seen, file):
                progress.update()
            if len(written.kept) == wanted:
                break
        file.seek(0)
        _write_header(file, (len(written.kept), *shape))
    if written.bad and data.on_error == "fail":
        raise UserError(_bad_images(source, written.bad))
    return written


def _add(
    written: Written, index: int, loaded: tuple[np.ndarray, ImageShape], seen: dict[str, str] | None, file: BinaryIO
) -> bool:
    """Writes an image, unless it was seen before, and returns whether it was written."""
    image, (_, _, channels) = loaded
    pixels, name = image.tobytes(), written.source.names[index]
    digest = hashlib.blake2b(pixels, digest_size=16).hexdigest()
    if seen is not None:
        if digest in seen:
            written.known.append((name, seen[digest]))
            return False
        seen[digest] = name
    file.write(pixels)
    written.kept.append(int(index))
    written.digests.append(digest)
    written.channels.append(COLOUR if channels >= COLOUR else GREY)
    return True


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # numpy pads the header, so a larger number of images can be written over the first one
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _load_all(
    pool: ThreadPoolExecutor, source: Source, order: np.ndarray, data: DataParams
) -> Iterator[tuple[int, tuple[np.ndarray, ImageShape] | BadImageError]]:
    """Yields each position with its image and the shape of its file, or with the error, in order.

    It decodes large images one at a time.
    """

    def attempt(index: int, max_pixels: int | None) -> tuple[np.ndarray, ImageShape] | BadImageError | LargeImageError:
        pad = data.fit == "pad"
        try:
            return load_image_and_shape(source.items[index], data.image_size, data.channels, pad, max_pixels)
        except (BadImageError, LargeImageError) as reason:
            return reason
        except MemoryError:
            raise UserError(no_memory(source.names[index])) from None

    remaining = iter(order)
    while chunk := list(islice(remaining, _CHUNK)):
        for index, result in zip(chunk, pool.map(attempt, chunk, repeat(MAX_PIXELS_AT_ONCE // _WORKERS)), strict=True):
            yield index, attempt(index, None) if isinstance(result, LargeImageError) else result


def _bad_images(source: Source, bad: dict[str, str]) -> str:
    return (
        f"{shown(source.where)}: every image must be readable, but {listed(bad)} cannot be used; correct or "
        "remove them, or set data.on_error to skip to leave them out."
    )


def listed(reasons: Mapping[str, str]) -> str:
    """Returns the first names of a mapping with their reasons, and how many more there are."""
    more = f" and {len(reasons) - LISTED} more" if len(reasons) > LISTED else ""
    return ", ".join(f"{shown(name)} ({reason})" for name, reason in islice(reasons.items(), LISTED)) + more


def no_memory(name: str) -> str:
    """Returns the message for an image for which `load_image` raises MemoryError."""
    return f"{shown(name)}: there is not enough memory to decode this image; free some memory, or remove this image."
