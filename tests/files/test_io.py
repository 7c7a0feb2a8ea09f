"""The whole of a file or folder under its name, or what was there before."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from iglo.errors import UserError
from iglo.files.io import (
    check_can_be_written,
    disk_full_is_a_user_error,
    read_array,
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


def test_a_block_that_ends_well_replaces_what_was_there(place):
    with whole_folder(place / "model") as folder:
        (folder / "new.txt").write_text("new")
        assert tree(place / "model") == {"old.txt": "old"}
    with whole_file(place / "log.csv") as file:
        file.write_text("new")
        assert (place / "log.csv").read_text() == "old"
    assert tree(place) == {"model/new.txt": "new", "log.csv": "new"}


@pytest.mark.parametrize("mistake", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_all_as_it_was(place, mistake):
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


def test_what_a_killed_process_left_is_cleared_away(place):
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
def test_without_locks_a_partial_folder_is_left_behind_when_it_is_old(place, monkeypatch, age):
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


def test_of_two_writers_the_last_one_s_output_is_there_as_a_whole(tmp_path):
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


def test_all_is_on_the_disk_before_it_has_its_name_and_the_name_afterwards(place, monkeypatch):
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


def test_many_files_are_brought_to_the_disk_at_once(place, monkeypatch):
    calls = []
    monkeypatch.setattr("iglo.files.partials.MANY", 3)
    monkeypatch.setattr("os.sync", lambda: calls.append((place / "model" / "old.txt").exists()))
    with whole_folder(place / "model") as folder:
        for index in range(4):
            (folder / str(index)).touch()
    assert calls == [True]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
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
def test_a_folder_that_has_to_stay_is_filled(place, monkeypatch, way):
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


def test_a_link_to_nowhere_leads_to_the_new_folder(tmp_path):
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
def test_a_place_that_cannot_be_written_is_found_beforehand(place, monkeypatch, path, folder, reason):
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
def test_where_no_folder_can_ever_be_made_the_writer_gives_up(tmp_path, monkeypatch, write, error):
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


def test_missing_parents_are_made(tmp_path):
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
def test_other_errors_stay_what_they_are(place, error):
    with pytest.raises(type(error), match="broken"), whole_folder(place / "model"):
        raise error


def test_arrays_and_records_come_back(tmp_path):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    for mapped in (None, "r", "c"):
        kept = read_array(tmp_path / "a.npy", mmap=mapped)
        np.testing.assert_array_equal(kept, array)
        assert kept.dtype == array.dtype and isinstance(kept, np.memmap) is bool(mapped)
    kept[0] = 9  # of a copy on write
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)
    write_json(tmp_path / "a.json", {"psnr": [1.5, None], "name": "ü"})
    assert read_json(tmp_path / "a.json") == {"psnr": [1.5, None], "name": "ü"}
    with pytest.raises(ValueError):
        write_json(tmp_path / "nan.json", float("nan"))
    assert not (tmp_path / "nan.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00", b"{'", "objects"])
def test_what_cannot_be_read_is_named(tmp_path, content):
    array, record = tmp_path / "a.npy", tmp_path / "a.json"
    if content == "objects":  # a pickle, which is never loaded
        np.save(array, np.array([{}]), allow_pickle=True)
        record.write_bytes(array.read_bytes())
    elif content is not None:
        array.write_bytes(content)
        record.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npy: holds no array .*run the stage"):
        read_array(array)
    with pytest.raises(UserError, match=r"a\.json: (there is no such file|holds no JSON .*); run the stage"):
        read_json(record)


def header(text: str) -> bytes:
    """The beginning of an .npy file with this header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("mmap", [None, "r", "c"])
@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}") + b"8 bytes.",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}") + b"8 bytes.",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 400 + ",)}") + b"8 bytes.",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}") + b"8 bytes.",
        header("(" * 9000),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"8 bytes.",
        header("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000000,)}"),
        header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000000,)}"),
        header("{'descr': [], 'fortran_order': False, 'shape': (1000000000000000,)}"),
        b"PK\x03\x04 and so on",
        b"",
    ],
    ids=[
        "petabytes",
        "wraps around",
        "long",
        "negative",
        "deep",
        "objects",
        "nothing",
        "no letters",
        "no fields",
        "zip",
        "empty",
    ],
)
def test_an_array_that_claims_what_it_is_not_is_refused(tmp_path, content, mmap):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npy: holds no array"):
        read_array(tmp_path / "a.npy", mmap)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4), np.float32), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(3)]
)
def test_arrays_of_every_layout_come_back(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    back = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(back, array)
    assert type(back) is np.ndarray and back.flags.writeable and back.flags.f_contiguous == array.flags.f_contiguous


def test_a_real_zip_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", codes=np.zeros(3))
    with pytest.raises(UserError, match="holds no array"):
        read_array(tmp_path / "a.npz")
