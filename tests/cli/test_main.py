"""The command as a whole: help, terminals, pipes, and mistakes, each of which is one sentence."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import iglo
from iglo.cli.main import main
from tests import exported as exports
from tests.cli.command import done, refused, run, run_apart

COMMANDS = ["sample", "encode", "decode", "reconstruct", "interpolate", "walk"]
COMMANDS += ["neighbours", "convert", "info", "export", "arrive", "explore"]


def test_a_process_of_its_own(here):
    assert run_apart("--version") == (f"iglo, version {iglo.__version__}\n", "", 0)
    assert run_apart("sample", "--model", "images") == ("", "error: Missing option '--out'.\n", 2)
    completion = {"_IGLO_COMPLETE": "bash_complete", "COMP_WORDS": "iglo sam", "COMP_CWORD": "1"}
    assert run_apart("", **completion) == ("plain,sample\n", "", 0)


def test_help_shows_an_example_of_every_command():
    assert sorted(main.commands) == sorted(COMMANDS)
    for name in COMMANDS:
        assert done(name, "--help").stdout.isascii()  # a terminal may lack other letters
        assert f"Example:\n    iglo {name} " in done(name, "--help").stdout.replace("\n\n", "\n")
    assert all(f"  {name} " in done("--help").stdout for name in COMMANDS)


def test_a_terminal_that_lacks_letters_gets_escapes(here, monkeypatch):
    folder = exports.trained(Path("trained"), exports.CLASS_PARAMS, classes=("猫", "caf\udce9", "red \x1b[31m"))
    done("export", "--model", str(folder), "--out", "named")
    result = CliRunner(charset="latin-1").invoke(main, ["info", "--model", "named"])
    said = result.stdout
    assert result.exit_code == 0 and re.search(r"^classes +\\u732b, caf\\udce9, red \\x1b\[31m$", said, re.MULTILINE)
    assert "猫, caf\\udce9, red \\x1b[31m" in done("info", "--model", "named").stdout
    assert "猫, caf\\udce9, red \\x1b[31m" in refused("sample", "--model", "named", "--class", "x", "--out", "s")
    done("convert", "images", "--model", "named", "--out", "c.png")


def test_a_reader_that_has_seen_enough_is_no_mistake(here):
    command = f"{shlex.quote(sys.executable)} -m iglo sample --help | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(exports.ROOT / "src")}
    result = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert result.stderr == "" and result.stdout in ("0\n", "1\n")


MISTAKES = [
    ("sample --count 0 --out s", "n: must be a whole number of at least 1, got 0."),
    ("sample --count many --out s", "Invalid value for '-n' / '--count': 'many' is not a valid integer."),
    ("sample", "Missing option '--out'."),
    ("sample --out s.tiff", "out: must be a folder or .png or .npy, got 's.tiff'."),
    ("sample --stepz 3 --out s", "No such option"),
    ("sample --device abacus --out s", "device: torch cannot use 'abacus' here"),
    (
        "sample --model nowhere --out s",
        "nowhere: not an exported model (there is no such folder); run `iglo export`",
    ),
    (
        "sample --model images --out s",
        "images: not an exported model (it has no model.json); run `iglo export`, or",
    ),
    ("sample --class ant --out s", "classes: this model has none; take one of class and content."),
    ("dance", "No such command 'dance'."),
    ("", "Missing command."),
    ("encode", "Missing argument 'IMAGES...'."),
    ("encode nothing/*.png --out c.npy", "nothing/*.png: no such file or folder, and no file matches it"),
    ("encode empty --out c.npy", "empty: no images in 'empty' (0 other files); put PNG,"),
    (
        "encode codes.npy --out c.npy",
        "codes.npy: cannot be used as an image (not a PNG, JPEG, WEBP, BMP or TIFF image)",
    ),
    ("encode images broken.png --out c.npy", "broken.png: cannot be used as an image (damaged: "),
    ("encode images --steps 0 --out c.npy", "steps: must be a whole number of at least 1, got 0."),
    ("reconstruct images --steps 0 --out r", "steps: must be a whole number of at least 1, got 0."),
    ("reconstruct images --loss gan --out r", "loss: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'gan'."),
    ("reconstruct images --method guess --out r", "method: must be one of "),
    ("decode images/square-0.png --out d", "images/square-0.png: not an .npy file of numbers, or truncated"),
    ("decode short.npy --out d", "short.npy: not an .npy file of numbers, or truncated; `iglo encode` makes such"),
    ("decode none.npy --out d", "none.npy: no such file; name an .npy file of codes."),
    ("decode nan.npy --out d", "codes: must be finite, but 1 of 12 hold NaN or infinity; leave them out."),
    ("interpolate images --steps 0 --out i", "steps: must be a whole number of at least 1, got 0."),
    ("interpolate images --path bee --out i", "path: must be one of chord, graph, got 'bee'."),
    ("walk --stops 13 --out w.gif", "stops: must be at most 12, the number of training images, got 13."),
    ("walk --stops 1 --out w.gif", "stops: must be a whole number of at least 2, got 1."),
    ("interpolate images/square-0.png --out i", "stops: must be at least 2, got 1."),
    ("neighbours images --among images -k 0 --out n.png", "k: must be a whole number of at least 1, got 0."),
    ("neighbours images --among none --out n.png", "none: no such file or folder"),
    ("convert images --out c", "classes: this model has none; take one of class and content."),
    (
        "convert images --model classes --class be --out c",
        "classes: the model has no class 'be'; did you mean bee?",
    ),
    ("info --model newer", "newer: has format version 99, newer than this iglo reads (2); install a newer iglo."),
    (
        "info --model cut",
        "cut/generator.safetensors: truncated, damaged or of another model; export the model again.",
    ),
    ("export --model none --out o", "none: holds no trained model (there is no model.json); run `dvc repro`"),
    ("sample --out=", "Invalid value for '--out': must name a file or a folder, got an empty name."),
    ("export --params none --out o", "none: cannot read the params file"),
    ("sample --count 1000000000000 --out s", "n: 1000000000000 images take about "),
    ("interpolate codes.npy --steps 1000000000000 --out s", "steps: 12000000000000 images take about "),
    ("decode zip.npy --out d", "zip.npy: not an .npy file of numbers, or truncated"),
    ("decode claims.npy --out d", "claims.npy: not an .npy file of numbers, or truncated"),
    ("decode images --out d", "images: is not a file; name an .npy file of codes."),
    ("interpolate images --loss gan --out i", "loss: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'gan'."),
]


@pytest.fixture
def damaged(here) -> None:
    """Adds models and files to the working folder that commands cannot use."""
    for name in ("newer", "cut"):
        shutil.copytree("models/export", name)
    record = Path("newer/model.json")
    record.write_text(record.read_text().replace('"version": 2', '"version": 99'))
    os.truncate("cut/generator.safetensors", 1000)
    codes = np.load("codes.npy")
    np.save("nan.npy", np.where(np.arange(72).reshape(12, 6) == 8, np.nan, codes))
    np.savez("zip.npz", codes)
    os.rename("zip.npz", "zip.npy")
    claims = Path("codes.npy").read_bytes().replace(b"(12, 6), ", b"(%d, 6), " % 10**12)
    Path("claims.npy").write_bytes(claims)
    shutil.copy("codes.npy", "short.npy")
    os.truncate("short.npy", 200)
    Path("broken.png").write_bytes(Path("images/square-0.png").read_bytes()[:60])
    Path("empty").mkdir()


def test_a_mistake_is_one_sentence(damaged):
    answers = {arguments: refused(*arguments.split()) for arguments, _ in MISTAKES}
    wrong = {arguments: answers[arguments] for arguments, said in MISTAKES if not answers[arguments].startswith(said)}
    assert not wrong and len(answers) == len(MISTAKES)


def test_stopped_by_the_keyboard(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("iglo.export.api.render", stop)
    result = run("sample", "--out", "samples")
    assert (result.exit_code, result.stderr.strip()) == (130, "stopped by the keyboard")
    assert not Path("samples").exists() and not list(Path().glob("*partial*"))
