"""Arrays and JSON: read as written, and refused if damaged."""

import numpy as np
import pytest

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_json


def test_arrays_and_json_are_read_as_written(tmp_path):
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
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
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
def test_an_array_with_a_wrong_header_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    for mmap in (None, "r", "c"):
        with pytest.raises(UserError, match=r"a\.npy: holds no array"):
            read_array(tmp_path / "a.npy", mmap)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4), np.float32), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(3)]
)
def test_arrays_of_every_layout_are_read_as_written(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    back = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(back, array)
    assert type(back) is np.ndarray and back.flags.writeable and back.flags.f_contiguous == array.flags.f_contiguous


def test_a_real_zip_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", codes=np.zeros(3))
    with pytest.raises(UserError, match="holds no array"):
        read_array(tmp_path / "a.npz")
