"""Reads files, and writes files and folders as a whole: if writing fails, the old version stays."""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError

from iglo.errors import UserError
from iglo.files import locks
from iglo.files.partials import PARTIAL, ProcessGroup, partial_folder, partial_name, sync, to_disk

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a full disk
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)  # errors when another folder has the name


@contextmanager
def whole_folder(path: str | Path, group: ProcessGroup | None = None, stale: Collection[str] = ()) -> Iterator[Path]:
    """Yields a temporary folder, which is moved to `path` if the block ends without error, and else removed.

    It replaces an older folder at `path` as a whole. If there are several writers, the last one wins. Some folders
    cannot be replaced: a mount point, the target of a link, the working folder, and a folder whose parent cannot be
    written. In such a folder each new file or sub-folder replaces the one of the same name, and the others stay,
    because they may belong to the user.

    Args:
        group: processes that all enter the block; the folder is moved when the last of them leaves it.
        stale: names to remove from a folder that cannot be replaced.

    Raises:
        UserError: the disk is full.
        OSError: the folder cannot be written.
    """
    place = Path(os.path.realpath(path))
    stays = _cannot_be_replaced(Path(path), place)
    around = place if stays else place.parent
    if group is not None and not group.is_main:
        partial = partial_name(around, group.broadcast_int(0)) / "whole"
        group.barrier()
        with disk_full_is_a_user_error(path):
            yield partial
        group.barrier()
        return
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with partial_folder(around, group) as folder:
        partial = folder / "whole"
        partial.mkdir()
        if group:
            group.barrier()
        with disk_full_is_a_user_error(path):
            yield partial
            if group:
                group.barrier()
            to_disk(partial, folder)
        if stays:
            _replace_members(place, partial, folder, stale)
        else:
            _replace_folder(place, partial, folder)
        sync(around)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, which is moved to `path` if the block ends without error, and else removed.

    A link at `path` is replaced; its target does not change.

    Raises:
        UserError: the disk is full.
        OSError: the file cannot be written.
    """
    path = Path(path)
    with partial_folder(path.parent) as folder:
        partial = folder / path.name
        with disk_full_is_a_user_error(path):
            yield partial
            to_disk(partial, folder)
            try:
                os.replace(partial, path)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                shutil.copyfile(partial, path)  # a mount point, to which no file can be moved
                sync(path)
        sync(path.parent)


def check_can_be_written(path: str | Path, folder: bool) -> None:
    """Raises UserError if `whole_folder`, or `whole_file` if not `folder`, could not write to `path`."""
    path = Path(path)
    place = Path(os.path.realpath(path)) if folder else path
    try:
        if place.exists() and place.is_dir() != folder:
            number = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(number, os.strerror(number))
        if folder and place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with partial_folder(place if folder and _cannot_be_replaced(path, place) else place.parent):
            pass
    except OSError as error:
        at = f" at {error.filename}" if error.filename and PARTIAL not in str(error.filename) else ""
        raise UserError(
            f"{path}: cannot be written ({(error.strerror or str(error)).lower()}{at}); "
            "change its permissions, or remove what is in the way."
        ) from None


@contextmanager
def disk_full_is_a_user_error(path: str | Path) -> Iterator[None]:
    """Raises UserError if the block fails because the disk is full. safetensors says this only in its message."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        words = re.search(r"\(os error (\d+)\)", str(error))
        number = int(words[1]) if words else getattr(error, "errno", None)
        if number in NO_ROOM:
            reason = os.strerror(number).lower()
            raise UserError(
                f"{path}: the disk is full ({reason}); nothing was written. Free some space and run again."
            ) from None
        raise


def read_array(
    path: str | Path, mmap: Literal["r", "c"] | None = None, dtype: type | None = None, shape: Sequence[int | None] = ()
) -> np.ndarray:
    """Reads the array in a .npy file.

    It maps the file first. This fails before memory is allocated if the file is shorter than its header says.

    Args:
        mmap: r: mapped, read-only; c: mapped, changes stay in memory; None: read into memory.
        dtype: the type that the array must have, if given.
        shape: the sizes that the array must have, if given; None stands for any size.

    Raises:
        UserError: there is no such file, it is not a valid .npy file, or the array is of another type or shape.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode=mmap or "r")
        if not array.itemsize:  # an empty file could hold any number of such items
            raise ValueError("its items have no bytes")
        if dtype is not None and array.dtype != dtype:
            raise ValueError(f"its type is {array.dtype}, not {np.dtype(dtype)}")
        if shape and not _fits(array.shape, shape):
            raise ValueError(f"its shape is {array.shape}")
    except Exception as error:  # numpy parses the header as Python, so a damaged one raises many types
        raise UserError(f"{path}: holds no array ({error}); run the stage that makes it again.") from None
    return array if mmap else np.array(array)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(size in (one, None) for one, size in zip(shape, wanted, strict=True))


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Writes an .npy file. np.save itself does not report that the disk is full when it writes the last bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    Path(path).write_bytes(buffer.getbuffer())


def write_rows(path: str | Path, rows: np.ndarray, first: int, count: int) -> None:
    """Writes rows `first`, `first` + 1, … of an .npy file of `count` rows. Several processes may write, in any order.

    The file is complete when all its rows are written. It is not memory-mapped for writing, because then a full disk
    would kill the process.
    """
    header = io.BytesIO()
    kind = np.lib.format.dtype_to_descr(rows.dtype)
    np.lib.format.write_array_header_1_0(
        header, {"descr": kind, "fortran_order": False, "shape": (count, *rows.shape[1:])}
    )
    start = len(header.getvalue()) + first * rows[:1].nbytes
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # Windows needs this flag
    with open(os.open(path, flags, 0o666), "r+b") as file:
        if first == 0:
            file.write(header.getvalue())
        file.seek(start)
        file.write(np.ascontiguousarray(rows).data)


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file as a whole. Raises ValueError for NaN and infinity."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def read_json(path: str | Path) -> Any:
    """Reads the value in a JSON file. Raises UserError if there is no such file or no JSON in it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except PermissionError:
        raise UserError(f"{path}: cannot be read (permission denied); change its permissions.") from None
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage that makes it (`dvc repro` runs all).") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: holds no JSON ({error}); run the stage that makes it again.") from None


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- Moving to the final place ---


def _cannot_be_replaced(path: Path, place: Path) -> bool:
    """Returns whether the folder at `place`, the target of `path`, cannot be replaced as a whole."""
    if not place.is_dir():
        return False
    with suppress(OSError):  # the working folder may be gone
        if place in (here := Path.cwd()).parents or place == here:
            return True
    return path.is_symlink() or os.path.ismount(place) or not os.access(place.parent, os.W_OK)


def _replace_folder(place: Path, partial: Path, folder: Path) -> None:
    """Moves `partial` to `place` and the old folder into `folder`; tries again if another writer was faster."""
    while True:
        with suppress(FileNotFoundError):
            os.rename(place, folder / f"old-{secrets.token_hex(6)}")
        try:
            os.rename(partial, place)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise


def _replace_members(place: Path, partial: Path, folder: Path, stale: Collection[str]) -> None:
    """Moves the members of `partial` to `place`, and old members of the same or a stale name to `folder`."""
    old = folder / "old"
    old.mkdir()
    new = sorted(os.listdir(partial))
    with locks.one_at_a_time(place):
        for name in {*new, *stale}:
            with suppress(FileNotFoundError):
                os.rename(place / name, old / name)
        for name in new:
            os.rename(partial / name, place / name)
