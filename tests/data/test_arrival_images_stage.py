"""The stage that prepares the images of an arrival: what it leaves, and one sentence for each mistake."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from iglo.data.known import KNOWN, read_known
from iglo.data.store import ImageStore
from iglo.params.pipeline import parse_params
from iglo.params.run_record import RunRecord
from iglo.training.glo_stages import start_model
from stages.prepare import main as prepare_main
from tests import chain, pipeline
from tests.data.images import noise, save
from tests.tiny import RUNTIME, tiny_images

SHORT = {"arrival.epochs": 1, "arrival.polish_epochs": 0, "arrival.least_steps": 1}
VALUES = chain.params(**SHORT)  # 16×16 and grey; a round of four times four images, and then the rest


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working folder: params, the list of the first run and its model, 60 tiny images in three parts."""
    monkeypatch.chdir(tmp_path)
    chain.write_images(Path(chain.IMAGES))
    chain.write_params(tmp_path, VALUES)
    for name in ("data", "raw", "arrived"):
        Path(name).mkdir(exist_ok=True)
    prepare_main(["--raw", "raw", "--out", "data/prepared", "--digests", "data/known.csv", "--timing", "times.json"])
    save_model(Path("joint"))
    return tmp_path


def save_model(folder: Path, encoder: bool = True) -> None:
    params = parse_params(VALUES)
    model, history = start_model(tiny_images(48), params, RUNTIME)
    history.run = RunRecord.of(params, {"source": "folder", "train": 48, "validation": 6, "test": 6})
    if encoder:
        model.encoder = model.config.encoder(params.encoder.width)
    folder.mkdir()
    model.save(folder)
    history.save(folder)


def run(stage: str, **options: str) -> Path:
    """Runs a stage with these options, and returns the folder that it has made."""
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    command = f"python -m stages.{stage} {shlex.join(words)} --timing times.json"
    chain.run(Path.cwd(), pipeline.Stage(stage, command, [], [], []))
    return Path(options["out"])


def prepare(name: str = "a", path: str = "new", **options: str) -> Path:
    given = {"id": name, "path": path, "known": "data/known.csv", "model": "joint", "out": f"arrived/{name}"}
    return run("arrival_images", **given | options)


def refusal(capsys, **options: str) -> str:
    """The message of a stage that must fail and leave nothing."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        prepare(**options)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and len(lines) == 1 and lines[0].startswith("error: "), lines
    assert not list(Path("arrived").iterdir())
    return lines[0].removeprefix("error: ")


def test_the_stage_prepares_arrivals_one_after_the_other(here):
    chain.write_images(Path("new"), 55, 90)  # five of them are known
    out = prepare()
    files = ["images.npy", "index.csv", "known.csv", "report.json", "subset_id.npy"]
    assert sorted(path.name for path in out.iterdir()) == files
    store, subset_id = ImageStore.open(out), np.load(out / "subset_id.npy")
    assert store.parts == (24, 3, 3) and json.loads((out / "report.json").read_text())["known"]["count"] == 5
    assert subset_id.dtype == np.int32 and {*subset_id.tolist()} == {1, 2} and len(subset_id) == 24
    assert 4 <= (subset_id == 1).sum() <= 16
    assert "images_per_s" in json.loads(Path("times.json").read_text())

    run(
        "arrival_learn",
        id="a",
        keep="none",
        images=str(out),
        prepared="gone",
        model="joint",
        out="model-a",
        curves="curves",
    )
    assert (out / KNOWN).read_bytes() == Path("model-a", KNOWN).read_bytes()
    shutil.rmtree(out)
    Path("data/known.csv").unlink()  # the model has the list now
    chain.write_images(Path("newer"), 58, 91)
    out = prepare("b", "newer", model="model-a")
    assert ImageStore.open(out, whole=False).names == ("digit-90.png",)
    assert np.load(out / "subset_id.npy").tolist() == [1]
    assert [image.arrival for image in read_known(out / KNOWN)] == [""] * 60 + ["a"] * 30 + ["b"]


def test_the_stage_leaves_the_same_bits_when_the_folder_has_moved(here):
    chain.write_images(Path("new"), 60, 90)
    before, after = prepare(), prepare(path=str(Path("new").rename("moved new")), out="arrived/again")
    assert chain.contents(before, before) == chain.contents(after, after)


def test_what_the_stage_cannot_use_is_one_sentence(here, capsys):
    chain.write_images(Path("new"), 60, 62)
    Path("empty").mkdir()
    assert refusal(capsys, path="gone").startswith("arrivals.a.path: no folder 'gone'; it has moved or was removed")
    assert refusal(capsys, path="empty").startswith("arrivals.a.path: no images in 'empty'")
    assert refusal(capsys, path=chain.IMAGES).startswith("arrivals.a.path: must have new images, but all 60 in")
    assert refusal(capsys, known="gone.csv").startswith("gone.csv: no list of known images (No such file")
    assert refusal(capsys, model="gone").startswith("gone/model.json: there is no such file; run the stage")
    save(Path("colours", "a.png"), noise(16, 16, 3))
    assert "earlier images are grey, but 1 of these are in colour" in refusal(capsys, path="colours")


def test_a_model_that_an_arrival_cannot_start_from_is_one_sentence(here, capsys):
    chain.write_images(Path("new"), 60, 62)
    save_model(Path("bare"), encoder=False)
    assert refusal(capsys, model="bare").startswith("bare: has no encoder, and an arrival needs one")
    record = json.loads(Path("joint/history.json").read_text())
    for run, message in (
        (None, "joint: does not say how many images the first run had in each part"),
        (record["run"] | {"data": {"source": "digits"}}, "joint: does not say how many images"),
        (record["run"] | {"method": "gan"}, "joint/history.json: describes no training; run the stage that makes it"),
    ):
        Path("joint/history.json").write_text(json.dumps(record | {"run": run}))
        assert refusal(capsys).startswith(message)
    Path("joint/history.json").write_text(json.dumps(record | {"arrivals": [{"id": "a", "unknown": 1}]}))
    assert refusal(capsys).startswith("joint/history.json: describes no training")
    Path("joint/history.json").write_text(json.dumps(record))
    assert prepare().is_dir()
    model = Path("joint/model.json").read_text()
    Path("joint/model.json").write_text(model.replace("config", "shape"))
    shutil.rmtree("arrived/a")
    assert refusal(capsys).startswith("joint/model.json: describes no model; run the stage that makes it again")


@pytest.mark.parametrize(
    ("key", "value", "made"),
    [("latent.dimension", 9, 8), ("generator.width", 8, 4), ("data.channels", 3, 1), ("data.image_size", 32, 16)],
)
def test_a_model_of_other_sizes_is_refused_before_the_work(here, capsys, key, value, made):
    chain.write_images(Path("new"), 60, 62)
    (here / "params.yaml").write_text(yaml.safe_dump(chain.params(**{key: value})))
    Path("data/known.csv").unlink()  # is not reached
    message = refusal(capsys)
    assert message == f"{key}: is {value}, but joint was made with {made}; run `dvc repro` to make it again."
