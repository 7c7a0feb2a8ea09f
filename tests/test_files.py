"""The whole of a file or folder under its name, or what was there before."""

import errno

import numpy as np
import pytest
from safetensors import SafetensorError

from iglo.errors import UserError
from iglo.files import disk_full_is_a_user_error, read_array, read_json, whole_file, whole_folder, write_json

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
    (place / ".model.partial").mkdir()
    (place / ".model.partial" / "stale.txt").write_text("stale")
    with whole_folder(place / "model") as folder:
        (folder / "new.txt").write_text("new")
    assert tree(place / "model") == {"new.txt": "new"}


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
    with pytest.raises(UserError, match=r"a\.json: holds no JSON .*run the stage"):
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
        b"PK\x03\x04 and so on",
        b"",
    ],
    ids=["petabytes", "wraps around", "long", "negative", "deep", "objects", "zip", "empty"],
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
