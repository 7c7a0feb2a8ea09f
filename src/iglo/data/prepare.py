"""Prepares the images of a run: decodes and splits them, and writes them into the folder that `ImageStore` opens."""

import csv
import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from iglo.data.image_io import MAX_PIXELS_AT_ONCE, BadImageError, LargeImageError, load_image
from iglo.data.sources import Source
from iglo.data.store import COLUMNS
from iglo.errors import UserError, shown
from iglo.files.folders import natural_key
from iglo.files.io import whole_folder, write_json
from iglo.params.run_record import data_record
from iglo.params.sections import DataParams, Parts, part_sizes
from iglo.progress import bar
from iglo.randomness import numpy_generator

LISTED = 10  # most names in an error, and most groups and names in a report
_WORKERS, _CHUNK = 4, 256  # threads, and images that they may hold at a time


def write_store(source: Source, data: DataParams, out: str | Path) -> int:
    """Decodes as many images as `data` asks for and writes them into the folder `out`; returns their number.

    `images.npy` is (N, H, W, C) uint8: training images, then validation images, then test images. `index.csv` has a row
    for each image (id, name, label, split). `report.json` counts splits, labels, exact duplicates and images that were
    left out.

    Raises:
        UserError: there are fewer images than the split asks for; there are bad images, unless `data.on_error` is skip;
            or there is too little memory for an image. Skip does not leave out the last kind, because the data set must
            not depend on free memory.
    """
    count = len(source.names)
    order = numpy_generator(data.seed, "split").permutation(count) if data.shuffle else np.arange(count)
    _check_enough(count, source, data, {})
    with whole_folder(out) as folder:
        with open(folder / "images.npy", "wb") as file:
            kept, bad, digests = _write_images(file, source, order, data)
        if bad and data.on_error == "fail":
            raise UserError(_bad_images(source, bad))
        _check_enough(len(kept), source, data, bad)
        names, labels = ([column[index] for index in kept] for column in (source.names, source.labels))
        parts = part_sizes(data, len(kept))
        splits = [name for name, size in parts._asdict().items() for _ in range(size)]
        with open(folder / "index.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(range(len(kept)), names, labels, splits, strict=True))
        report = {
            "source": source.where,
            "data": data_record(data),  # for the record of a model that learns from the images
            "images": dict(Counter(splits)),
            "labels": dict(sorted(Counter(labels).items(), key=lambda item: natural_key(item[0]))),
            "duplicates": _duplicates(digests, names, splits),
            "skipped": {"count": len(bad), "reasons": bad},
            "ignored": {"count": len(source.ignored), "first": source.ignored[:LISTED]},
        }
        write_json(folder / "report.json", report)
    return len(kept)


def _write_images(
    file: BinaryIO, source: Source, order: np.ndarray, data: DataParams
) -> tuple[list[int], dict[str, str], list[bytes]]:
    """Writes the good images as an .npy file.

    Returns:
        The positions of the images written, the reason for each bad image by its name, and digests of the pixels.
    """
    sizes = data.train, data.validation, data.test
    wanted = len(order) if None in sizes else sum(sizes)
    shape = (data.image_size, data.image_size, data.channels)
    kept, bad, digests = [], {}, []
    _write_header(file, (0, *shape))
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(_WORKERS) as pool,
        bar(total=wanted, unit="image") as progress,
    ):
        warnings.simplefilter("ignore")  # Pillow warns of unusual metadata, and of size, which `load_image` checks
        for index, result in _load_all(pool, source, order, data):
            if isinstance(result, BadImageError):
                bad[source.names[index]] = str(result)
                continue
            pixels = result.tobytes()
            file.write(pixels)
            kept.append(int(index))
            digests.append(hashlib.blake2b(pixels, digest_size=16).digest())
            progress.update()
            if len(kept) == wanted:
                break
    file.seek(0)
    _write_header(file, (len(kept), *shape))
    return kept, bad, digests


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # numpy pads the header, so a larger number of images can be written over the first one
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _load_all(
    pool: ThreadPoolExecutor, source: Source, order: np.ndarray, data: DataParams
) -> Iterator[tuple[int, np.ndarray | BadImageError]]:
    """Yields each position with its image, or with the error, in order. Decodes large images one at a time."""

    def attempt(index: int, max_pixels: int | None) -> np.ndarray | BadImageError | LargeImageError:
        try:
            return load_image(source.items[index], data.image_size, data.channels, data.fit == "pad", max_pixels)
        except (BadImageError, LargeImageError) as reason:
            return reason
        except MemoryError:
            raise UserError(no_memory(source.names[index])) from None

    remaining = iter(order)
    while chunk := list(islice(remaining, _CHUNK)):
        for index, result in zip(chunk, pool.map(attempt, chunk, repeat(MAX_PIXELS_AT_ONCE // _WORKERS)), strict=True):
            yield index, attempt(index, None) if isinstance(result, LargeImageError) else result


def _check_enough(count: int, source: Source, data: DataParams, bad: dict[str, str]) -> None:
    parts = part_sizes(data, count)
    fewest = Parts(1, 0 if data.validation == 0 else 1, 1)
    if sum(parts) <= count and all(size >= least for size, least in zip(parts, fewest, strict=True)):
        return
    asked = [size if size is not None else "at least 1" for size in (data.train, data.validation, data.test)]
    skipped = f", beside {_listed(bad)} that cannot be used" if bad else ""
    raise UserError(
        f"data.train, data.validation, data.test: ask for {asked[0]}, {asked[1]} and {asked[2]} images, but "
        f"{shown(source.where)} has {count}{skipped}; ask for fewer or add images."
    )


def _bad_images(source: Source, bad: dict[str, str]) -> str:
    return (
        f"{shown(source.where)}: every image must be readable, but {_listed(bad)} cannot be used; correct or "
        "remove them, or set data.on_error to skip to leave them out."
    )


def _listed(bad: dict[str, str]) -> str:
    more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    return ", ".join(f"{shown(name)} ({reason})" for name, reason in islice(bad.items(), LISTED)) + more


def no_memory(name: str) -> str:
    """Returns the message for an image for which `load_image` raises MemoryError."""
    return f"{shown(name)}: there is not enough memory to decode this image; free some memory, or remove this image."


def _duplicates(digests: list[bytes], names: list[str], splits: list[str]) -> dict[str, Any]:
    """Counts the groups of prepared images that are equal bit for bit, and lists the first ones."""
    rows = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    groups = [group for group in rows.values() if len(group) > 1]
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "groups_across_parts": sum(len({splits[row] for row in group}) > 1 for group in groups),
        "first": [[names[row] for row in group] for group in groups[:LISTED]],
    }
