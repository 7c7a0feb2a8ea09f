"""Class and content from images to figures and studies, on a hundred tiny digits."""

import json
import math
import re
from dataclasses import asdict

import numpy as np
import pytest
import yaml
from PIL import Image

from iglo.data.store import ImageStore
from iglo.disentangle.figures import draw_losses
from iglo.disentangle.model import labels_of
from iglo.disentangle.renders import Renders
from iglo.disentangle.sweep import params_of_run
from iglo.errors import UserError
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.class_content import SweepParams
from iglo.params.reading import load_params
from iglo.params.run_record import folder_digest
from tests import chain, pipeline
from tests.disentangle.tiny import CHANGES, FILE, FOLDER, SWEEP, values
from tests.test_pipeline import leaves
from tests.tiny import RUNTIME, tiny_class_params

CLASSES = 10
STUDIES = {study: list(map(str, values)) for study, values in CHANGES["sweep"].items()}
FIGURES = {"reconstructions", "conversions", "conversions-unseen", "scratch-normal", "scratch-gaussian"}
FIGURES = {f"{name}.png" for name in FIGURES | {"epochs", "losses"}} | {"epochs.gif", "conversion.gif"}


def ran(folder, file, given) -> dict[str, set[str]]:
    """Runs every stage of a file in this process; the params that each has read."""
    (folder / "disentangle").mkdir(exist_ok=True)
    (folder / "disentangle" / "params.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    with chain.few_rounds():
        return {stage.name: chain.keys_read(folder, stage) for stage in pipeline.stages(file, given)}


@pytest.fixture(scope="module")
def concatenated(tmp_path_factory):
    """A folder in which every stage has run, and what each has read."""
    folder = tmp_path_factory.mktemp("concat")
    return folder, ran(folder, FILE, values())


@pytest.fixture(scope="module", params=["concat", "film"])
def run(request, tmp_path_factory):
    if request.param == "concat":
        return request.getfixturevalue("concatenated")[0]
    folder = tmp_path_factory.mktemp("film")
    ran(folder, FILE, values(combine="film"))
    return folder


@pytest.fixture(scope="module")
def swept(concatenated):
    """The same folder, in which every study has run too."""
    folder, _ = concatenated
    return folder, ran(folder, SWEEP, values())


# --- A run ---


def test_a_run_leaves_its_numbers(run):
    numbers = json.loads((run / "disentangle/metrics.json").read_text())
    of = {"model": folder_digest(run / "disentangle/work/encoded")}
    assert json.loads((run / "disentangle/work/renders/metrics.json").read_text()) == numbers | {"of": of}
    assert list(numbers) == ["train", "leakage", "conversion", "scratch", "real", "unseen"]
    assert all(map(math.isfinite, leaves(numbers))) and numbers["leakage"]["chance"] < 0.2
    shares = [*numbers["leakage"].values(), numbers["real"]["accuracy"], numbers["conversion"]["recognised"]]
    assert all(0 <= share <= 1 for share in shares)
    conversion = numbers["unseen"]["conversion"]
    expected = conversion["recognised"] / numbers["real"]["accuracy"]
    assert conversion["recognised_of_classifier"] == pytest.approx(expected)
    assert numbers["train"]["l1_l2"] == pytest.approx(numbers["train"]["l1"] + numbers["train"]["l2"])
    assert {path.stem for path in (run / "disentangle/work/timing").iterdir()} == {
        stage.name for stage in pipeline.stages(FILE)
    }


def test_a_run_leaves_its_figures(run):
    folder = run / "disentangle/figures"
    assert {path.name for path in folder.iterdir()} == FIGURES
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 50 and path.stat().st_size < 3e6
            if path.suffix == ".gif":
                assert image.n_frames > 1 and image.info["loop"] == 0


def test_the_epochs_are_shown_and_every_class_is_passed_through(run):
    with Image.open(run / "disentangle/figures/epochs.gif") as image:
        assert image.n_frames == 3  # at the start and after each epoch
    with Image.open(run / "disentangle/figures/conversion.gif") as image:
        assert image.n_frames == pytest.approx(8 * CLASSES, abs=4)  # equal neighbours become one frame


def test_losses_are_drawn_as_they_enter_the_objective(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "iglo.disentangle.figures.plots.save_curves", lambda path, curves, *_, **__: drawn.update(curves)
    )
    log = [
        {"stage": "train", "epoch": n, "images_seen": 9 * n, "reconstruction": 0.5 / n, "decay": 20.0} for n in (1, 2)
    ]
    draw_losses(tmp_path / "losses.png", [*log, {"stage": "encoder", "held_out": 1.0}], {"decay": 0.01})
    assert list(drawn) == ["reconstruction", "decay × 0.01"]
    for (epochs, losses), expected in zip(drawn.values(), ([0.5, 0.25], [0.2, 0.2]), strict=True):
        np.testing.assert_array_equal(epochs, [1, 2])
        np.testing.assert_allclose(losses, expected)


def test_the_parts_of_the_split_are_kept_apart(run):
    """What was never seen is shown from the encoder's codes: test images, which the classifier does not learn from."""
    store, drawn = ImageStore.open(run / "disentangle/work/images"), Renders.load(run / "disentangle/work/renders")
    model = GLOModel.load(run / "disentangle/work/encoded", RUNTIME)
    assert store.classes == tuple("0123456789") == model.config.classes and store.parts == (100, 90, 60)
    np.testing.assert_array_equal(labels_of(model), store.label_ids[:100])
    assert set(drawn.unseen) == set(range(190, 210)) and set(drawn.chosen) <= set(range(100))
    assert drawn.converted.shape == (12, CLASSES, 16, 16, 1) and drawn.converted.dtype == np.uint8
    assert {name: images.shape[:2] for name, images in drawn.scratch.items()} == {
        "normal": (CLASSES, 12),
        "gaussian": (CLASSES, 12),
    }
    assert {row["stage"] for row in History.load(run / "disentangle/work/encoded").log} == {"train", "encoder", "joint"}


# --- The studies ---


def test_the_report_has_every_value_of_every_study_and_its_figures(swept):
    folder = swept[0] / "disentangle/sweep"
    text, metrics = (folder / "report.md").read_text(), json.loads((folder / "metrics.json").read_text())
    assert {study: list(runs) for study, runs in metrics.items()} == STUDIES
    assert all(map(math.isfinite, leaves(metrics)))
    for study, runs in STUDIES.items():
        for name in runs:
            assert f"\n| {name} | " in text and f"{metrics[study][name]['L1 + L2']:.3f}" in text
    linked = set(re.findall(r"!\[[^]]*\]\(figures/([^)]+)\)", text))
    assert linked == {path.name for path in (folder / "figures").iterdir()} and len(linked) == 4 * 4 + 2


def test_a_study_changes_its_value_and_nothing_else(swept):
    """A study's run at the value of params.yaml is the run of the pipeline."""
    run = swept[0] / "disentangle"
    numbers, other = (json.loads((run / f"sweep/runs/sigma/{value}/numbers.json").read_text()) for value in (0.4, 0))
    whole = json.loads((run / "metrics.json").read_text())
    assert numbers["real"] == whole["real"]
    trained = History.load(run / "work/model")
    last = {
        key: value for key, value in trained.log[-1].items() if key not in ("stage", "epoch", "images_seen", "loss")
    }
    assert numbers["final"] == last != other["final"]


@pytest.mark.parametrize(
    ("study", "value", "key"),
    [
        ("sigma", 5.0, "sigma"),
        ("decay", 0.5, "decay"),
        ("loss", "lap_l1", "loss.name"),
        ("content_init", "pca", "latent.content_init"),
    ],
)
def test_a_study_changes_exactly_one_value(study, value, key):
    params = tiny_class_params()
    before, after = flat(asdict(params)), flat(asdict(params_of_run(params, study, value)))
    assert {name for name in before | after if before.get(name) != after.get(name)} == {key} and after[key] == value


def flat(nested: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in nested.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


@pytest.mark.parametrize(
    ("study", "value", "said"),
    [
        ("sigma", -1.0, "sigma: must be at least 0, got -1.0."),
        ("sigma", "much", "sigma: must be a finite number, got 'much'."),
        ("loss", "l3", "loss.name: must be one of .*, got 'l3'."),
        ("content_init", None, "latent.content_init: must be one of normal, pca, got None."),
        ("sigmaa", 1.0, r"sigmaa: unknown key; did you mean sigma\?"),
    ],
)
def test_a_study_of_nonsense_is_refused(study, value, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        params_of_run(tiny_class_params(), study, value)


@pytest.mark.parametrize("path", [FOLDER / "params.yaml", *FOLDER.glob("presets/*.yaml")], ids=lambda path: path.stem)
def test_every_value_that_is_studied_makes_sense(path):
    params = load_params(path)
    for study in SweepParams.__annotations__:
        for value in getattr(params.sweep, study):
            params_of_run(params, study, value)


# --- What dvc.yaml says of params ---

SETTINGS = [{}, {"source": "git"}, {"source": "torchvision"}]  # of data, under which fetch reads what it reads


def test_params_are_what_the_stages_read(concatenated, swept, tmp_path, monkeypatch):
    for download in ("_fetch_from_git", "_download"):
        monkeypatch.setattr(f"iglo.data.sources.{download}", lambda data, out: None)
    read = concatenated[1] | swept[1]
    fetch = next(stage for stage in pipeline.stages(FILE) if stage.name == "fetch")
    for setting in SETTINGS:
        given = values(data=CHANGES["data"] | setting)
        (tmp_path / "disentangle").mkdir(exist_ok=True)
        (tmp_path / "disentangle" / "params.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
        read["fetch"] = read["fetch"] | chain.keys_read(tmp_path, fetch)
    for stage in [*pipeline.stages(FILE, values()), *pipeline.stages(SWEEP, values())]:
        assert [
            key for key in sorted(read[stage.name]) if not any(chain.covers(each, key) for each in stage.params)
        ] == []
        assert [each for each in stage.params if not any(chain.covers(each, key) for key in read[stage.name])] == []
