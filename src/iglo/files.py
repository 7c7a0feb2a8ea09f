"""Writing that leaves either the whole of a file or folder under its name, or what was there before."""

import errno
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

from iglo import locks
from iglo.errors import UserError
from iglo.partials import PARTIAL, Team, partial_folder, partial_name, sync, to_disk

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@contextmanager
def whole_folder(path: str | Path, team: Team | None = None, stale: Collection[str] = ()) -> Iterator[Path]:
    """A temporary folder, moved to `path` when the block ends well and removed when it does not.

    An older folder at `path` is replaced as a whole, and with several writers the last one's is there as a whole. A
    folder stays where it is when it is a mount point, the target of a link or the working folder, or when the folder
    around it cannot be written. Then its members are replaced by those of the same name, and other members stay, for
    they may be somebody else's.

    Args:
        team: processes that all enter the block; the folder is whole when the last of them is through.
        stale: names of members that go too where the folder stays.

    Raises:
        UserError: the disk is full.
        OSError: the folder cannot be written.
    """
    place = Path(os.path.realpath(path))
    stays = _stays(Path(path), place)
    around = place if stays else place.parent
    if team is not None and not team.first:
        partial = partial_name(around, team.first_says(0)) / "whole"
        team.meet()
        with disk_full_is_a_user_error(path):
            yield partial
        team.meet()
        return
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with partial_folder(around, team) as folder:
        partial = folder / "whole"
        partial.mkdir()
        if team:
            team.meet()
        with disk_full_is_a_user_error(path):
            yield partial
            if team:
                team.meet()
            to_disk(partial, folder)
        if stays:
            _replace_members(place, partial, folder, stale)
        else:
            _replace_folder(place, partial, folder)
        sync(around)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path, moved to `path` when the block ends well and removed when it does not.

    A link at `path` is replaced, and what it leads to stays as it is.

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
                shutil.copyfile(partial, path)  # a mount point, which nothing can be moved to
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
            "change who may write there, or remove what is in the way."
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
    """The array in a .npy file; UserError when there is none.

    The file is mapped first, which fails when it is shorter than its header claims: nothing is allocated for a claim.

    Args:
        mmap: r: mapped, to be read only; c: mapped, and what is written stays in memory; None: read into memory.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode=mmap or "r")
        if not array.itemsize:  # of which any number is no longer than an empty file
            raise ValueError("its items have no bytes")
    except Exception as error:  # numpy reads a header as Python, and a strange one fails in many ways
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
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # binary, which Windows wants to be told
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
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: holds no JSON ({error}); run the stage that makes it again.") from None


# --- Moving to the final place ---


def _stays(path: Path, place: Path) -> bool:
    """Whether the folder at `place`, to which `path` leads, cannot be replaced as a whole."""
    if not place.is_dir():
        return False
    with suppress(OSError):  # the working folder may be gone
        if place in (here := Path.cwd()).parents or place == here:
            return True
    return path.is_symlink() or os.path.ismount(place) or not os.access(place.parent, os.W_OK)


def _replace_folder(place: Path, partial: Path, folder: Path) -> None:
    """Moves `partial` to `place`; what is there goes into `folder` first, and again when another writer was faster."""
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
