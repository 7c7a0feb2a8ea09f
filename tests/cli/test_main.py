"""The command `iglo`: what it writes, that it never writes over what is not its own, and what it says of mistakes."""

import dataclasses
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import iglo
from iglo.cli.main import main
from iglo.data.store import Source, write_store
from tests import chain
from tests import exported as exports
from tests.exported import IMAGES

COMMANDS = ["sample", "encode", "decode", "reconstruct", "interpolate", "neighbours", "convert", "info", "export"]


@pytest.fixture
def here(exported, exported_classes, tmp_path, monkeypatch) -> Path:
    """The working folder: twelve images, their codes, both exported models, the first where it is looked for."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exported, "models/export")
    shutil.copytree(exported_classes, "classes")
    Path("images").mkdir()
    for index, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(f"images/square-{index}.png")
    np.save("codes.npy", iglo.load(exported).encode(IMAGES))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="iglo")


def run_apart(*arguments: str, **variables: str) -> tuple[str, str, int]:
    """stdout, stderr and exit code in a process of its own."""
    process = chain.start(Path(), "-m", "iglo", *arguments, PYTHONPATH=str(exports.ROOT / "src"), **variables)
    return *process.communicate(), process.returncode


def done(*arguments: str) -> Result:
    """Runs a command that must succeed and say in a line what it wrote, if anything."""
    result = run(*arguments)
    assert result.exit_code == 0 and not result.stderr, result.stderr
    if "--out" in arguments:
        assert re.fullmatch(rf"wrote {arguments[arguments.index('--out') + 1]} \(\d+ (kB|files?)\)\n", result.stdout)
    return result


def refused(*arguments: str) -> str:
    """What a command says that ends with exit code 2, one sentence on stderr, and nothing new in the folder."""
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert result.exit_code == 2 and not result.stdout
    assert re.fullmatch(r"error: [^\n]+[.?]\n", result.stderr), result.stderr
    assert sorted(Path().rglob("*")) == before
    return result.stderr.removeprefix("error: ").strip()


def pictures(folder: str) -> np.ndarray:
    """(N, H, W, C) the numbered images in a folder, in their order."""
    images = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
    return np.stack(images)[..., None]


# --- What is written ---


def test_the_same_seed_gives_the_same_samples_as_in_python(here, exported):
    expected = iglo.load(exported).sample(5, seed=8)
    done("sample", "-n", "5", "--seed", "8", "--out", "samples")
    np.testing.assert_array_equal(pictures("samples"), expected)
    assert sorted(os.listdir("samples")) == [f"0000{i}.png" for i in range(5)]
    said = run_apart("sample", "-n", "5", "--seed", "8", "--out", "samples.npy")
    assert said == ("wrote samples.npy (1 kB)\n", "", 0)
    np.testing.assert_array_equal(np.load("samples.npy"), expected)


def test_a_mistake_in_a_process_of_its_own(here):
    assert run_apart("sample", "--model", "images") == ("", "error: Missing option '--out'.\n", 2)


def test_codes_and_images_there_and_back(here):
    model = iglo.load("models/export")
    done("encode", "images", "--method", "encoder", "--out", "found.npy")
    codes = np.load("found.npy")
    np.testing.assert_array_equal(codes, model.encode(IMAGES))
    done("decode", "found.npy", "--out", "decoded")
    np.testing.assert_array_equal(pictures("decoded"), model.decode(codes))
    done("reconstruct", "images/square-1?.png", "images/square-3.png", "--steps", "2", "--seed", "1", "--out", "again")
    np.testing.assert_array_equal(pictures("again"), model.reconstruct(IMAGES[[10, 11, 3]], steps=2, seed=1))
    done("reconstruct", "images", "--method", "encoder", "--out", "again.png")
    done("sample", "-n", "12", "--out", "samples.png")
    heights = [Image.open(name).height for name in ("samples.png", "again.png")]
    assert 64 <= heights[1] - heights[0] < 80  # another row, enlarged like the samples


def test_interpolations(here):
    model, codes = iglo.load("models/export"), np.load("codes.npy")
    done(
        "interpolate",
        "images/square-0.png",
        "images/square-1.png",
        "--method",
        "encoder",
        "--steps",
        "4",
        "--out",
        "path",
    )
    np.testing.assert_allclose(pictures("path"), model.interpolate(codes[0], codes[1], 4), atol=1)
    done("interpolate", "codes.npy", "--steps", "2", "--out", "tour.npy")
    np.testing.assert_array_equal(np.load("tour.npy"), model.tour(codes, 2))
    np.save("two.npy", codes[:2])
    done("interpolate", "two.npy", "--closed", "--steps", "3", "--out", "there-and-back.gif")
    with Image.open("there-and-back.gif") as animation:
        assert animation.n_frames == 6 and animation.size == (128, 128)


def test_neighbours(here):
    done("neighbours", "images/square-3.png", "--among", "images", "-k", "2", "--out", "near.json")
    ((near,),) = [json.loads(Path("near.json").read_text())]
    rows, distances = iglo.load("models/export").neighbours(IMAGES[[3]], IMAGES, 2)
    assert near["image"] == "images/square-3.png" and near["nearest"][0] == {
        "image": "images/square-3.png",
        "distance": 0,
    }
    assert near["nearest"][1] == {"image": f"images/square-{rows[0, 1]}.png", "distance": distances[0, 1]}
    done("neighbours", "images", "--among", "images", "-k", "2", "--out", "near.png")
    assert Image.open("near.png").height > 12 * 16


def test_classes(here):
    model = iglo.load("classes")
    named = ("--model", "classes", "--class", "cat/dog", "--class", "ant")
    done("convert", "images", *named, "--out", "converted")
    expected = model.convert(IMAGES, ["cat/dog", "ant"])
    np.testing.assert_array_equal(pictures("converted"), expected.reshape(24, 16, 16, 1))
    assert sorted(os.listdir("converted"))[:3] == ["00000-0-cat_dog.png", "00000-1-ant.png", "00001-0-cat_dog.png"]
    done("convert", "images", *named, "--out", "converted.npy")
    np.testing.assert_array_equal(np.load("converted.npy"), expected)
    done("convert", "images", "--model", "classes", "--out", "converted.png")
    done("sample", "-n", "3", *named, "--out", "samples.npy")
    np.testing.assert_array_equal(np.load("samples.npy"), model.sample(3, classes=["cat/dog", "ant"]))


def test_info_says_what_a_model_is(here):
    assert re.search(r"^prior +gaussian$", done("info").stdout, re.MULTILINE)
    assert re.search(r"^classes +ant, bee, cat/dog$", done("info", "--model", "classes").stdout, re.MULTILINE)


@pytest.mark.parametrize("kind", ["glo", "class_content"])
def test_export_packs_what_the_pipeline_left(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "glo":
        model = exports.trained(Path("models/joint"))
        exports.fitted(Path("models/priors"), model_folder=model)
        Path("metrics-all.json").write_text(json.dumps(exports.measured(model)))
        which = ()
        assert done("export").stdout == "wrote models/export (5 files)\n"
    else:
        exports.trained(Path("disentangle/work/encoded"), exports.CLASS_PARAMS)
        which = ("--class-content",)
        done("export", *which)
        done("export", "--model", "disentangle/work/encoded", "--force")
    assert iglo.load("models/export").info()["kind"] == kind
    assert ("21.75" in Path("models/export/README.md").read_text()) is (kind == "glo")
    assert "models/export: is there already" in refused("export", *which)
    Path("models/export/mine.txt").touch()
    assert "models/export: holds other things too, such as mine.txt" in refused("export", "--force", *which)


def test_an_export_of_what_an_earlier_iglo_left(tmp_path, monkeypatch):
    """The model has no record of its run, and its metrics do not name their model."""
    monkeypatch.chdir(tmp_path)
    exports.trained(Path("models/joint"), record=False)
    exports.fitted(Path("models/priors"))
    assert refused("export").startswith(
        "models/joint: has no record of its run, because an earlier iglo made it; name the"
    )
    exports.write_params(Path())
    Path("metrics-all.json").write_text(json.dumps(exports.METRICS))
    result = run("export", "--params", "params.yaml")
    assert result.exit_code == 0 and result.stderr.startswith(
        "warning: metrics-all.json: does not say which model it is"
    )
    assert "21.75" not in Path("models/export/README.md").read_text()
    done("export", "--params", "params.yaml", "--metrics", "metrics-all.json", "--force")
    assert "21.75" in Path("models/export/README.md").read_text()


def test_images_that_do_not_fit_are_converted_and_it_is_said(here):
    Path("odd").mkdir()
    Image.new("RGB", (40, 20), "red").save("odd/a.jpg")
    Image.fromarray(IMAGES[0, ..., 0]).save("odd/b.png")
    result = run("encode", "odd", "--method", "encoder", "--out", "found.npy")
    assert result.exit_code == 0 and result.stderr == (
        "warning: odd: 1 of 2 images are not as the model takes them (the first is 40×20 with 3 channels) and were "
        "made grey, cut to the centre square, resized to 16×16.\n"
    )
    np.testing.assert_allclose(np.load("found.npy")[1], iglo.load("models/export").encode(IMAGES[:1])[0], atol=1e-6)


# --- What is never written over ---


def test_nothing_is_replaced_unless_asked_and_what_is_not_ours_never(here):
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


def test_a_name_that_is_too_long_is_told_of_what_has_it(here):
    name = "a" * 300
    assert "ile name too long" in refused("encode", name, "--out", "e.npy").partition(name)[2]
    assert "ile name too long" in refused("info", "--model", name).partition(name)[2]
    assert refused("sample", "--out", name).startswith(f"{name}: cannot be written (file name too long")
    assert refused("sample", "--out", f"{name}.png").startswith(f"{name}.png: cannot be written (file name too long")


@pytest.mark.parametrize("command", [("encode", "images"), ("reconstruct", "images"), ("neighbours", "images")])
def test_an_input_that_may_not_be_read_is_told_of_the_input(here, monkeypatch, command):
    def forbidden(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "images/square-3.png")

    monkeypatch.setattr("iglo.data.user_images.read_image", forbidden)
    rest = ("--among", "images", "--out", "n.png") if command[0] == "neighbours" else ("--out", "r.npy")
    assert refused(*command, *rest).startswith("images/square-3.png: cannot be read (permission denied); name images")


def test_a_picture_that_no_memory_holds_is_refused(here, monkeypatch):
    monkeypatch.setattr("iglo.environment.memory", lambda: 100_000)
    done("sample", "-n", "50", "--out", "s.npy")
    assert refused("sample", "-n", "50", "--out", "s.png").startswith(
        "out: a picture of 50 images takes about 0 GiB of"
    )


# --- Terminals and pipes ---


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_letter_that_a_terminal_lacks(name):
    assert done(name, "--help").stdout.isascii()


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


def test_the_version_is_one(here):
    assert run_apart("--version") == (f"iglo, version {iglo.__version__}\n", "", 0)


def test_a_shell_completes_commands(here):
    said, errors, code = run_apart("", _IGLO_COMPLETE="bash_complete", COMP_WORDS="iglo sam", COMP_CWORD="1")
    assert (said, errors, code) == ("plain,sample\n", "", 0)


# --- Training images ---


def test_neighbours_among_the_training_images(here):
    source = Source(
        "here", tuple(f"t{i}.png" for i in range(16)), ("",) * 16, np.concatenate([IMAGES, IMAGES[:4]])[..., 0]
    )
    data = exports.tiny_params(data__train=12, data__test=4, data__shuffle=False).data
    given = ("neighbours", "images/square-3.png", "--among", "training", "-k", "1", "--out", "near.json")
    assert refused(*given).startswith(
        "training: the training images must be in data/prepared, which is not here; run the"
    )
    write_store(source, dataclasses.replace(data, train=11), 0, "data/prepared")
    assert refused(*given).startswith("training: data/prepared holds training images of another run (11 x 16 x 16 x 1,")
    write_store(source, data, 0, "data/prepared")
    done(*given)
    (near,) = json.loads(Path("near.json").read_text())
    assert near["nearest"] == [{"image": "t3.png", "distance": 0}]


def test_a_folder_that_cannot_be_written_is_named(here):
    Path("file").touch()
    assert refused("sample", "--out", "file/samples").startswith("file/samples: cannot be written (")
    assert "file/s.png: cannot be written (" in refused("sample", "--out", "file/s.png")
    assert "file: is a file, and cannot be replaced" in refused("sample", "--force", "--out", "file")


# --- Mistakes ---


def test_every_command_shows_an_example():
    assert sorted(main.commands) == sorted(COMMANDS)
    for name in COMMANDS:
        assert f"Example:\n    iglo {name} " in done(name, "--help").stdout.replace("\n\n", "\n")
    assert all(f"  {name} " in done("--help").stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
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
        ("interpolate images/square-0.png --out i", "stops: must be at least 2, got 1."),
        ("neighbours images --among images -k 0 --out n.png", "k: must be a whole number of at least 1, got 0."),
        ("neighbours images --among none --out n.png", "none: no such file or folder"),
        ("convert images --out c", "classes: this model has none; take one of class and content."),
        (
            "convert images --model classes --class be --out c",
            "classes: the model has no class 'be'; did you mean bee?",
        ),
        ("info --model newer", "newer: is of format version 99, newer than this iglo reads (1); install a newer iglo."),
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
    ],
)
def test_a_mistake_is_one_sentence(here, arguments, said):
    for name in ("newer", "cut"):
        shutil.copytree("models/export", name)
    record = Path("newer/model.json")
    record.write_text(record.read_text().replace('"version": 1', '"version": 99'))
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
    assert refused(*arguments.split()).startswith(said)


def test_stopped_by_the_keyboard(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("iglo.export.api.render", stop)
    result = run("sample", "--out", "samples")
    assert (result.exit_code, result.stderr.strip()) == (130, "stopped by the keyboard")
    assert not Path("samples").exists() and not list(Path().glob("*partial*"))
