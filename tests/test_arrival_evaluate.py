"""The stages that choose a prior after an arrival and measure it, on models that have not learned."""

import csv
import importlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from iglo.data.store import COLUMNS, PARTS, ImageStore
from iglo.export.writing import export_model
from iglo.files.io import write_array
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.run_record import RunRecord, folder_digest
from tests import chain
from tests.evaluation.arrived import FIRST, NEW, OLD, PARAMS, history_of, model_of, store_of

OPTIONS = {
    "priors": "--images data/arrived/new --model models/new --out models/priors-new --timing priors.json",
    "evaluate": "--id new --images data/arrived/new --first models/joint --before models/old --model models/new "
    "--priors models/priors-new --reference models/reference-new --headline headline.json --metrics metrics.json "
    "--figures figures --timing evaluate.json",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that these stages read, and the priors. To be read only."""
    folder = tmp_path_factory.mktemp("arrived")
    for place, store in (("prepared", store_of(FIRST, 1)), ("arrived/old", store_of(OLD, 2)), ("arrived/new", NEW)):
        write_store(folder / "data" / place, store if isinstance(store, ImageStore) else store_of(NEW, 3))
    history = history_of()
    history.run = RunRecord.of(PARAMS, {"source": "digits", "train": FIRST.train})
    for name, count, seed in (("joint", 12, 4), ("old", 18, 0), ("new", 26, 2)):
        (folder / "models" / name).mkdir(parents=True)
        model_of(count, seed).save(folder / "models" / name)
        history.save(folder / "models" / name)
    judge = {"evaluate.network": "small_cnn", "evaluate.weights": "digits"}
    chain.write_params(folder, chain.params(**{"evaluate.samples": 8}, **judge))
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        run("priors", folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick(monkeypatch)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("iglo.latent.imle.IMLE_ROUNDS", 1)
    patch.setattr("iglo.latent.flow.FLOW_STEPS", (1, 1))


def write_store(folder: Path, store: ImageStore) -> None:
    folder.mkdir(parents=True)
    write_array(folder / "images.npy", store.images)
    splits = [name for name, count in zip(PARTS, store.parts, strict=True) for _ in range(count)]
    with open(folder / "index.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *((row, f"{row}.png", "", split) for row, split in enumerate(splits))])


def run(name: str, folder: Path, **changes: str) -> None:
    """Runs a stage in this process, with changed options."""
    words = ["--prepared", "data/prepared", *OPTIONS[name].split()]
    options = dict(zip(words[::2], words[1::2], strict=True)) | {f"--{key}": value for key, value in changes.items()}
    argv = [word for pair in options.items() for word in pair]
    chain.run(folder, SimpleNamespace(module=f"stages.arrival_{name}", argv=argv))


def choice(folder: Path) -> dict:
    return json.loads((folder / "models" / "priors-new" / "priors.json").read_text())


def test_the_prior_is_chosen_on_the_validation_images_that_are_there(folder, monkeypatch, capsys):
    seen, module = [], importlib.import_module("stages.choosing")
    chosen = module.choose_prior

    def noting(model: GLOModel, validation, *rest):
        seen.append(len(validation))
        return chosen(model, validation, *rest)

    monkeypatch.setattr(module, "choose_prior", noting)
    shutil.rmtree(folder / "data" / "prepared")
    run("priors", folder)
    shutil.rmtree(folder / "data" / "arrived")
    assert not capsys.readouterr().err
    run("priors", folder)
    assert "warning: prior: best needs at least 2 validation images" in capsys.readouterr().err
    assert seen == [OLD.validation + NEW.validation, 0] and choice(folder)["chosen"] == "gaussian"
    assert choice(folder)["of"]["model"] == folder_digest(folder / "models" / "new")


def test_numbers_and_figures(folder):
    run("evaluate", folder)
    values = json.loads((folder / "metrics.json").read_text())
    sections = ["earlier", "new", "forgetting", "learning", "transfer", "first_run", "samples", "cost", "counts", "of"]
    assert [*values] == sections and values["of"] == {"model": folder_digest(folder / "models" / "new")}
    assert values["counts"]["earlier_train"] == FIRST.train + OLD.train and values["earlier"]["images"] is True
    assert {"first", "after", "forgetting"} == values["first_run"].keys()
    files = {"arrival.png", "forgetting.png", "samples.png"}
    assert {path.name for path in (folder / "figures").iterdir()} == files
    before = chain.contents(folder / "figures", folder) | chain.contents(folder / "metrics.json", folder)
    run("evaluate", folder)
    assert before == chain.contents(folder / "figures", folder) | chain.contents(folder / "metrics.json", folder)
    export_model(folder / "export", folder / "models" / "new", folder / "models" / "priors-new", metrics=values)
    card = (folder / "export" / "README.md").read_text(encoding="utf-8")
    assert f"| forgetting.train.psnr | {values['forgetting']['train']['psnr']:.4g} ± " in card


def test_a_model_learned_from_scratch_is_the_reference(folder):
    """The model after is its own reference: it is not worse than itself."""
    shutil.copytree(folder / "models" / "new", folder / "models" / "reference-new")
    run("evaluate", folder)
    all_numbers, compared = (json.loads((folder / name).read_text()) for name in ("metrics.json", "headline.json"))
    reference = all_numbers["reference"]
    assert reference["after"] == reference["scratch"] and reference["worse"]["psnr"] == 0
    assert compared["reference"]["scratch"]["psnr"] == reference["scratch"]["psnr"]
    assert compared["forgetting"]["train"].keys() == all_numbers["forgetting"]["train"].keys() - {"se"}
    assert "of" not in compared


def test_what_is_gone_is_not_needed(folder):
    for gone in ("data/prepared", "data/arrived/old", "models/joint"):
        shutil.rmtree(folder / gone)
    run("evaluate", folder)
    values = json.loads((folder / "metrics.json").read_text())
    assert [*values["earlier"]["train"]] == ["against_renders"]
    assert values["forgetting"] == values["first_run"] == {} and (folder / "figures" / "forgetting.png").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "old"}, "models/new: is not the model after the arrival old; name its model."),
        ({"model": "models/joint", "id": "new"}, "models/joint: has learned 12 images, not 26; run `dvc repro`"),
        ({"before": "models/joint"}, "models/joint: has learned 12 images, not 18; run `dvc repro`"),
        ({"first": "models/old"}, "models/old: has learned 18 images, not 12; run `dvc repro`"),
        (
            {"prepared": "data/arrived/old"},
            "data/arrived/old: has 6 training images, but models/new has learned 12 of",
        ),
        ({"images": "data/arrived/gone"}, "data/arrived/gone: no folder of prepared images"),
    ],
)
def test_folders_that_do_not_belong_together(folder, changes, words, capsys):
    with pytest.raises(SystemExit, match="1"):
        run("evaluate", folder, **changes)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {words}") and said.count("\n") == 1
    assert not (folder / "figures").exists() and not (folder / "metrics.json").exists()


def test_a_first_run_without_arrivals_is_no_arrival(folder, capsys):
    history = History.load(folder / "models" / "new")
    history.arrivals = []
    history.save(folder / "models" / "new")
    with pytest.raises(SystemExit, match="1"):
        run("evaluate", folder)
    assert "models/new: is not the model after the arrival new" in capsys.readouterr().err
