"""Folders in which something is being written, beside the place that it gets when it is whole.

Their names are `.partial-…`, and no two writers have the same. The writer holds a lock in its folder, so that the next
writer knows what a dead one has left, and removes that.
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

from iglo import locks

PARTIAL = ".partial-"  # what the names of folders begin with in which something is being written
LOCK = "lock"
DAY = 24 * 3600  # seconds, after which a partial folder counts as left behind where there are no locks
TRIES = 100  # of making a folder; others can be in the way of a few, and a place where none can be made of all
MANY = 1000  # files, from which one sync of everything is faster than one for each


class Team(Protocol):
    """Processes that write one folder together; the first makes it and moves it to its place."""

    @property
    def first(self) -> bool: ...

    def meet(self) -> None: ...

    def first_says(self, number: int) -> int: ...


def partial_name(around: Path, token: int) -> Path:
    """The folder of the writer with this number."""
    return around / f"{PARTIAL}{token:012x}"


@contextmanager
def partial_folder(around: Path, team: Team | None = None) -> Iterator[Path]:
    """A new folder in `around` that no other writer has, locked; it is removed in the end."""
    around.mkdir(parents=True, exist_ok=True)
    _remove_partials_of_the_dead(around)
    folder, lock, token = _new_folder(around)
    try:
        if team:
            team.first_says(token)
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder(around: Path) -> tuple[Path, locks.Lock, int]:
    for left in reversed(range(TRIES)):
        token = secrets.randbits(48)
        folder = partial_name(around, token)
        try:
            folder.mkdir(0o700)  # which follows no link
            return folder, locks.hold(folder / LOCK), token
        except (FileExistsError, FileNotFoundError, locks.BusyError):
            if not left or not around.is_dir():
                raise
            continue  # another one has that name, or took the new folder for one that a dead writer left


def _remove_partials_of_the_dead(around: Path) -> None:
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
    """Gives files the mode that the process gives new ones, and waits until the disk has all of them.

    Some libraries write files that their owner alone may read. The lock has the mode of a new file.
    """
    mode = (folder / LOCK).stat().st_mode & 0o777
    paths = [written, *written.rglob("*")] if written.is_dir() else [written]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    for file in files:
        if file.stat().st_mode & 0o777 != mode:
            with suppress(PermissionError):  # of a file system that knows no modes
                file.chmod(mode)
    if len(files) > MANY and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        sync(file)
    for path in reversed(paths):  # folders after what they hold
        if path.is_dir():
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # which Windows cannot do, nor needs
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # of a file system that does not know how
            raise
    finally:
        os.close(descriptor)
