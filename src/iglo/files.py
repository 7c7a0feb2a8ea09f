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
from typing import Any

import numpy as np
from safetensors import SafetensorError

from iglo.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`, moved to `path` when the block ends well and removed when it does not.

    An older folder at `path` is replaced. Raises UserError when the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with disk_full_is_a_user_error(path):
            yield partial
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


def read_array(path: str | Path, mmap: bool = False) -> np.ndarray:
    """The array in a .npy file, read into memory or mapped read-only; UserError when there is none."""
    try:
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: holds no array ({error}); run the stage that makes it again.") from None


def write_array(path: str | Path, array: np.ndarray) -> None:
    """An .npy file. np.save writes to disk through C, and does not tell when the last bytes of a file find no room."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    Path(path).write_bytes(buffer.getbuffer())


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
