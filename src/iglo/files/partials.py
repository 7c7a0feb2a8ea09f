"""Temporary folders for output that is not complete yet, next to its final place.

Each writer has a folder named `.partial-…`, and holds a lock in it. A folder whose lock nobody holds was left by a
writer that died; the next writer removes it.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from iglo.files import locks

PARTIAL = ".partial-"  # the beginning of the names
LOCK = "lock"
DAY = 24 * 3600  # seconds; on a file system without locks, the writer of an older folder is taken for dead
TRIES = 100  # to create a folder
MANY = 1000  # for more files than this, one sync of the whole system is faster than one for each file


class ProcessGroup(Protocol):
    """Processes that write one folder together; the main process creates and moves it."""

    @property
    def is_main(self) -> bool: ...

    def barrier(self) -> None: ...

    def broadcast_int(self, number: int) -> int: ...


def partial_name(around: Path, token: int) -> Path:
    """Returns the folder of the writer with this number."""
    return around / f"{PARTIAL}{token:012x}"


@contextmanager
def partial_folder(around: Path, group: ProcessGroup | None = None) -> Iterator[Path]:
    """Yields a new folder in `around`, locked for this writer; removes it at the end."""
    around.mkdir(parents=True, exist_ok=True)
    _remove_partials_of_dead_writers(around)
    folder, lock, token = _new_folder(around)
    try:
        if group:
            group.broadcast_int(token)
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder(around: Path) -> tuple[Path, locks.Lock, int]:
    for left in reversed(range(TRIES)):
        token = secrets.randbits(48)
        folder = partial_name(around, token)
        try:
            folder.mkdir(0o700)  # follows no link
            return folder, locks.hold(folder / LOCK), token
        except (FileExistsError, FileNotFoundError, locks.BusyError):
            if not left or not around.is_dir():
                raise
            continue  # the name is taken, or another writer took this one for dead and removed its folder


def _remove_partials_of_dead_writers(around: Path) -> None:
    for folder in around.glob(f"{PARTIAL}*"):
        with suppress(OSError, locks.BusyError):
            about = folder.lstat()
            if folder.is_symlink() or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
                continue
            lock = locks.hold(folder / LOCK)
            if lock.real or time.time() - about.st_mtime > DAY:
                shutil.rmtree(folder, ignore_errors=True)
            lock.release()


def to_disk(written: Path, folder: Path) -> None:
    """Waits until all files are on the disk, and gives them the mode of new files of this process.

    Some libraries write files that only their owner may read. The right mode is that of the lock, which is a new file.
    """
    mode = (folder / LOCK).stat().st_mode & 0o777
    paths = [written, *written.rglob("*")] if written.is_dir() else [written]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    for file in files:
        if file.stat().st_mode & 0o777 != mode:
            with suppress(PermissionError):  # the file system has no modes
                file.chmod(mode)
    if len(files) > MANY and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        sync(file)
    for path in reversed(paths):  # folders after their contents
        if path.is_dir():
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # Windows cannot do this and does not need it
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # the file system cannot do this
            raise
    finally:
        os.close(descriptor)
