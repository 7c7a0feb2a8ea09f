"""Folders of images, data sets of torchvision, and what is fetched."""

import dataclasses
import errno
import json
import os
import pickle
import struct
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from iglo.data.image_io import FORMATS
from iglo.data.lines import draw_lines
from iglo.data.sources import EXTENSIONS, fetch, folder_source, open_source
from iglo.errors import UserError
from iglo.evaluation.lines import nearest_lines
from iglo.files.folders import natural_key
from tests.data.images import noise, prepare, save

# --- Folders ---


def test_natural_order():
    names = ["b/1.png", "frog-10.png", "frog-2.png", "10/a.png", "9/b.png", "frog-1.png", "frog-01.png"]
    ordered = ["9/b.png", "10/a.png", "b/1.png", "frog-01.png", "frog-1.png", "frog-2.png", "frog-10.png"]
    assert sorted(names, key=natural_key) == ordered


def test_folder_labels_extensions_and_ignored_files(data, tmp_path):
    root = Path(data.path)
    for name in ("top.png", "cats/2019/a.JPG", "cats/b.jpeg", "dogs/10.TIFF", "dogs/9.Bmp", "dogs/x.webp"):
        save(root / name, noise(16, 16, 3))
    for name in ("notes.txt", ".hidden.png", ".cache/a.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    (root / "dogs" / "loop").symlink_to(root)
    (root / "up").symlink_to(root.parent)
    store, report = prepare(data, tmp_path)
    assert store.names == ("cats/2019/a.JPG", "cats/b.jpeg", "dogs/9.Bmp", "dogs/10.TIFF", "dogs/x.webp", "top.png")
    assert store.labels == ("cats", "cats", "dogs", "dogs", "dogs", "")
    assert store.classes == ("", "cats", "dogs") and store.label_ids.tolist() == [1, 1, 2, 2, 2, 0]
    assert report["labels"] == {"": 1, "cats": 2, "dogs": 3}
    assert report["ignored"] == {"count": 3, "first": [".cache/", ".hidden.png", "notes.txt"]}


def test_every_extension_of_the_formats_is_read():
    """They include .jfif and .jpe. A newer Pillow may know more."""
    known = {extension for extension, name in Image.registered_extensions().items() if name in FORMATS}
    assert {".jfif", ".jpe", ".jpg", ".png", ".webp", ".tif"} <= known <= set(EXTENSIONS)


@pytest.mark.parametrize("links", [1, 2])
def test_links_between_folders_list_each_image_once(tmp_path, links):
    """With two links in each folder, the search once never ended."""
    root = tmp_path / "pics"
    for folder, other in ("ab", "ba"):
        for number in range(4):
            save(root / folder / f"{number}.png", noise(16, 16))
        for number in range(links):
            (root / folder / f"link{number}").symlink_to(f"../{other}")
    (root / "a" / "0-again.png").symlink_to("0.png")  # a link to a file of the same folder
    source = folder_source(root, "data.path")
    assert source.names == tuple(f"{folder}/{number}.png" for folder in "ab" for number in range(4))
    assert source.labels == ("a",) * 4 + ("b",) * 4


def test_links_out_of_the_folder_are_followed_once(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "pics"
    for name in ("x/1.png", "x/2.png", "y/3.png"):
        save(outside / name, noise(16, 16))
    root.mkdir()
    for name, target in (("all", ""), ("x", "x"), ("3.png", "y/3.png"), ("4.png", "../outside/y/3.png")):
        (root / name).symlink_to(outside / target)
    assert folder_source(root, "data.path").names == ("all/x/1.png", "all/x/2.png", "all/y/3.png")
    (root / "all").unlink()
    assert folder_source(root, "data.path").names == ("3.png", "x/1.png", "x/2.png")


def test_the_order_does_not_depend_on_the_disk(tmp_path, monkeypatch):
    root = tmp_path / "pics"
    for name in ("b/1.png", "a/1.png", "a/10.png", "a/2.png"):
        save(root / name, noise(16, 16))
    for name in ("l1", "l0"):
        (root / name).symlink_to(tmp_path / "outside")
    save(tmp_path / "outside" / "1.png", noise(16, 16))
    names = folder_source(root, "data.path").names
    scandir = os.scandir

    @contextmanager
    def reversed_entries(path):
        with scandir(path) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr(os, "scandir", reversed_entries)
    expected = ("a/1.png", "a/2.png", "a/10.png", "b/1.png", "l0/1.png")
    assert folder_source(root, "data.path").names == names == expected


def test_names_of_any_bytes_are_kept_and_printed_on_one_line(data, tmp_path):
    odd = [
        os.fsdecode(name)
        for name in (b"caf\xe9", b"a,b", b'"q"', b"new\nline", b"cr\rend", b"esc\x1b[31m", b"\xe7\x8c\xab")
    ]
    for name in odd:
        save(Path(data.path, name, "1.png"), noise(16, 16, 3))
    store, report = prepare(data, tmp_path)
    assert set(store.classes) == set(odd) == set(report["labels"])
    assert set(store.names) == {f"{name}/1.png" for name in odd}
    for name in odd:
        Path(data.path, name, "1.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        prepare(data, tmp_path)
    said = str(error.value)
    assert said.isprintable() and r"caf\udce9/1.png" in said and r"new\nline/1.png" in said and "猫/1.png" in said


@pytest.mark.parametrize("key", ["path", "root"])
def test_an_invalid_name_is_one_sentence(data, key):
    celeba = {"source": "torchvision", "dataset": "CelebA"} if key == "root" else {}
    for name in ("a" * 300, "null\0"):
        with pytest.raises(UserError, match=rf"^data\.{key}: cannot be read .*(too long|null)"):
            open_source(dataclasses.replace(data, **celeba | {key: name}), "raw")


def denied(monkeypatch, call: str, place: Path) -> None:
    """Makes `call` fail for `place` as if another user ran the test."""
    known = getattr(os, call)

    def refuse(path, *arguments, **options):
        if os.path.abspath(path) == str(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return known(path, *arguments, **options)

    monkeypatch.setattr(os, call, refuse)


def test_a_folder_without_permission_is_one_sentence(data, tmp_path, monkeypatch):
    save(Path(data.path, "a", "b", "1.png"), noise(16, 16))
    with monkeypatch.context() as patch:
        denied(patch, "scandir", Path(data.path, "a", "b"))
        with pytest.raises(UserError, match=r"a/b: cannot list the folder \(permission denied\)"):
            open_source(data, "raw")
    denied(monkeypatch, "stat", Path(data.path))
    with pytest.raises(UserError, match=r"data\.path: cannot be read '.*' \(permission denied\)"):
        open_source(data, "raw")


def test_a_folder_that_is_empty_or_missing(data):
    with pytest.raises(UserError, match=r"data\.path: no images in"):
        open_source(data, "raw")
    with pytest.raises(UserError, match=r"data\.path: no folder 'nowhere'"):
        open_source(dataclasses.replace(data, path="nowhere"), "raw")


# --- Data sets ---


def test_digits(data, tmp_path):
    digits = dataclasses.replace(data, source="digits", channels=1, train=1500)
    first, second = (prepare(digits, tmp_path)[0] for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.shape == (1797, 16, 16, 1) and first.classes == tuple("0123456789")
    assert first.images.min() == 0 and first.images.max() == 255 and first.labels[:3] == ("0", "1", "2")


def test_lines(data, tmp_path):
    lines = dataclasses.replace(data, source="lines", channels=1, image_size=32, train=30, validation=4, test=6)
    store, again = (prepare(lines, tmp_path)[0] for _ in range(2))
    np.testing.assert_array_equal(store.images, again.images)
    assert store.images.shape == (40, 32, 32, 1)
    degrees = np.array([float(name.rpartition("-")[2]) for name in store.names])  # the name has the true angle
    _, angles = nearest_lines(store.images / 255)
    assert np.abs((np.degrees(angles) - degrees + 180) % 360 - 180).max() < 0.5
    other, _ = prepare(dataclasses.replace(lines, seed=1), tmp_path)
    assert set(other.names).isdisjoint(store.names)


@pytest.mark.parametrize(("angle", "row", "column"), [(0, 16, 28), (90, 3, 16), (180, 16, 3), (270, 28, 16)])
def test_a_line_goes_from_the_centre_to_the_border(angle, row, column):
    image = draw_lines(np.radians([angle]), 32)[0]
    assert image[row, column] == 255 and image[15, 15] > 0  # angle 0 to the right, 90 up
    opposite = image[::-1, ::-1]
    assert opposite[row, column] == 0


def write_mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 4), ("t10k", 2)):
        pixels, labels = noise(count, 28, 28), np.arange(count, dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())


def write_cifar(root: Path, monkeypatch) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data", "test"):
        (folder / name).write_bytes(pickle.dumps({"data": noise(4, 3072), "labels": [6, 0, 6, 1]}))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [("data", None)])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [("test", None)])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": "meta", "key": "label_names", "md5": None})


def test_mnist_files(data, tmp_path):
    mnist = dataclasses.replace(data, source="torchvision", dataset="MNIST", root=str(tmp_path), train=4, channels=1)
    with pytest.raises(UserError, match=r"data\.root: no usable files of MNIST in .* \(Dataset not found\)"):
        open_source(mnist, tmp_path)
    write_mnist(tmp_path)
    store, _ = prepare(dataclasses.replace(mnist, image_size=32), tmp_path)
    assert store.names == ("train-0", "train-1", "train-2", "train-3", "test-0", "test-1")
    assert store.labels == ("0", "1", "2", "3", "0", "1") and store.images.shape == (6, 32, 32, 1)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:100])
    with pytest.raises(UserError, match=r"data\.root: no usable files of MNIST"):
        open_source(mnist, tmp_path)


def test_cifar_classes(data, tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch)
    cifar = dataclasses.replace(data, source="torchvision", dataset="CIFAR10", root=str(tmp_path), image_size=32)
    store, _ = prepare(dataclasses.replace(cifar, classes=("frog",)), tmp_path)
    assert store.names == ("train-0", "train-2", "test-0", "test-2") and store.classes == ("frog",)
    np.testing.assert_array_equal(store.images[1], noise(4, 3072)[2].reshape(3, 32, 32).transpose(1, 2, 0))
    with pytest.raises(UserError, match=r"data\.classes: no class 'toad' in CIFAR10; it has airplane, auto.*, truck"):
        open_source(dataclasses.replace(cifar, classes=("frog", "toad")), tmp_path)


def test_celeba_folder(data, tmp_path):
    celeba = dataclasses.replace(data, source="torchvision", dataset="CelebA", root=str(tmp_path))
    with pytest.raises(UserError, match=r"data\.root: no usable files of CelebA"):
        open_source(celeba, tmp_path)
    for number in (1, 2):
        save(tmp_path / "celeba" / "img_align_celeba" / f"00000{number}.jpg", noise(218, 178, 3))
    store, _ = prepare(celeba, tmp_path)
    assert store.names == ("000001.jpg", "000002.jpg") and store.classes == ("",)
    with pytest.raises(UserError, match=r"data\.classes: must be \[\]"):
        open_source(dataclasses.replace(celeba, classes=("smile",)), tmp_path)


def test_real_mnist(data, tmp_path, shared):
    mnist = dataclasses.replace(data, source="torchvision", root=str(shared / "data" / "mnist"), train=8, test=2)
    store, _ = prepare(dataclasses.replace(mnist, channels=1), tmp_path)
    assert store.labels == ("5", "0", "4", "1", "9", "2", "1", "3", "1", "4")


# --- Fetching ---


def test_nothing_is_fetched_for_a_folder(data, tmp_path):
    fetch(data, tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "source.json").read_text()) == {"source": "folder", "brought": None}


def test_a_download_that_fails_is_one_sentence(data, tmp_path, monkeypatch):
    def no_network(self):
        raise OSError("<urlopen error\n no network>")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    with pytest.raises(UserError, match=r"cannot download MNIST \(<urlopen error no network>\).*data\.root"):
        fetch(dataclasses.replace(data, source="torchvision", root=None), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
