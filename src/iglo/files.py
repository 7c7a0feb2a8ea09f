"""Writing that leaves either the whole of a file or folder under its name, or nothing."""

import errno
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from safetensors import SafetensorError

from iglo.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Team(Protocol):
    """Processes that write one folder together; the first makes it and moves it to its place."""

    @property
    def first(self) -> bool: ...

    def meet(self) -> None: ...


@contextmanager
def whole_folder(path: str | Path, team: Team | None = None) -> Iterator[Path]:
    """A temporary folder beside `path`, moved to `path` when the block ends well and removed when it does not.

    An older folder at `path` is replaced. Raises UserError when the disk is full.

    Args:
        team: processes that all enter the block; the folder is whole when the last of them is through.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    if team is not None and not team.first:
        team.meet()
        with disk_full_is_a_user_error(path):
            yield partial
        team.meet()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    meet = team.meet if team else lambda: None
    try:
        meet()
        with disk_full_is_a_user_error(path):
            yield partial
        meet()
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved to `path` when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with disk_full_is_a_user_error(path):
            yield partial
            _flush_to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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

    Args:
        mmap: r: mapped, to be read only; c: mapped, and what is written stays in memory; None: read into memory.
    """
    try:
        return np.load(path, mmap_mode=mmap, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: holds no array ({error}); run the stage that makes it again.") from None


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
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
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
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: holds no JSON ({error}); run the stage that makes it again.") from None


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())
