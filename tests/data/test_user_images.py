"""Images from folders, files, patterns and arrays."""

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iglo.data import image_io
from iglo.data.user_images import ConversionWarning, read_arrays, read_files
from iglo.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(*names: str, size: int = 16, kind: str | None = None) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (size, size), 200).save(name, format=kind)


def found(*names: str) -> list[str]:
    """The files that are read; a warning makes the test fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, files = read_files(names, 16, 1)
    assert images.shape == (len(files), 16, 16, 1) and (images == 200).all()
    return [file.as_posix() for file in files]


def refused(*names: str) -> str:
    with pytest.raises(UserError) as error:
        read_files(names, 16, 1)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize("folder", ["br[1]", "what?", "all*", "br[1]/[a-z]"])
def test_a_folder_may_have_the_name_of_a_pattern(folder):
    save(f"{folder}/a.png", f"{folder}/b.png", "br1/c.png")
    both = [f"{folder}/a.png", f"{folder}/b.png"]
    for name in (folder, f"{folder}/*.png", f"{folder}/[ab].png", f"{folder}/**/*.png", f"./{folder}/?.png"):
        assert found(name) == both
    assert found(os.path.abspath(f"{folder}/a*")) == [Path(folder, "a.png").absolute().as_posix()]
    assert found(f"{folder}/a.png") == both[:1]


def test_patterns(here):
    save("frogs/2/b.png", "frogs/10/a.png", "frogs/2/c.jfif", kind="PNG")
    save("frogs/.hidden/d.png", "frogs/2/.e.png")
    assert found("frogs/*/*.png") == ["frogs/2/b.png", "frogs/10/a.png"]
    assert found("fr*/[12]*/?.*") == ["frogs/2/b.png", "frogs/2/c.jfif", "frogs/10/a.png"]
    assert found("**/*.png") == found("frogs/**/*.png") == found("**/frogs/**/*.p?g") == found("frogs/*/*.png")
    assert found("frogs/**") == found("frogs/**/*") == found("frogs") == found("fr*/[12]*/?.*")
    for nothing in ("toads/*.png", "frogs/*.png", "**/toads/*", "frogs/[", "frogs/*"):
        assert refused(nothing).startswith(f"{nothing}: no such file or folder, and no file matches it")


def test_patterns_follow_links_as_folders_do(here):
    """Two links in each of two folders: a search that follows all of them does not end."""
    for folder, other in ("ab", "ba"):
        save(f"pics/{folder}/1.png")
        for number in range(2):
            Path(f"pics/{folder}/link{number}").symlink_to(f"../{other}")
    save("outside/2.png")
    Path("pics/out").symlink_to("../outside")
    assert found("pics/**/*.png") == found("pics") == ["pics/a/1.png", "pics/b/1.png", "pics/out/2.png"]


def test_an_empty_name_is_not_the_working_folder(here):
    save("a.png")
    assert refused("") == refused("a.png", "")
    assert refused("").startswith("images: must be named by folders, files or patterns, got an empty name")
    assert found(".") == ["a.png"]


def test_files_that_are_left_out_give_a_warning(here):
    save("pics/a.jfif", "pics/b.jpe", kind="JPEG")
    assert found("pics") == ["pics/a.jfif", "pics/b.jpe"]
    save("pics/.hidden.png", "pics/.hidden/c.png")
    assert found("pics") == ["pics/a.jfif", "pics/b.jpe"]
    save("pics/d.gif", "pics/sub/new\nline.ppm")
    with pytest.warns(ConversionWarning, match=r"^pics: 2 of the files in it were left out.*\(the first is d\.gif\)"):
        assert len(read_files(["pics"], 16, 1)[1]) == 2


def test_an_input_that_cannot_be_read_is_named(here, monkeypatch):
    """It must be a UserError: the command would report an OSError as one of its output."""
    assert refused("a" * 300) == f"{'a' * 300}: cannot be read (file name too long); correct that or name another."
    assert refused("new\nline*").startswith(r"new\nline*: no such file")
    Path("new\nline").mkdir()
    assert refused("new\nline").startswith(r"new\nline: no images in")
    Path("esc\x1b[31m.png").write_bytes(b"")
    assert refused("esc\x1b[31m.png").startswith(r"esc\x1b[31m.png: cannot be used as an image (empty file)")
    save("pics/a.png", "pics/sub/a.png")
    scandir = os.scandir

    def refuse(path):
        if os.path.abspath(path) == str(here / "pics" / "sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for name in ("pics", "pics/**/*.png", "pics/sub/*.png"):
        assert refused(name).startswith("pics/sub: cannot list the folder (permission denied)")

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(image_io, "_read", no_memory)
    assert refused("pics/a.png").startswith("pics/a.png: there is not enough memory to decode this image")


def test_arrays_and_files_of_one_type_give_the_same_pixels(here):
    levels = np.arange(256).reshape(1, 16, 16, 1)
    kinds = {"png": levels.astype(np.uint8), "tif": (levels * 257).astype(np.uint16), "tiff": np.float32(levels / 255)}
    for extension, array in kinds.items():
        np.testing.assert_array_equal(read_arrays(array, 16, 1), levels)
        Image.fromarray(array[0, ..., 0]).save(f"a.{extension}")
        np.testing.assert_array_equal(read_files([f"a.{extension}"], 16, 1)[0], levels)
    half = torch.tensor(levels / 255, dtype=torch.bfloat16).movedim(-1, 1).requires_grad_()
    np.testing.assert_allclose(read_arrays(half, 16, 1), levels, atol=1)
    for wide in (levels, levels.astype(np.int32), levels.astype(np.uint32), levels > 9):
        with pytest.raises(UserError, match=f"images: values must be uint8, uint16 or float .*, got {wide.dtype}"):
            read_arrays(wide, 16, 1)
