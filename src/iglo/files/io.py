"""Writes a file or folder as a whole: if writing fails, the earlier one stays."""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError

from iglo.errors import UserError
from iglo.files import locks
from iglo.files.partials import PARTIAL, Team, partial_folder, partial_name, sync, to_disk

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@contextmanager
def whole_folder(path: str | Path, team: Team | None = None, stale: Collection[str] = ()) -> Iterator[Path]:
    """Yields a temporary folder, which is moved to `path` if the block ends without error, and else removed.

    It replaces an older folder at `path` as a whole; of several writers, the last one wins. Some folders cannot be
    replaced: a mount point, the target of a link, the working folder, or one whose parent cannot be written. There,
    each new member replaces the member of the same name, and other members stay, because they may not be ours.

    Args:
        team: processes that all enter the block; the folder is moved when the last of them leaves it.
        stale: names of members to remove from a folder that cannot be replaced.

    Raises:
        UserError: the disk is full.
        OSError: the folder cannot be written.
    """
    place = Path(os.path.realpath(path))
    stays = _stays(Path(path), place)
    around = place if stays else place.parent
    if team is not None and not team.is_main:
        partial = partial_name(around, team.broadcast_int(0)) / "whole"
        team.barrier()
        with disk_full_is_a_user_error(path):
            yield partial
        team.barrier()
        return
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with partial_folder(around, team) as folder:
        partial = folder / "whole"
        partial.mkdir()
        if team:
            team.barrier()
        with disk_full_is_a_user_error(path):
            yield partial
            if team:
                team.barrier()
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
    """Raises UserError when `whole_folder`, or else `whole_file`, could not write to `path`."""
    path = Path(path)
    place = Path(os.path.realpath(path)) if folder else path
    try:
        if place.exists() and place.is_dir() != folder:
            number = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(number, os.strerror(number))
        if folder and place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with partial_folder(place if folder and _stays(path, place) else place.parent):
            pass
    except OSError as error:
        at = f" at {error.filename}" if error.filename and PARTIAL not in str(error.filename) else ""
        raise UserError(
            f"{path}: cannot be written ({(error.strerror or str(error)).lower()}{at}); "
            "change its permissions, or remove what is in the way."
        ) from None


@contextmanager
def disk_full_is_a_user_error(path: str | Path) -> Iterator[None]:
    """For OSErrors that say so, and for safetensors, which says it in words alone."""
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


def read_array(path: str | Path, mmap: Literal["r", "c"] | None = None) -> np.ndarray:
    """The array in a .npy file.

    The file is mapped first. This fails before memory is allocated if the file is shorter than its header says.

    Args:
        mmap: r: mapped, read-only; c: mapped, changes stay in memory; None: read into memory.

    Raises:
        UserError: there is no such file, or it holds no array.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode=mmap or "r")
        if not array.itemsize:  # any number of such items fits into an empty file
            raise ValueError("its items have no bytes")
    except Exception as error:  # numpy reads the header as Python, and a damaged one raises many errors
        raise UserError(f"{path}: holds no array ({error}); run the stage that makes it again.") from None
    return array if mmap else np.array(array)


def write_array(path: str | Path, array: np.ndarray) -> None:
    """An .npy file. np.save writes to disk through C, and does not tell when the last bytes of a file find no room."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    Path(path).write_bytes(buffer.getbuffer())


def write_rows(path: str | Path, rows: np.ndarray, first: int, count: int) -> None:
    """Rows `first`, `first` + 1, … of an .npy file of `count` rows, in whatever order and by whichever process.

    The file is whole when all its rows are written. A writable memory map would die of a bus error on a full disk.
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
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file; UserError when there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except PermissionError:
        raise UserError(f"{path}: cannot be read (permission denied); change its permissions.") from None
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage that makes it (`dvc repro` runs all).") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: holds no JSON ({error}); run the stage that makes it again.") from None


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- Moving to the final place ---


def _stays(path: Path, place: Path) -> bool:
    """Whether the folder at `place`, the target of `path`, cannot be replaced as a whole."""
    if not place.is_dir():
        return False
    with suppress(OSError):  # the working folder may be gone
        if place in (here := Path.cwd()).parents or place == here:
            return True
    return path.is_symlink() or os.path.ismount(place) or not os.access(place.parent, os.W_OK)


def _replace_folder(place: Path, partial: Path, folder: Path) -> None:
    """Moves `partial` to `place`, and what was there into `folder`; retries if another writer was faster."""
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
    old = folder / "old"
    old.mkdir()
    new = sorted(os.listdir(partial))
    with locks.one_at_a_time(place):
        for name in {*new, *stale}:
            with suppress(FileNotFoundError):
                os.rename(place / name, old / name)
        for name in new:
            os.rename(partial / name, place / name)
