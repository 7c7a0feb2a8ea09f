"""Files and folders are written as a whole, or the earlier ones stay."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from iglo.errors import UserError
from iglo.files.io import (
    check_can_be_written,
    disk_full_is_a_user_error,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


def tree(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path):
    """A folder and a file from an earlier run."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.txt").write_text("old")
    (tmp_path / "log.csv").write_text("old")
    return tmp_path


def test_a_block_without_error_replaces_the_earlier_output(place):
    with whole_folder(place / "model") as folder:
        (folder / "new.txt").write_text("new")
        assert tree(place / "model") == {"old.txt": "old"}
    with whole_file(place / "log.csv") as file:
        file.write_text("new")
        assert (place / "log.csv").read_text() == "old"
    assert tree(place) == {"model/new.txt": "new", "log.csv": "new"}


@pytest.mark.parametrize("mistake", [ValueError, KeyboardInterrupt])
def test_a_block_with_an_error_changes_nothing(place, mistake):
    before = tree(place)
    with pytest.raises(mistake), whole_folder(place / "model") as folder:
        (folder / "new.txt").write_text("half")
        raise mistake
    with pytest.raises(mistake), whole_file(place / "log.csv") as file:
        file.write_text("half")
        raise mistake
    with pytest.raises(mistake), whole_folder(place / "fresh") as folder:
        raise mistake
    assert tree(place) == before and sorted(path.name for path in place.iterdir()) == ["log.csv", "model"]


def test_folders_of_a_killed_process_are_removed(place):
    (place / ".partial-0123456789ab" / "whole").mkdir(parents=True)
    (place / ".partial-0123456789ab" / "lock").touch()
    with whole_folder(place / "other") as living:
        (living / "new.txt").write_text("new")
        with whole_folder(place / "model") as folder:
            (folder / "new.txt").write_text("new")
        assert tree(place / "model") == tree(living) == {"new.txt": "new"}
        assert list(place.glob(".partial-*")) == [living.parent]
    assert not list(place.glob(".partial-*")) and tree(place / "other") == {"new.txt": "new"}


@pytest.mark.parametrize("age", [0, 2 * 24 * 3600])
def test_without_locks_only_an_old_partial_folder_is_removed(place, monkeypatch, age):
    monkeypatch.setattr("iglo.files.locks._lock", no_locks)
    old = place / ".partial-0123456789ab"
    old.mkdir()
    (old / "lock").touch()
    os.utime(old, (time.time() - age,) * 2)
    write_json(place / "a.json", 1)
    assert read_json(place / "a.json") == 1 and old.exists() is not bool(age)


def no_locks(_: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_planted_link_is_neither_followed_nor_emptied(place):
    target = place / "model"
    (place / ".partial-0123456789ab").symlink_to(target)
    before = tree(target)
    with patch("secrets.randbits", side_effect=[0x0123456789AB, 1]), whole_file(place / "log.csv") as file:
        file.write_text("new")
        assert file.parent.name == ".partial-000000000001"
    assert tree(target) == before and (place / "log.csv").read_text() == "new"


def test_with_several_writers_the_last_output_is_complete(tmp_path):
    """Tests folders that are replaced, a folder that cannot be replaced, and files."""
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far")

    def write(name: str) -> None:
        for _ in range(12):
            for place in ("folder", "link"):
                with whole_folder(tmp_path / place) as folder:
                    for part in range(6):
                        (folder / str(part)).write_text(name)
            with whole_file(tmp_path / "file") as file:
                file.write_text(name * 100)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    for place in ("folder", "link"):
        parts = tree(tmp_path / place)
        assert sorted(parts) == [*"012345"] and len(set(parts.values())) == 1
    assert (tmp_path / "file").read_text() in [name * 100 for name in "abcd"]
    assert sorted(os.listdir(tmp_path)) == ["far", "file", "folder", "link"]


def test_contents_are_synced_before_the_move_and_the_name_after_it(place, monkeypatch):
    """After a power cut there is the whole new output, or the old one."""
    done, fsync, replace, rename = [], os.fsync, os.replace, os.rename

    def synced(descriptor: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def moved(source, target, move) -> None:
        if Path(target).parent == place:
            done.append(f"move to {target}")
        move(source, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", lambda source, target: moved(source, target, replace))
    monkeypatch.setattr("os.rename", lambda source, target: moved(source, target, rename))
    with whole_folder(place / "model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
    partial = str(folder)
    files = [f"{partial}/sub/a.txt", f"{partial}/sub", partial, str(folder.parent)]
    assert done == [*files, f"move to {place / 'model'}", str(place)]
    done.clear()
    with whole_file(place / "log.csv") as file:
        file.write_text("new")
    assert done == [str(file), str(file.parent), f"move to {place / 'log.csv'}", str(place)]


def test_many_files_are_synced_at_once(place, monkeypatch):
    calls = []
    monkeypatch.setattr("iglo.files.partials.MANY", 3)
    monkeypatch.setattr("os.sync", lambda: calls.append((place / "model" / "old.txt").exists()))
    with whole_folder(place / "model") as folder:
        for index in range(4):
            (folder / str(index)).touch()
    assert calls == [True]


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_files_have_the_mode_of_new_files(tmp_path, umask):
    before = os.umask(umask)
    try:
        for block, name in ((whole_folder, "model"), (whole_file, "model.safetensors")):
            with block(tmp_path / name) as partial:
                save_file({}, partial / "a.safetensors" if block is whole_folder else partial)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "model" / "a.safetensors", tmp_path / name)]
    assert modes == [0o666 & ~umask] * 2 and (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("way", ["link", "working folder", "mount point", "locked parent"])
def test_a_folder_that_cannot_be_replaced_is_filled(place, monkeypatch, way):
    """Other members stay, except those that the caller calls stale."""
    folder = place / "model"
    (folder / "a.txt").write_text("old")
    (folder / "stale.txt").write_text("old")
    if way == "link":
        (place / "link").symlink_to("model")
    elif way == "working folder":
        monkeypatch.chdir(folder)
    elif way == "mount point":
        monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == folder)
    else:
        monkeypatch.setattr("os.access", lambda path, mode: Path(path) != place)
    number = folder.stat().st_ino
    out = {"link": place / "link", "working folder": "."}.get(way, folder)
    check_can_be_written(out, folder=True)
    with pytest.raises(KeyError), whole_folder(out) as partial:
        (partial / "a.txt").write_text("half")
        raise KeyError
    with whole_folder(out, stale=["stale.txt"]) as partial:
        (partial / "a.txt").write_text("new")
        assert (folder / "a.txt").read_text() == "old"
    assert tree(folder) == {"a.txt": "new", "old.txt": "old"} and folder.stat().st_ino == number
    assert sorted(os.listdir(folder)) == ["a.txt", "old.txt"]


def test_a_link_to_a_missing_folder_leads_to_the_new_folder(tmp_path):
    (tmp_path / "link").symlink_to("far/model")
    with whole_folder(tmp_path / "link") as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "link").is_symlink() and tree(tmp_path / "far" / "model") == {"a.txt": "a"}


def test_a_link_to_a_file_is_replaced_and_its_target_stays(place):
    """An output may be a link to DVC's cache."""
    (place / "link.csv").symlink_to("log.csv")
    with whole_file(place / "link.csv") as file:
        file.write_text("new")
    assert tree(place) == {"model/old.txt": "old", "log.csv": "old", "link.csv": "new"}
    assert not (place / "link.csv").is_symlink()


def test_a_file_that_is_a_mount_point_is_written_to(place, monkeypatch):
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr("os.replace", busy)
    with whole_file(place / "log.csv") as file:
        file.write_text("new")
    assert tree(place) == {"model/old.txt": "old", "log.csv": "new"}


@pytest.mark.parametrize(
    ("path", "folder", "reason"),
    [
        ("log.csv/model", True, "not a directory at .*log.csv|file exists at .*log.csv"),
        ("log.csv", True, "not a directory"),
        ("model", False, "is a directory"),
        (f"{'x' * 300}/a.csv", False, "file name too long at"),
        ("denied/a.csv", False, "permission denied"),
        ("kept", True, "permission denied"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_work(place, monkeypatch, path, folder, reason):
    mkdir, access = Path.mkdir, os.access

    def denied(self: Path, *arguments, **options) -> None:
        if "denied" in self.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        mkdir(self, *arguments, **options)

    (place / "kept").mkdir()
    before = tree(place)
    monkeypatch.setattr("pathlib.Path.mkdir", denied)
    monkeypatch.setattr("os.access", lambda at, mode: Path(at).name != "kept" and access(at, mode))
    with pytest.raises(UserError, match=rf"^{place / path}: cannot be written \(({reason})[^\n]*; change .*way\.$"):
        check_can_be_written(place / path, folder)
    for good, kind in (("model", True), ("log.csv", False), ("new/model", True), ("new.csv", False)):
        check_can_be_written(place / good, kind)
    assert tree(place) == before and not list(place.rglob(".partial-*"))


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
@pytest.mark.parametrize("write", [whole_folder, whole_file])
def test_a_writer_gives_up_if_no_folder_can_be_created(tmp_path, monkeypatch, write, error):
    """/proc answers so, although it is there."""
    made = os.mkdir

    def mkdir(path, *arguments, **options):
        if ".partial-" in str(path):
            raise error(errno.ENOENT, "no", str(path))
        made(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(OSError, match="no"), write(tmp_path / "new"):
        pass
    with pytest.raises(UserError, match="new: cannot be written"):
        check_can_be_written(tmp_path / "new", write is whole_folder)


def test_missing_parents_are_created(tmp_path):
    write_json(tmp_path / "a" / "b.json", 1)
    with whole_folder(tmp_path / "c" / "d"):
        pass
    assert read_json(tmp_path / "a" / "b.json") == 1 and (tmp_path / "c" / "d").is_dir()


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_full_disk_is_one_sentence(place, error):
    before = tree(place)
    for block, name in ((whole_folder, "model"), (whole_file, "log.csv"), (disk_full_is_a_user_error, "model")):
        with pytest.raises(UserError, match=rf"{name}: the disk is full[^\n]*run again\.$"), block(place / name):
            raise error
    assert tree(place) == before


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), SafetensorError("broken")])
def test_other_errors_are_raised_unchanged(place, error):
    with pytest.raises(type(error), match="broken"), whole_folder(place / "model"):
        raise error
