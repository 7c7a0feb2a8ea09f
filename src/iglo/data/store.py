"""The images of a run: split, and kept as one memory-mapped array with ids, names and labels.

A `Source` lists images that are not decoded yet; `write_store` turns it into a folder; `ImageStore.open` reads that.
An image's id is its row: training images are rows 0 to n - 1, test images follow.
"""

import csv
import hashlib
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from iglo.data.image_io import AT_ONCE, BadImageError, LargeImageError, decode
from iglo.errors import UserError, shown
from iglo.files.io import whole_folder, write_json
from iglo.params.run_record import data_record
from iglo.params.sections import DataParams
from iglo.progress import bar
from iglo.randomness import numpy_generator

LISTED = 10  # names in an error, groups and names in a report
COLUMNS = ("id", "name", "label", "split")
_WORKERS, _CHUNK = 4, 256  # threads, and images that they may hold at a time


@dataclass(frozen=True, eq=False)
class Source:
    """Images in their natural order: `items` are N files, or a uint8 array (N, H, W) or (N, H, W, 3)."""

    where: str  # for messages
    names: tuple[str, ...]
    labels: tuple[str, ...]  # class names, empty where there is none
    items: Sequence[Path] | np.ndarray
    ignored: tuple[str, ...] = ()  # files that do not claim to be images


@dataclass(frozen=True, eq=False)
class ImageStore:
    """The prepared images of a run."""

    images: np.ndarray  # (N, H, W, C) uint8, memory-mapped, read-only
    names: tuple[str, ...]
    labels: tuple[str, ...]
    train_count: int

    @classmethod
    def open(cls, folder: str | Path) -> "ImageStore":
        """The store that `write_store` made in `folder`. Raises UserError when there is none."""
        try:
            images = np.load(Path(folder) / "images.npy", mmap_mode="r", allow_pickle=False)
            names, labels, train_count = _read_index(Path(folder) / "index.csv")
            if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names):
                raise ValueError("images.npy and index.csv do not agree")
        except PermissionError:
            raise UserError(f"{folder}: cannot be read (permission denied); change its permissions.") from None
        except (OSError, ValueError, EOFError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{folder}: no folder of prepared images ({reason}); run the prepare stage.") from None
        return cls(images, names, labels, train_count)

    @property
    def train(self) -> np.ndarray:
        """A view (train_count, H, W, C) uint8; its rows are the training ids."""
        return self.images[: self.train_count]

    @property
    def test(self) -> np.ndarray:
        """A view (N - train_count, H, W, C) uint8."""
        return self.images[self.train_count :]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, each once, in natural order; "" is one of them where images have no label."""
        return tuple(sorted(set(self.labels), key=natural_key))

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(N,) int64: the position of each image's label in `classes`."""
        position = {label: index for index, label in enumerate(self.classes)}
        return np.array([position[label] for label in self.labels], dtype=np.int64)


class UnitImages:
    """uint8 images as floats in [0, 1], converted as they are read: memory need not hold them all.

    Args:
        pixels: (N, H, W, C) uint8, memory-mapped if large.
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """(M, …) float32"""
        return np.asarray(self.pixels[rows], np.float32) / 255


def _read_index(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Names, labels, each kept once however often it occurs, and the number of training images.

    Raises:
        ValueError: not the table that `write_store` writes.
    """
    names, labels, train_count = [], [], 0
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError(f"{path.name} has not the columns {', '.join(COLUMNS)}")
        for _, name, label, split in rows:
            names.append(name)
            labels.append(sys.intern(label))
            train_count += split == "train"
    return tuple(names), tuple(labels), train_count


def natural_key(text: str) -> tuple:
    """A sort key by which frog-2 comes before frog-10, and a folder's files stay together."""
    return [_numbers_as_numbers(part) for part in text.split("/")], text


def _numbers_as_numbers(text: str) -> list[str | int]:
    pieces = re.split("([0-9]+)", text)  # every second piece is a number, so that like compares with like
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def write_store(source: Source, data: DataParams, seed: int, out: str | Path) -> int:
    """Decodes as many images as `data` asks for into the folder `out`; returns how many.

    `images.npy` is (N, H, W, C) uint8, training images first; `index.csv` has a row per image (id, name, label, split);
    `report.json` counts splits, labels, exact duplicates and images that were left out.

    Raises:
        UserError: there are fewer images than the split asks for, bad images (unless `data.on_error` is skip), or too
            little memory for an image. Such an image is never left out: the data set must not depend on free memory.
    """
    count = len(source.names)
    order = numpy_generator(seed, "split").permutation(count) if data.shuffle else np.arange(count)
    _check_enough(count, source, data, {})
    with whole_folder(out) as folder:
        with open(folder / "images.npy", "wb") as file:
            kept, bad, digests = _write_images(file, source, order, data)
        if bad and data.on_error == "fail":
            raise UserError(_bad_images(source, bad))
        _check_enough(len(kept), source, data, bad)
        names, labels = ([column[index] for index in kept] for column in (source.names, source.labels))
        train = len(kept) - data.test if data.train is None else data.train
        splits = ["train" if row < train else "test" for row in range(len(kept))]
        with open(folder / "index.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(range(len(kept)), names, labels, splits, strict=True))
        report = {
            "source": source.where,
            "data": data_record(data),  # for the record of models that learn from them
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
    """Writes good images one after another as an .npy file: positions kept, names of bad ones with reasons, digests."""
    wanted = len(order) if data.train is None or data.test is None else data.train + data.test
    shape = (data.image_size, data.image_size, data.channels)
    kept, bad, digests = [], {}, []
    _write_header(file, (0, *shape))
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(_WORKERS) as pool,
        bar(total=wanted, unit="image") as progress,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on size, which `decode` checks
        for index, result in _decoded(pool, source, order, data):
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
    # numpy pads the header so that the length of the first axis can be written again when it is known.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _decoded(
    pool: ThreadPoolExecutor, source: Source, order: np.ndarray, data: DataParams
) -> Iterator[tuple[int, np.ndarray | BadImageError]]:
    """Each image, or the error of decoding it, in order. Large images are decoded one at a time."""

    def attempt(index: int, most: int | None) -> np.ndarray | BadImageError | LargeImageError:
        try:
            return decode(source.items[index], data.image_size, data.channels, data.fit == "pad", most)
        except (BadImageError, LargeImageError) as reason:
            return reason
        except MemoryError:
            raise UserError(no_memory(source.names[index])) from None

    remaining = iter(order)
    while chunk := list(islice(remaining, _CHUNK)):
        for index, result in zip(chunk, pool.map(attempt, chunk, repeat(AT_ONCE // _WORKERS)), strict=True):
            yield index, attempt(index, None) if isinstance(result, LargeImageError) else result


def _check_enough(count: int, source: Source, data: DataParams, bad: dict[str, str]) -> None:
    if count >= (data.train or 1) + (data.test or 1):
        return
    train, test = data.train or "at least 1", data.test or "at least 1"
    skipped = f", beside {_listed(bad)} that cannot be used" if bad else ""
    raise UserError(
        f"data.train, data.test: ask for {train} and {test} images, but {shown(source.where)} has {count}{skipped}; "
        "ask for fewer or add images."
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
    """The message for an image for which `decode` raises MemoryError."""
    return f"{shown(name)}: there is not enough memory to decode this image; free some memory, or remove this image."


def _duplicates(digests: list[bytes], names: list[str], splits: list[str]) -> dict[str, Any]:
    """Groups of prepared images that are equal bit for bit."""
    rows = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    groups = [group for group in rows.values() if len(group) > 1]
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "groups_across_train_and_test": sum(len({splits[row] for row in group}) > 1 for group in groups),
        "first": [[names[row] for row in group] for group in groups[:LISTED]],
    }
