"""Prepared images: the split, bad files, duplicates, memory, and the folder that holds them."""

import dataclasses
import errno
import json
import os
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFile

from iglo.data import image_io, writing
from iglo.data.image_io import load_image_and_shape
from iglo.data.store import ImageStore
from iglo.errors import UserError
from stages.fetch import main as fetch_main
from stages.prepare import main as prepare_main
from tests.data.images import noise, prepare, save, save_many, truncated


def test_images_are_padded_with_fit_pad(data, tmp_path):
    save_many(data, 2)
    padded, _ = prepare(dataclasses.replace(data, image_size=32, fit="pad"), tmp_path)
    resized, _ = prepare(dataclasses.replace(data, image_size=32), tmp_path)
    np.testing.assert_array_equal(padded.images[0, 8:-8, 8:-8], noise(16, 16, 3, seed=1))
    assert not padded.images[0, :8].any() and resized.images[0, :8].any()


def test_split_by_count(data, tmp_path):
    save_many(data, 12)
    store, report = prepare(dataclasses.replace(data, train=7, validation=2, test=2), tmp_path)
    assert store.names == tuple(f"frog-{number}.png" for number in range(1, 12))
    assert [len(part) for part in (store.train, store.validation, store.test)] == [7, 2, 2] == list(store.parts)
    np.testing.assert_array_equal(store.validation[0], noise(16, 16, 3, seed=8))
    np.testing.assert_array_equal(store.test[0], noise(16, 16, 3, seed=10))
    assert isinstance(store.train, np.memmap) and not store.train.flags.writeable
    assert store.images.dtype == np.uint8 and report["images"] == {"train": 7, "validation": 2, "test": 2}


def test_split_by_shuffle_follows_the_seed(data, tmp_path):
    save_many(data, 12)
    shuffled = dataclasses.replace(data, train=9, shuffle=True)
    first, again, other = (prepare(dataclasses.replace(shuffled, seed=seed), tmp_path)[0] for seed in (0, 0, 1))
    assert first.names == again.names != other.names
    assert set(first.names) == set(other.names) and len(set(first.names)) == 12
    number = int(first.names[3].removeprefix("frog-").removesuffix(".png"))
    np.testing.assert_array_equal(first.images[3], noise(16, 16, 3, seed=number))


@pytest.mark.parametrize(
    ("train", "validation", "test", "words"),
    [
        (3, 0, 2, "3, 0 and 2 images,"),
        (2, 1, 2, "2, 1 and 2 images,"),
        (4, 0, None, "and at least 1 images,"),
        (None, 1, 3, "at least 1, 1 and 3 images,"),
        (3, None, None, "3, at least 1 and at least 1 images,"),
    ],
)
def test_too_few_images_are_one_sentence(data, tmp_path, train, validation, test, words):
    save_many(data, 4)
    with pytest.raises(UserError, match=rf"data\.train.*{words}.* has 4;"):
        prepare(dataclasses.replace(data, train=train, validation=validation, test=test), tmp_path)


def test_duplicates_are_counted(data, tmp_path):
    save_many(data, 3)
    for name in ("frog-4.png", "frog-5.png"):
        save(Path(data.path, name), noise(16, 16, 3, seed=3))
    save(Path(data.path, "frog-6.png"), noise(16, 16, 3, seed=1))
    _, report = prepare(dataclasses.replace(data, train=2), tmp_path)
    groups = [["frog-1.png", "frog-6.png"], ["frog-3.png", "frog-4.png", "frog-5.png"]]
    expected = {"groups": 2, "images": 5, "groups_across_parts": 1, "first": groups}
    assert report["duplicates"] == expected


BAD = {
    "empty.png": (lambda path: path.write_bytes(b""), "empty file"),
    "text.jpg": (lambda path: path.write_text("no image at all"), "not a PNG"),
    "half.png": (truncated, "damaged"),
    "half.jpg": (truncated, "damaged"),
    "half.WebP": (truncated, "damaged"),
    "half.bmp": (truncated, "damaged"),
    "half.tif": (truncated, "damaged"),
    "gone.png": (lambda path: path.symlink_to("nowhere.png"), "no such file"),
    "small.png": (lambda path: save(path, noise(7, 40)), "40×7 pixels"),
    "bomb.png": (lambda path: save(path, np.zeros((50, 50), np.uint8)), "pixels, more than 2000"),
    "worse-bomb.png": (lambda path: save(path, np.zeros((70, 70), np.uint8)), "more than 2000 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_or_skipped(data, tmp_path, monkeypatch, name, capfd):
    make, reason = BAD[name]
    save_many(data, 2)
    make(Path(data.path, name))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000 if "bomb" in name else 10**6)
    with pytest.raises(UserError, match=r"data\.on_error") as error:
        prepare(data, tmp_path)
    assert name in str(error.value) and reason in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "prepared").exists()
    store, report = prepare(dataclasses.replace(data, on_error="skip"), tmp_path)
    assert store.names == ("frog-1.png", "frog-2.png")
    assert report["skipped"]["count"] == 1 and reason in report["skipped"]["reasons"][name]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(data, tmp_path):
    save_many(data, 2)
    Path(data.path, "frog-2.png").chmod(0)
    with pytest.raises(UserError, match=r"frog-2\.png \(permission denied\)"):
        prepare(data, tmp_path)


def test_all_bad_files_are_collected(data, tmp_path):
    save_many(data, 2)
    for number in range(12):
        Path(data.path, f"bad-{number}.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"bad-9\.png \(not a PNG.* and 2 more cannot be used"):
        prepare(data, tmp_path)


def test_too_few_images_after_skipping_name_the_skipped_ones(data, tmp_path):
    save_many(data, 1)
    Path(data.path, "bad.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"has 1, beside bad\.png \(empty file\)"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


@pytest.mark.parametrize(
    "breakage",
    [
        "missing",
        "truncated",
        "unequal",
        "other columns",
        "parts out of order",
        "unknown part",
        "no test part",
        "short row",
        "empty",
    ],
)
def test_a_damaged_folder_of_prepared_images_is_refused(data, tmp_path, breakage):
    save_many(data, 3)
    prepare(data, tmp_path)
    images, index = tmp_path / "prepared" / "images.npy", tmp_path / "prepared" / "index.csv"
    if breakage == "missing":
        images.unlink()
    elif breakage == "truncated":
        images.write_bytes(images.read_bytes()[:200])
    else:
        lines = index.read_text().splitlines(keepends=True)
        broken = {
            "unequal": lines[:-1],
            "other columns": ["id,file,label,split\n", *lines[1:]],
            "parts out of order": [lines[0], *lines[:0:-1]],
            "unknown part": [line.replace(",train", ",val") for line in lines],
            "no test part": [line.replace(",test", ",train") for line in lines],
            "short row": [*lines[:-1], "2,frog-3.png\n"],
            "empty": [],
        }
        index.write_text("".join(broken[breakage]))
    with pytest.raises(UserError, match="no folder of prepared images"):
        ImageStore.open(tmp_path / "prepared")


# --- Memory ---


def test_large_images_are_decoded_one_at_a_time_and_in_order(data, tmp_path, monkeypatch):
    for number in range(12):
        save(Path(data.path, f"{number}.png"), np.full((16 + 16 * (number % 3),) * 2, 20 * number, np.uint8))
    threads = defaultdict(set)

    def noted(*arguments):
        found = load_image_and_shape(*arguments)
        threads[found[0][0, 0, 0] // 20 % 3].add(threading.current_thread())
        return found

    monkeypatch.setattr(writing, "load_image_and_shape", noted)
    monkeypatch.setattr(writing, "MAX_PIXELS_AT_ONCE", writing._WORKERS * 16 * 16)
    prepared, _ = prepare(data, tmp_path)
    assert [image[0, 0, 0] for image in prepared.images] == [20 * number for number in range(12)]
    assert threads[1] == threads[2] == {threading.main_thread()} and not threads[0] & threads[1]


@pytest.mark.parametrize(
    "failure", [MemoryError(), OSError("out of memory when reading image file"), OSError(errno.ENOMEM, "no memory")]
)
def test_too_little_memory_is_not_a_bad_image(data, tmp_path, monkeypatch, failure):
    """If the image were left out, the data set would depend on the memory of other programs."""

    def fail(image):
        raise failure

    save_many(data, 3)
    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UserError, match=r"frog-1\.png: there is not enough memory"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


def test_a_failure_with_too_little_memory_is_not_a_bad_image(data, tmp_path, monkeypatch):
    """libjpeg says `broken data stream` in both cases."""
    save_many(data, 2)
    truncated(Path(data.path, "half.jpg"))
    with pytest.raises(UserError, match=r"half\.jpg \(damaged"):
        prepare(data, tmp_path)
    monkeypatch.setattr(image_io, "BYTES_PER_PIXEL", 2**24)
    with pytest.raises(UserError, match=r"half\.jpg: there is not enough memory"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


# --- The stages ---


def test_stages(params, tmp_path, capsys):
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", noise(16, 16, 3, seed=number))
    params["data"] |= {"source": "folder", "path": str(tmp_path / "images"), "image_size": 16}
    params["data"] |= {"train": 2, "validation": 1, "test": None}
    params["rounds"] = [{"id": 1, "after": 0, "clusters": 1, "per_cluster": None, "epochs": 1}]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    common = ["--params", f"{tmp_path}/params.yaml", "--timing", f"{tmp_path}/timing.json"]
    fetch_main(["--out", f"{tmp_path}/raw", *common])
    prepare_main(["--raw", f"{tmp_path}/raw", "--out", f"{tmp_path}/prepared", *common])
    assert ImageStore.open(tmp_path / "prepared").parts == (2, 1, 1)
    assert "images_per_s" in json.loads((tmp_path / "timing.json").read_text())

    (tmp_path / "images" / "0.png").write_text("no image")
    with pytest.raises(SystemExit) as stop:
        prepare_main(["--raw", f"{tmp_path}/raw", "--out", f"{tmp_path}/other", *common])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and len(lines) == 1 and lines[0].startswith("error: ") and "0.png" in lines[0]
