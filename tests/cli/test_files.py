"""Reading and writing: the command replaces only its own files and only if asked; errors name the right file."""

import errno
import os
from pathlib import Path

from tests.cli.command import done, refused


def test_only_files_of_the_command_are_replaced_and_only_with_force(here):
    done("sample", "-n", "3", "--out", "samples")
    done("sample", "-n", "3", "--out", "samples.png")
    for out in ("samples", "samples.png"):
        assert (
            refused("sample", "--out", out) == f"{out}: is there already; name another, or give --force to replace it."
        )
        done("sample", "-n", "2", "--force", "--out", out)
    assert sorted(os.listdir("samples")) == ["00000.png", "00001.png"]
    assert "images: holds other things too, such as square-0.png" in refused("sample", "--force", "--out", "images")
    assert ".: holds other things too" in refused("sample", "--force", "--out", ".")
    Path("empty").mkdir()
    done("sample", "-n", "1", "--out", "empty")


def test_the_working_folder_and_a_link_to_a_folder_are_filled(here, monkeypatch):
    model = str(Path("models/export").resolve())
    Path("work").mkdir()
    Path("link").symlink_to("work")
    monkeypatch.chdir("work")
    folder = os.stat(".")
    assert done("sample", "--model", model, "-n", "3", "--out", ".").stdout == "wrote . (3 files)\n"
    done("sample", "--model", model, "-n", "2", "--force", "--out", ".")
    assert os.path.samestat(folder, os.stat(os.path.abspath("."))) and os.path.samestat(folder, os.stat("."))
    assert sorted(os.listdir(".")) == ["00000.png", "00001.png"]
    monkeypatch.chdir("..")
    done("sample", "-n", "1", "--force", "--out", "link")
    assert Path("link").is_symlink() and os.listdir("work") == ["00000.png"]


def test_a_name_that_is_too_long_is_named(here):
    name = "a" * 300
    assert "ile name too long" in refused("encode", name, "--out", "e.npy").partition(name)[2]
    assert "ile name too long" in refused("info", "--model", name).partition(name)[2]
    assert refused("sample", "--out", name).startswith(f"{name}: cannot be written (file name too long")
    assert refused("sample", "--out", f"{name}.png").startswith(f"{name}.png: cannot be written (file name too long")


def test_an_image_that_may_not_be_read_is_named(here, monkeypatch):
    def forbidden(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "images/square-3.png")

    monkeypatch.setattr("iglo.data.user_images.load_image_and_shape", forbidden)
    for command in (
        "encode images --out c.npy",
        "reconstruct images --out r",
        "neighbours images --among images --out n.png",
    ):
        said = refused(*command.split())
        assert said.startswith("images/square-3.png: cannot be read (permission denied); name images"), command


def test_a_picture_that_needs_too_much_memory_is_refused(here, monkeypatch):
    monkeypatch.setattr("iglo.environment.memory", lambda: 100_000)
    done("sample", "-n", "50", "--out", "s.npy")
    assert refused("sample", "-n", "50", "--out", "s.png").startswith(
        "out: a picture of 50 images takes about 0 GiB of"
    )


def test_a_folder_that_cannot_be_written_is_named(here):
    Path("file").touch()
    assert refused("sample", "--out", "file/samples").startswith("file/samples: cannot be written (")
    assert "file/s.png: cannot be written (" in refused("sample", "--out", "file/s.png")
    assert "file: is a file, and cannot be replaced" in refused("sample", "--force", "--out", "file")
