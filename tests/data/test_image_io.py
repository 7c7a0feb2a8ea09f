"""Images of every format and kind become squares of 8-bit pixels."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from iglo.data.image_io import BadImageError, LargeImageError, load_image
from tests.data.images import noise, save


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pixels_become_white(tmp_path, mode):
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
    out = load_image(tmp_path / "a.png", 16, 3)
    assert (out[:8] == 0).all() and (out[8:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    pixels = np.full((16, 16, 4), (0, 0, 0, 51), np.uint8)
    assert (load_image(save(tmp_path / "a.png", pixels), 16, 1) == 204).all()


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_16_bits_keep_their_range(tmp_path, extension):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    out = load_image(save(tmp_path / f"a.{extension}", levels * 257), 16, 1)
    np.testing.assert_array_equal(out[..., 0], levels)


def test_floats_may_exceed_1_by_rounding(tmp_path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    over = np.where(ramp == 1, np.float32(1.0000001), ramp)  # such a pixel once made all others black
    assert over.max() > 1
    for pixels in (ramp, over):
        np.testing.assert_array_equal(load_image(save(tmp_path / "a.tiff", pixels), 16, 1).ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((16, 16), 1.01, np.float32), r"floats must be in \[0, 1\], got 1\.01 to 1\.01"),
        (np.full((16, 16), np.nan, np.float32), r"floats must be in \[0, 1\], got nan"),
        (np.full((16, 16), 200, np.int32), "32-bit or signed integers do not say which value is white"),
    ],
)
def test_values_without_a_known_white_are_refused(tmp_path, pixels, reason):
    with pytest.raises(BadImageError, match=reason):
        load_image(save(tmp_path / "a.tiff", pixels), 16, 1)


def tiff(path: Path, pixels: np.ndarray, bits: int, kind: int, photometric: int = 1) -> Path:
    """An uncompressed little-endian TIFF of 16×16 samples of `bits`: 1 unsigned, 2 signed, 3 floating point."""
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16, 279: pixels.nbytes}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in (tags | {339: kind}).items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + pixels.nbytes) + pixels.tobytes() + directory)
    return path


def test_tiffs_with_inverted_or_12_bit_levels(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    inverted = tiff(tmp_path / "a.tiff", levels * 257, bits=16, kind=1, photometric=0)
    np.testing.assert_array_equal(load_image(inverted, 16, 1)[..., 0], 255 - levels)
    floats = tiff(tmp_path / "b.tiff", (levels / 255).astype(np.float32), bits=32, kind=3, photometric=0)
    np.testing.assert_array_equal(load_image(floats, 16, 1)[..., 0], 255 - levels)
    packed = np.array([0xFF, 0xFF, 0xFF, 0x80, 0x08, 0x00] * 64, np.uint8)  # samples of 12 bits: 4095, 4095, 2056, 2048
    twelve = tiff(tmp_path / "c.tiff", packed, bits=12, kind=1)
    assert load_image(twelve, 16, 1)[0, :4, 0].tolist() == [255, 255, 128, 128]


@pytest.mark.parametrize(
    ("dtype", "kind", "reason"),
    [
        (np.int16, 2, "32-bit or signed integers"),
        (np.uint32, 1, "32-bit or signed integers"),
        (np.float64, 3, "a TIFF file that is damaged, or of a kind that Pillow cannot read, such as 64-bit floats"),
    ],
)
def test_tiffs_of_unsupported_types_are_refused(tmp_path, dtype, kind, reason):
    pixels = np.ones((16, 16), dtype)
    with pytest.raises(BadImageError, match=reason):
        load_image(tiff(tmp_path / "a.tiff", pixels, 8 * pixels.itemsize, kind), 16, 1)


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
def test_the_transparent_colour_of_a_png_becomes_white_at_any_depth(tmp_path, depth, colour):
    """The upper half has a low level that is declared transparent; the lower half is black."""
    values, level = (1, 3)[colour == 2], 1000 if depth == 16 else 1
    if depth < 8:
        row = np.full(16 * depth // 8, sum(1 << shift for shift in range(0, 8, depth)), np.uint8)
    else:
        row = np.full(16 * values, level)
    pixels = np.concatenate([np.tile(row, (8, 1)), np.zeros((8, len(row)))]).astype(">u2" if depth == 16 else np.uint8)
    out = load_image(png(tmp_path / "a.png", pixels, depth, colour, tRNS=struct.pack(">H", level) * values), 16, 1)
    assert (out[:8] == 255).all() and (out[8:] == 0).all()


@pytest.mark.parametrize("chunk", ["zTXt", "iTXt", "iCCP"])
def test_an_image_with_much_text_is_read(tmp_path, chunk):
    packed = zlib.compress(bytes(2 * 1024 * 1024))
    content = {"zTXt": b"Comment\0\0", "iTXt": b"Comment\0\1\0\0\0", "iCCP": b"profile\0\0"}[chunk] + packed
    pixels = noise(16, 16)
    found = load_image(png(tmp_path / "a.png", pixels, 8, 0, **{chunk: content}), 16, 1)
    np.testing.assert_array_equal(found[..., 0], pixels)


def test_grey_and_cmyk_get_the_wanted_channels(tmp_path):
    grey = noise(16, 16)
    np.testing.assert_array_equal(load_image(save(tmp_path / "a.png", grey), 16, 3), grey[..., None].repeat(3, 2))
    assert load_image(save(tmp_path / "a.jpg", noise(20, 20, 3), "CMYK"), 16, 3).shape == (16, 16, 3)
    assert load_image(save(tmp_path / "b.png", noise(20, 20, 3)), 16, 1).shape == (16, 16, 1)


@pytest.mark.parametrize("extension", ["png", "webp", "bmp", "tif"])
def test_an_image_of_the_wanted_size_keeps_every_bit(tmp_path, extension):
    pixels = noise(16, 23, 3)
    path = save(tmp_path / f"a.{extension}", pixels, **({"lossless": True} if extension == "webp" else {}))
    np.testing.assert_array_equal(load_image(path, 16, 3), pixels[:, 3:19])


@pytest.mark.parametrize(("shape", "top", "left"), [((28, 28), 2, 2), ((20, 30, 3), 6, 1), ((32, 9, 3), 0, 11)])
def test_padding_puts_the_pixels_in_the_middle_of_black(shape, top, left):
    pixels = noise(*shape)
    out = load_image(pixels, 32, 3 if len(shape) == 3 else 1, pad=True).squeeze().copy()
    inside = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    np.testing.assert_array_equal(out[inside], pixels)
    out[inside] = 0
    assert not out.any()


@pytest.mark.parametrize("shape", [(32, 32, 3), (40, 36, 3), (20, 33, 3)])
def test_an_image_that_is_as_large_or_larger_is_not_padded(shape):
    np.testing.assert_array_equal(load_image(noise(*shape), 32, 3, pad=True), load_image(noise(*shape), 32, 3))


def test_the_centre_square_is_resized_with_antialiasing(tmp_path):
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    wide = np.concatenate([np.zeros((64, 40), np.uint8), checks.astype(np.uint8), np.zeros((64, 40), np.uint8)], 1)
    out = load_image(save(tmp_path / "a.png", wide), 16, 1).astype(int)
    assert abs(out[2:-2, 2:-2] - 127.5).max() < 4  # fine checks turn grey, not into stripes


def test_exif_orientation_and_first_frame(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    turned = load_image(save(tmp_path / "a.png", pixels, exif=exif), 16, 1)
    assert (turned[:, 8:] == 255).all() and (turned[:, :8] == 0).all()
    Image.fromarray(pixels).save(
        tmp_path / "b.tiff", save_all=True, append_images=[Image.fromarray(pixels[::-1].copy())]
    )
    np.testing.assert_array_equal(load_image(tmp_path / "b.tiff", 16, 3), pixels)


def test_a_much_larger_jpeg_is_decoded_at_a_reduced_size(tmp_path):
    rows, columns = np.indices((512, 520)) / 40
    scene = np.stack([np.sin(rows) * np.cos(columns), np.sin(rows + 1), np.cos(columns * 2)], axis=2)
    path = save(tmp_path / "a.jpg", np.round(127.5 * (1 + scene)).astype(np.uint8), quality=95)
    found, whole = load_image(path, 64, 3), load_image(np.asarray(Image.open(path)), 64, 3)
    assert not np.array_equal(found, whole) and abs(found.astype(int) - whole).max() <= 3
    np.testing.assert_array_equal(
        load_image(path, 65, 3), load_image(np.asarray(Image.open(path)), 65, 3)
    )  # 512 < 8 * 65


# --- Memory ---


KINDS = {"webp": {}, "WebP": {"lossless": True}, "png": {}, "tiff": {}, "bmp": {}, "jpg": {}}


@pytest.mark.parametrize("extension", KINDS)
def test_an_image_with_too_many_pixels_is_not_decoded(tmp_path, monkeypatch, extension):
    """WebP is decoded when it is opened, and JPEG at a reduced size."""
    path = save(tmp_path / f"a.{extension}", noise(320, 200, 3), **KINDS[extension])
    pixels = 320 * 200 // (4 if extension == "jpg" else 1)
    load_image(path, 16, 3, max_pixels=pixels)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    if extension.lower() == "webp":
        monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(LargeImageError):
        load_image(path, 16, 3, max_pixels=pixels - 1)


def test_a_large_webp_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.webp", noise(50, 50, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(BadImageError, match="2500 pixels, more than 2000"):
        load_image(path, 16, 3)


def test_a_large_image_takes_little_memory(tmp_path):
    """float32, 16 bits and alpha take less than 10 bytes per pixel; before, they took 32, 28 and 16."""
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from iglo.data.image_io import load_image
load_image(np.zeros((16, 16), np.uint8), 16, 3)
used = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
for name in sys.argv[1:]:
    load_image(Path(name), 16, 3)
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
