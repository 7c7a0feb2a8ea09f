import dataclasses
import errno
import importlib.util
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import zlib
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFile
from torchvision import datasets

from iglo.data import image_io, store
from iglo.data.image_io import FORMATS, BadImageError, LargeImageError, decode
from iglo.data.sources import EXTENSIONS, fetch, folder_source, open_source
from iglo.data.store import ImageStore, natural_key, write_store
from iglo.errors import UserError
from iglo.params.sections import DataParams, Params, load_params
from stages.fetch import main as fetch_main
from stages.prepare import main as prepare_main


@pytest.fixture
def data(params, tmp_path) -> DataParams:
    """Params of a folder that is empty so far, one training image, all the rest for test, 16×16, three channels."""
    (tmp_path / "images").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    loaded: Params = load_params(tmp_path / "params.yaml")
    folder = {"source": "folder", "path": str(tmp_path / "images"), "train": 1, "shuffle": False}
    return dataclasses.replace(loaded.data, image_size=16, channels=3, **folder)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_many(data: DataParams, count: int) -> None:
    for number in range(1, count + 1):
        save(Path(data.path, f"frog-{number}.png"), noise(16, 16, 3, seed=number))


def prepare(data: DataParams, tmp_path: Path, seed: int = 0) -> tuple[ImageStore, dict]:
    out = tmp_path / "prepared"
    write_store(open_source(data, tmp_path / "raw"), data, seed, out)
    return ImageStore.open(out), json.loads((out / "report.json").read_text())


def test_natural_order():
    names = ["b/1.png", "frog-10.png", "frog-2.png", "10/a.png", "9/b.png", "frog-1.png", "frog-01.png"]
    ordered = ["9/b.png", "10/a.png", "b/1.png", "frog-01.png", "frog-1.png", "frog-2.png", "frog-10.png"]
    assert sorted(names, key=natural_key) == ordered


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_becomes_white(tmp_path, mode):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:8, :, 3] = 255  # the upper half is opaque black, the lower clear black
    if mode in ("P", "L"):  # a palette or grey level that is declared transparent
        image = Image.fromarray(np.repeat(np.array([0, 1], np.uint8), 8)[:, None].repeat(16, 1), "L")
        if mode == "P":
            image = image.convert("P")
            image.putpalette([0] * 768)
        image.save(tmp_path / "a.png", transparency=1)
    else:
        save(tmp_path / "a.png", pixels, mode)
    out = decode(tmp_path / "a.png", 16, 3)
    assert (out[:8] == 0).all() and (out[8:] == 255).all()


def test_half_transparency_is_mixed_with_white(tmp_path):
    pixels = np.full((16, 16, 4), (0, 0, 0, 51), np.uint8)
    assert (decode(save(tmp_path / "a.png", pixels), 16, 1) == 204).all()


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_16_bits_keep_their_range(tmp_path, extension):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    out = decode(save(tmp_path / f"a.{extension}", levels * 257), 16, 1)
    np.testing.assert_array_equal(out[..., 0], levels)


def test_floats_are_in_0_to_1_but_for_rounding(tmp_path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    over = np.where(ramp == 1, np.float32(1.0000001), ramp)  # such a pixel once made all others black
    assert over.max() > 1
    for pixels in (ramp, over):
        np.testing.assert_array_equal(decode(save(tmp_path / "a.tiff", pixels), 16, 1).ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((16, 16), 1.01, np.float32), r"floats must be in \[0, 1\], got 1\.01 to 1\.01"),
        (np.full((16, 16), np.nan, np.float32), r"floats must be in \[0, 1\], got nan"),
        (np.full((16, 16), 200, np.int32), "32-bit or signed integers do not say which value is white"),
    ],
)
def test_values_that_say_nothing_of_white_are_refused(tmp_path, pixels, reason):
    with pytest.raises(BadImageError, match=reason):
        decode(save(tmp_path / "a.tiff", pixels), 16, 1)


def tiff(path: Path, pixels: np.ndarray, bits: int, kind: int, photometric: int = 1) -> Path:
    """An uncompressed little-endian TIFF of 16×16 samples of `bits`: 1 unsigned, 2 signed, 3 floating point."""
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16, 279: pixels.nbytes}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in (tags | {339: kind}).items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + pixels.nbytes) + pixels.tobytes() + directory)
    return path


def test_tiffs_whose_black_or_white_is_another(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    inverted = tiff(tmp_path / "a.tiff", levels * 257, bits=16, kind=1, photometric=0)
    np.testing.assert_array_equal(decode(inverted, 16, 1)[..., 0], 255 - levels)
    floats = tiff(tmp_path / "b.tiff", (levels / 255).astype(np.float32), bits=32, kind=3, photometric=0)
    np.testing.assert_array_equal(decode(floats, 16, 1)[..., 0], 255 - levels)
    packed = np.array([0xFF, 0xFF, 0xFF, 0x80, 0x08, 0x00] * 64, np.uint8)  # samples of 12 bits: 4095, 4095, 2056, 2048
    twelve = tiff(tmp_path / "c.tiff", packed, bits=12, kind=1)
    assert decode(twelve, 16, 1)[0, :4, 0].tolist() == [255, 255, 128, 128]


@pytest.mark.parametrize(
    ("dtype", "kind", "reason"),
    [
        (np.int16, 2, "32-bit or signed integers"),
        (np.uint32, 1, "32-bit or signed integers"),
        (np.float64, 3, "a TIFF file that is damaged, or of a kind that Pillow cannot read, such as 64-bit floats"),
    ],
)
def test_tiffs_of_other_kinds_are_refused_by_name(tmp_path, dtype, kind, reason):
    pixels = np.ones((16, 16), dtype)
    with pytest.raises(BadImageError, match=reason):
        decode(tiff(tmp_path / "a.tiff", pixels, 8 * pixels.itemsize, kind), 16, 1)


def png(path: Path, pixels: np.ndarray, depth: int, colour: int, **chunks: bytes) -> Path:
    """A PNG of rows of bytes: colour 0 is grey, 2 is RGB; `chunks` come before the pixels."""

    def chunk(name: str, content: bytes) -> bytes:
        checksum = zlib.crc32(name.encode() + content)
        return struct.pack(">I", len(content)) + name.encode() + content + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", 16, len(pixels), depth, colour, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    ordered = {"IHDR": header, **chunks, "IDAT": rows, "IEND": b""}
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in ordered.items()))
    return path


@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)])
def test_a_colour_that_a_png_declares_transparent_is_white_at_any_depth(tmp_path, depth, colour):
    """The upper half has a low level that is declared transparent; the lower half is black."""
    values, level = (1, 3)[colour == 2], 1000 if depth == 16 else 1
    if depth < 8:
        row = np.full(16 * depth // 8, sum(1 << shift for shift in range(0, 8, depth)), np.uint8)
    else:
        row = np.full(16 * values, level)
    pixels = np.concatenate([np.tile(row, (8, 1)), np.zeros((8, len(row)))]).astype(">u2" if depth == 16 else np.uint8)
    out = decode(png(tmp_path / "a.png", pixels, depth, colour, tRNS=struct.pack(">H", level) * values), 16, 1)
    assert (out[:8] == 255).all() and (out[8:] == 0).all()


@pytest.mark.parametrize("chunk", ["zTXt", "iTXt", "iCCP"])
def test_an_image_with_much_text_is_an_image(tmp_path, chunk):
    packed = zlib.compress(bytes(2 * 1024 * 1024))
    content = {"zTXt": b"Comment\0\0", "iTXt": b"Comment\0\1\0\0\0", "iCCP": b"profile\0\0"}[chunk] + packed
    pixels = noise(16, 16)
    found = decode(png(tmp_path / "a.png", pixels, 8, 0, **{chunk: content}), 16, 1)
    np.testing.assert_array_equal(found[..., 0], pixels)


def test_grey_and_cmyk_have_the_channels_asked_for(tmp_path):
    grey = noise(16, 16)
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", grey), 16, 3), grey[..., None].repeat(3, 2))
    assert decode(save(tmp_path / "a.jpg", noise(20, 20, 3), "CMYK"), 16, 3).shape == (16, 16, 3)
    assert decode(save(tmp_path / "b.png", noise(20, 20, 3)), 16, 1).shape == (16, 16, 1)


@pytest.mark.parametrize("extension", ["png", "webp", "bmp", "tif"])
def test_an_image_of_the_size_keeps_every_bit(tmp_path, extension):
    pixels = noise(16, 23, 3)
    path = save(tmp_path / f"a.{extension}", pixels, **({"lossless": True} if extension == "webp" else {}))
    np.testing.assert_array_equal(decode(path, 16, 3), pixels[:, 3:19])


@pytest.mark.parametrize(("shape", "top", "left"), [((28, 28), 2, 2), ((20, 30, 3), 6, 1), ((32, 9, 3), 0, 11)])
def test_padding_keeps_every_pixel_in_the_middle_of_black(shape, top, left):
    pixels = noise(*shape)
    out = decode(pixels, 32, 3 if len(shape) == 3 else 1, pad=True).squeeze().copy()
    inside = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    np.testing.assert_array_equal(out[inside], pixels)
    out[inside] = 0
    assert not out.any()


@pytest.mark.parametrize("shape", [(32, 32, 3), (40, 36, 3), (20, 33, 3)])
def test_an_image_that_is_as_large_or_larger_is_not_padded(shape):
    np.testing.assert_array_equal(decode(noise(*shape), 32, 3, pad=True), decode(noise(*shape), 32, 3))


def test_images_are_padded_where_that_is_asked_for(data, tmp_path):
    save_many(data, 2)
    padded, _ = prepare(dataclasses.replace(data, image_size=32, fit="pad"), tmp_path)
    resized, _ = prepare(dataclasses.replace(data, image_size=32), tmp_path)
    np.testing.assert_array_equal(padded.images[0, 8:-8, 8:-8], noise(16, 16, 3, seed=1))
    assert not padded.images[0, :8].any() and resized.images[0, :8].any()


def test_the_centre_square_is_resized_with_antialiasing(tmp_path):
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    wide = np.concatenate([np.zeros((64, 40), np.uint8), checks.astype(np.uint8), np.zeros((64, 40), np.uint8)], 1)
    out = decode(save(tmp_path / "a.png", wide), 16, 1).astype(int)
    assert abs(out[2:-2, 2:-2] - 127.5).max() < 4  # fine checks turn grey, not into stripes


def test_exif_orientation_and_first_frame(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    turned = decode(save(tmp_path / "a.png", pixels, exif=exif), 16, 1)
    assert (turned[:, 8:] == 255).all() and (turned[:, :8] == 0).all()
    Image.fromarray(pixels).save(
        tmp_path / "b.tiff", save_all=True, append_images=[Image.fromarray(pixels[::-1].copy())]
    )
    np.testing.assert_array_equal(decode(tmp_path / "b.tiff", 16, 3), pixels)


def truncated(path: Path) -> None:
    kept = save(path, noise(64, 64, 3)).read_bytes()
    path.write_bytes(kept[: len(kept) // 2])


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


def test_skipping_that_leaves_too_few_says_why(data, tmp_path):
    save_many(data, 1)
    Path(data.path, "bad.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"has 1, beside bad\.png \(empty file\)"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


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


def test_every_extension_of_the_formats_is_taken():
    """They include .jfif and .jpe. A newer Pillow may know more."""
    known = {extension for extension, name in Image.registered_extensions().items() if name in FORMATS}
    assert {".jfif", ".jpe", ".jpg", ".png", ".webp", ".tif"} <= known <= set(EXTENSIONS)


@pytest.mark.parametrize("links", [1, 2])
def test_links_between_folders_multiply_nothing(tmp_path, links):
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


def test_the_order_of_a_folder_is_not_the_disks(tmp_path, monkeypatch):
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


def test_names_of_any_bytes_come_back_and_are_told_on_one_line(data, tmp_path):
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
def test_a_name_that_the_file_system_refuses_is_one_sentence(data, key):
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


def test_a_folder_that_may_not_be_read_is_one_sentence(data, tmp_path, monkeypatch):
    save(Path(data.path, "a", "b", "1.png"), noise(16, 16))
    with monkeypatch.context() as patch:
        denied(patch, "scandir", Path(data.path, "a", "b"))
        with pytest.raises(UserError, match=r"a/b: cannot list the folder \(permission denied\)"):
            open_source(data, "raw")
    denied(monkeypatch, "stat", Path(data.path))
    with pytest.raises(UserError, match=r"data\.path: cannot be read '.*' \(permission denied\)"):
        open_source(data, "raw")


# --- Memory ---


KINDS = {"webp": {}, "WebP": {"lossless": True}, "png": {}, "tiff": {}, "bmp": {}, "jpg": {}}


@pytest.mark.parametrize("extension", KINDS)
def test_a_large_image_is_not_decoded_beside_others(tmp_path, monkeypatch, extension):
    """WebP is decoded when it is opened, and JPEG at a reduced size."""
    path = save(tmp_path / f"a.{extension}", noise(320, 200, 3), **KINDS[extension])
    pixels = 320 * 200 // (4 if extension == "jpg" else 1)
    decode(path, 16, 3, most=pixels)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    if extension.lower() == "webp":
        monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(LargeImageError):
        decode(path, 16, 3, most=pixels - 1)


def test_large_images_are_decoded_one_at_a_time_and_in_order(data, tmp_path, monkeypatch):
    for number in range(12):
        save(Path(data.path, f"{number}.png"), np.full((16 + 16 * (number % 3),) * 2, 20 * number, np.uint8))
    threads = defaultdict(set)

    def noted(*arguments):
        found = decode(*arguments)
        threads[found[0, 0, 0] // 20 % 3].add(threading.current_thread())
        return found

    monkeypatch.setattr(store, "decode", noted)
    monkeypatch.setattr(store, "AT_ONCE", store._WORKERS * 16 * 16)
    prepared, _ = prepare(data, tmp_path)
    assert [image[0, 0, 0] for image in prepared.images] == [20 * number for number in range(12)]
    assert threads[1] == threads[2] == {threading.main_thread()} and not threads[0] & threads[1]


def test_a_large_webp_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.webp", noise(50, 50, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(BadImageError, match="2500 pixels, more than 2000"):
        decode(path, 16, 3)


@pytest.mark.parametrize(
    "failure", [MemoryError(), OSError("out of memory when reading image file"), OSError(errno.ENOMEM, "no memory")]
)
def test_want_of_memory_is_not_damage(data, tmp_path, monkeypatch, failure):
    """If the image were left out, the data set would depend on the memory of other programs."""

    def fail(image):
        raise failure

    save_many(data, 3)
    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UserError, match=r"frog-1\.png: there is not enough memory"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


def test_a_failure_with_too_little_memory_may_not_be_damage(data, tmp_path, monkeypatch):
    """libjpeg says `broken data stream` in both cases."""
    save_many(data, 2)
    truncated(Path(data.path, "half.jpg"))
    with pytest.raises(UserError, match=r"half\.jpg \(damaged"):
        prepare(data, tmp_path)
    monkeypatch.setattr(image_io, "BYTES", 2**24)
    with pytest.raises(UserError, match=r"half\.jpg: there is not enough memory"):
        prepare(dataclasses.replace(data, on_error="skip"), tmp_path)


def test_a_large_image_takes_little_memory(tmp_path):
    """float32, 16 bits and alpha take less than 10 bytes per pixel; before, they took 32, 28 and 16."""
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from iglo.data.image_io import decode
decode(np.zeros((16, 16), np.uint8), 16, 3)
used = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
for name in sys.argv[1:]:
    decode(Path(name), 16, 3)
    used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print((used[-1] - used[0]) * (1 if sys.platform == "darwin" else 1024))
"""
    side = 2000
    names = [
        save(tmp_path / "a.tiff", np.zeros((side, side), np.float32), compression="tiff_adobe_deflate"),
        save(tmp_path / "b.png", np.zeros((side, side), np.uint16)),
        save(tmp_path / "c.png", np.zeros((side, side, 4), np.uint8), compress_level=1),
    ]
    done = subprocess.run([sys.executable, "-c", script, *map(str, names)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12 * side**2


def test_a_jpeg_that_is_far_larger_is_decoded_smaller_and_looks_the_same(tmp_path):
    rows, columns = np.indices((512, 520)) / 40
    scene = np.stack([np.sin(rows) * np.cos(columns), np.sin(rows + 1), np.cos(columns * 2)], axis=2)
    path = save(tmp_path / "a.jpg", np.round(127.5 * (1 + scene)).astype(np.uint8), quality=95)
    found, whole = decode(path, 64, 3), decode(np.asarray(Image.open(path)), 64, 3)
    assert not np.array_equal(found, whole) and abs(found.astype(int) - whole).max() <= 3
    np.testing.assert_array_equal(decode(path, 65, 3), decode(np.asarray(Image.open(path)), 65, 3))  # 512 < 8 * 65


def test_folder_without_images_or_that_is_not_there(data):
    with pytest.raises(UserError, match=r"data\.path: no images in"):
        open_source(data, "raw")
    with pytest.raises(UserError, match=r"data\.path: no folder 'nowhere'"):
        open_source(dataclasses.replace(data, path="nowhere"), "raw")


def test_split_by_count(data, tmp_path):
    save_many(data, 12)
    store, report = prepare(dataclasses.replace(data, train=9, test=2), tmp_path)
    assert store.names == tuple(f"frog-{number}.png" for number in range(1, 12))
    assert store.train.shape == (9, 16, 16, 3) and store.test.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(store.test[0], noise(16, 16, 3, seed=10))
    assert isinstance(store.train, np.memmap) and not store.train.flags.writeable
    assert store.images.dtype == np.uint8 and report["images"] == {"train": 9, "test": 2}


def test_split_by_shuffle_follows_the_seed(data, tmp_path):
    save_many(data, 12)
    shuffled = dataclasses.replace(data, train=9, shuffle=True)
    first, again, other = (prepare(shuffled, tmp_path, seed)[0] for seed in (0, 0, 1))
    assert first.names == again.names != other.names
    assert set(first.names) == set(other.names) and len(set(first.names)) == 12
    number = int(first.names[3].removeprefix("frog-").removesuffix(".png"))
    np.testing.assert_array_equal(first.images[3], noise(16, 16, 3, seed=number))


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [(3, 2, "3 and 2 images,"), (4, None, "at least 1 images,"), (None, 4, "at least 1 and 4")],
)
def test_more_asked_for_than_there_is(data, tmp_path, train, test, words):
    save_many(data, 4)
    with pytest.raises(UserError, match=rf"data\.train.*{words}.* has 4;"):
        prepare(dataclasses.replace(data, train=train, test=test), tmp_path)


def test_duplicates_are_counted(data, tmp_path):
    save_many(data, 3)
    for name in ("frog-4.png", "frog-5.png"):
        save(Path(data.path, name), noise(16, 16, 3, seed=3))
    save(Path(data.path, "frog-6.png"), noise(16, 16, 3, seed=1))
    _, report = prepare(dataclasses.replace(data, train=2), tmp_path)
    groups = [["frog-1.png", "frog-6.png"], ["frog-3.png", "frog-4.png", "frog-5.png"]]
    expected = {"groups": 2, "images": 5, "groups_across_train_and_test": 1, "first": groups}
    assert report["duplicates"] == expected


@pytest.mark.parametrize("breakage", ["missing", "truncated", "unequal", "other columns", "short row", "empty"])
def test_a_folder_that_is_no_store(data, tmp_path, breakage):
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
            "short row": [*lines[:-1], "2,frog-3.png\n"],
            "empty": [],
        }
        index.write_text("".join(broken[breakage]))
    with pytest.raises(UserError, match="no folder of prepared images"):
        ImageStore.open(tmp_path / "prepared")


def test_digits(data, tmp_path):
    digits = dataclasses.replace(data, source="digits", channels=1, train=1500)
    first, second = (prepare(digits, tmp_path)[0] for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.shape == (1797, 16, 16, 1) and first.classes == tuple("0123456789")
    assert first.images.min() == 0 and first.images.max() == 255 and first.labels[:3] == ("0", "1", "2")


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


def test_fetch_has_nothing_to_bring_for_a_folder(data, tmp_path):
    fetch(data, tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "source.json").read_text()) == {"source": "folder", "brought": None}


def test_a_download_that_fails_is_one_sentence(data, tmp_path, monkeypatch):
    def no_network(self):
        raise OSError("<urlopen error\n no network>")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    with pytest.raises(UserError, match=r"cannot download MNIST \(<urlopen error no network>\).*data\.root"):
        fetch(dataclasses.replace(data, source="torchvision", root=None), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.fixture
def frogs(data, tmp_path, monkeypatch) -> DataParams:
    """Params of a git repository of three RGBA frogs."""
    if importlib.util.find_spec("dvc") is None:
        pytest.skip("dvc is not installed")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    repository = tmp_path / "frogs"
    for number in (1, 2, 10):
        save(repository / "data-64" / f"frog-{number}.png", noise(64, 64, 4, seed=number))
    git = ["git", "-C", str(repository), "-c", "user.name=iglo", "-c", "user.email=iglo@example.org"]
    for command in (["init", "-q", "-b", "master"], ["add", "."], ["commit", "-q", "-m", "Frogs"]):
        subprocess.run([*git, *command], check=True)
    return dataclasses.replace(data, source="git", url=str(repository), rev="master", subdir="data-64", train=2)


def test_fetch_from_git(frogs, tmp_path):
    with pytest.raises(UserError, match="run the fetch stage first"):
        prepare(frogs, tmp_path)
    fetch(frogs, tmp_path / "raw")
    store, _ = prepare(frogs, tmp_path)
    assert store.names == ("frog-1.png", "frog-2.png", "frog-10.png") and store.classes == ("",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rev": "v9"}, "no such revision"),
        ({"subdir": "toads"}, "no such folder at that revision"),
        ({"subdir": "data-64/frog-1.png"}, "not a folder"),
        ({"url": "nowhere"}, "the repository cannot be reached"),
    ],
)
def test_fetch_from_git_that_fails_is_one_sentence(frogs, tmp_path, change, reason):
    with pytest.raises(UserError, match=rf"data\.url: cannot get .*\({reason}\)") as error:
        fetch(dataclasses.replace(frogs, **change), tmp_path / "raw")
    assert "\n" not in str(error.value) and not (tmp_path / "raw").exists()


def test_stages(params, tmp_path, capsys):
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png", noise(16, 16, 3, seed=number))
    params["data"] |= {"source": "folder", "path": str(tmp_path / "images"), "image_size": 16, "train": 2}
    params["rounds"] = [{"id": 1, "after": 0, "clusters": 1, "per_cluster": None, "epochs": 1}]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    common = ["--params", f"{tmp_path}/params.yaml", "--timing", f"{tmp_path}/timing.json"]
    fetch_main(["--out", f"{tmp_path}/raw", *common])
    prepare_main(["--raw", f"{tmp_path}/raw", "--out", f"{tmp_path}/prepared", *common])
    assert ImageStore.open(tmp_path / "prepared").train_count == 2
    assert "images_per_s" in json.loads((tmp_path / "timing.json").read_text())

    (tmp_path / "images" / "0.png").write_text("no image")
    with pytest.raises(SystemExit) as stop:
        prepare_main(["--raw", f"{tmp_path}/raw", "--out", f"{tmp_path}/other", *common])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and len(lines) == 1 and lines[0].startswith("error: ") and "0.png" in lines[0]
