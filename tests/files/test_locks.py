"""A lock has one holder at a time, even if the holder removes the file."""

import errno
import os

import pytest

from iglo.files import locks


def test_a_second_holder_gets_the_lock_after_the_first(tmp_path):
    first = locks.hold(tmp_path / "lock")
    assert first.real
    with pytest.raises(locks.BusyError):
        locks.hold(tmp_path / "lock")
    first.release()
    locks.hold(tmp_path / "lock").release()


def test_a_file_that_its_holder_has_removed_gives_no_lock(tmp_path, monkeypatch):
    """A third process may hold the new file of the same name."""
    path, lock, third = tmp_path / "lock", locks._lock, []

    def removed_meanwhile(descriptor: int) -> None:
        if not third:
            monkeypatch.setattr("iglo.files.locks._lock", lock)
            path.unlink()
            third.append(locks.hold(path))
        lock(descriptor)

    monkeypatch.setattr("iglo.files.locks._lock", removed_meanwhile)
    with pytest.raises(locks.BusyError):
        locks.hold(path)
    third[0].release()
    mine = locks.hold(path)
    assert os.path.samestat(os.fstat(mine.file.fileno()), os.stat(path))
    mine.release()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_another_holder(tmp_path, monkeypatch, number):
    def missing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", missing)
    lock = locks.hold(tmp_path / "lock")
    assert not lock.real
    with locks.one_at_a_time(tmp_path):
        lock.release()
