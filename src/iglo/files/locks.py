"""File locks, which one process at a time can hold. The system releases them when the process ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    with suppress(ImportError):
        import msvcrt

HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)  # errors when another process has the lock


class BusyError(Exception):
    """Another process, or another part of this one, holds the lock."""


@dataclass
class Lock:
    """A lock that is held until `release`.

    Attributes:
        real: False if the file system has no locks; then other processes are not kept out.
    """

    file: BinaryIO
    real: bool = True

    def release(self) -> None:
        self.file.close()


def hold(path: Path) -> Lock:
    """Locks the file at `path`, which it creates if it is missing; does not wait.

    The holder may remove the file. Another process that has just opened it then tries again with a new file.

    Raises:
        BusyError: another holder has the lock.
        OSError: the file cannot be created.
    """
    while True:
        file = open(path, "ab")  # noqa: SIM115 (the lock closes it)
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno in HELD:
                file.close()
                raise BusyError(str(path)) from None
            return Lock(file, real=False)
        if _is_at(path, file):
            return Lock(file)
        file.close()


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif os.name == "nt":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process at a time into the block for this folder; does not wait if the file system has no locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
