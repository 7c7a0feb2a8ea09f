"""Writing an exported model: whole or not at all, with a model card of its run, and with ONNX if asked for."""

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from iglo.errors import UserError
from iglo.export import onnx, writing
from iglo.export.bundle import load_bundle
from iglo.export.writing import RecordWarning, export_model
from iglo.models.history import ArrivalRecord, History
from iglo.params.run_record import Loss, RunRecord
from tests import exported as exports
from tests.exported import GLO_FILES
from tests.tiny import RUNTIME, generator


def test_a_refused_export_leaves_nothing(tmp_path):
    bare = exports.trained(tmp_path / "bare", encoder=False)
    whole, old = exports.trained(tmp_path / "whole"), exports.trained(tmp_path / "old", record=False)
    priors = exports.fitted(tmp_path / "priors")
    other = exports.tiny_params(generator__width=8)
    for model, folder, params, said in [
        (bare, priors, None, f"^{bare}: has no encoder"),
        (whole, tmp_path / "none", None, "priors.json"),
        (old, priors, None, f"^{old}: has no record of its run, .* name the params of that run"),
        (old, priors, other, "^generator.width: is 8, but .* was made with 4"),
        (old, priors, exports.CLASS_PARAMS, "^params: are those of another kind of model than"),
        (bare.parent / "none", priors, exports.PARAMS, "model.json"),
        (
            whole,
            exports.fitted(tmp_path / "others", model_folder=old),
            None,
            "^.*: holds priors of another model than",
        ),
    ]:
        with pytest.raises(UserError, match=said):
            export_model(tmp_path / "out", model, folder, params)
    assert {path.name for path in tmp_path.iterdir()} == {"bare", "whole", "old", "priors", "others"}


def test_an_interrupted_export_leaves_the_older_one(exported, tmp_path, monkeypatch):
    out = Path(shutil.copytree(exported, tmp_path / "out"))
    monkeypatch.setattr(writing, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_model(out, exported.parent / "model", exported.parent / "priors")
    assert {name: (out / name).read_bytes() for name in GLO_FILES} == {
        name: (exported / name).read_bytes() for name in GLO_FILES
    }
    assert os.listdir(tmp_path) == ["out"]


def card_of(folder: Path, tmp_path: Path, **options) -> str:
    """The model card of a trained model's folder."""
    export_model(tmp_path / "card", folder, exports.fitted(tmp_path / "fitted", model_folder=folder), **options)
    return (tmp_path / "card" / "README.md").read_text(encoding="utf-8")


def test_the_card_has_the_facts_of_the_run(exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    for fact in ("16×16 pixels, grey", "held out: 4 for validation, 5 for tests", "handwritten digits", "Seed 0"):
        assert fact in card
    assert "| full | 2 | 24 |" in card and "| train.recon.psnr | 21.75 |" in card and "loss l1" in card
    assert "| samples.kd | 0.5 ± 0.012 |" in card and "priors.gmm" not in card and "samples.se" not in card
    assert "Feature network of the metrics: squeezenet1\\_1, no pretrained weights" in card
    assert "Features for clustering: pixels, no pretrained weights" in card and "| of" not in card


def test_the_card_tells_the_run_whatever_the_params_say_now(tmp_path):
    run = RunRecord.of(exports.PARAMS, {"source": "folder", "folder": "cats", "train": 12, "validation": 2, "test": 3})
    loss = Loss("vgg16", "/home/me/v.safetensors", "perceptual", 4)
    folder = exports.trained(tmp_path / "model")
    history = History.load(folder)
    history.run = dataclasses.replace(run, seed=77, noise=0.25, loss=loss)
    history.save(folder)
    card = card_of(folder, tmp_path, params=exports.tiny_params(seed=1, evaluate__weights="imagenet"))
    for fact in (
        "Seed 77",
        "loss perceptual",
        "noise on codes: 0.25",
        "a folder of images, cats",
        "held out: 2",
    ):
        assert fact in card
    assert "Loss: vgg16, weights of v.safetensors (the licence of that file)." in card
    assert "Feature network of the metrics: squeezenet1\\_1, no pretrained weights" in card
    assert "Features for clustering: not recorded." in card and "None were given for this model." in card
    assert "/home/me" not in card + (tmp_path / "card" / "model.json").read_text()
    assert load_bundle(tmp_path / "card", RUNTIME).record.seed == 77


def test_a_model_of_an_earlier_iglo_is_exported_with_its_params(tmp_path):
    bought = exports.changed(
        exports.tiny_params(evaluate__weights="imagenet"), name="perceptual", weights="a/v.safetensors"
    )
    card = card_of(exports.trained(tmp_path / "model", record=False), tmp_path, params=bought)
    assert "Loss: vgg16, weights of v.safetensors (the licence of that file)." in card and "a/v" not in card


def test_the_record_and_the_card_list_the_arrivals(exported, tmp_path):
    folder = exports.trained(tmp_path / "model", arrivals=(*exports.ARRIVALS[:1], named("a|b")))
    card = card_of(folder, tmp_path)
    assert "- 12 images for training: 7 in the first run, and 5 that arrived later." in card
    assert "- Source of the first run: scikit-learn's handwritten digits." in card
    assert "- Held out in the first run: 4 for validation, 5 for tests." in card
    rows = [line for line in card.partition("## Images that arrived later")[2].splitlines() if line.startswith("| ")]
    assert rows[:3] == [
        "| id | images | rows | held out | left out as known | kept by |",
        "| 2026-12 | 4 | 7 to 10 | 1 for validation, 2 for tests | 3 | images |",
        r"| a\|b | 1 | 11 to 11 | 0 | 0 | nothing |",
    ]
    known = load_bundle(tmp_path / "card", RUNTIME).record.arrivals
    assert [(each.id, each.first, each.count, each.keep) for each in known] == [
        ("2026-12", 7, 4, "images"),
        ("a|b", 11, 1, "none"),
    ]
    without = (exported / "README.md").read_text(encoding="utf-8")
    assert "arrived" not in without and "- 12 images for training; held out: 4" in without
    assert "arrivals" not in json.loads((exported / "model.json").read_text())


def named(name: str) -> ArrivalRecord:
    """The second arrival with another id."""
    return dataclasses.replace(exports.ARRIVALS[1], id=name)


def test_arrivals_that_do_not_fit_the_codes_are_not_exported(tmp_path):
    folder = exports.trained(tmp_path / "model", arrivals=exports.ARRIVALS[:1])
    with pytest.raises(UserError, match=r"^arrivals: their rows must follow each other, up to the last code; run the"):
        export_model(tmp_path / "out", folder, None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_metrics_of_another_model_are_not_on_the_card(exported, tmp_path):
    folder = exports.trained(tmp_path / "model", exports.tiny_params(seed=5))
    with pytest.warns(RecordWarning, match="^metrics: were measured on another model"):
        card = card_of(folder, tmp_path, metrics=exports.measured(exported.parent / "model"))
    assert "21.75" not in card and "None were given for this model." in card
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card = card_of(folder, tmp_path / "again", metrics=exports.measured(folder))
    assert "21.75" in card


@pytest.mark.parametrize(
    "name", ["a|b`c", "<script>alert(1)</script>", "red \x1b[31m", "two\nlines", "caf\udce9", "猫"]
)
def test_names_of_classes_are_escaped(tmp_path, name):
    folder = exports.trained(tmp_path / "model", exports.CLASS_PARAMS, classes=("ant", "bee", name))
    export_model(tmp_path / "out", folder, None)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in card.splitlines() if line.startswith("- Classes: ")]
    assert not re.search(r"<script|\x1b|[^\\][|`]", line) and line.endswith(".")
    assert load_bundle(tmp_path / "out", RUNTIME).config.classes == ("ant", "bee", name)


# --- ONNX ---


def test_onnx_gives_the_images_and_codes_of_torch(exported, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = exports.export(tmp_path, onnx=True)
    loaded = load_bundle(out, RUNTIME)
    codes = loaded.prior.draw(5, generator())
    sessions = [runtime.InferenceSession(out / f"{name}.onnx") for name in ("generator", "encoder")]
    images = sessions[0].run(None, {"codes": codes.numpy()})[0]
    read = sessions[1].run(None, {"images": images})[0]
    with torch.no_grad():
        drawn = loaded.generator(codes.to(RUNTIME.device))
        expected = loaded.config.geometry().project(loaded.encoder(drawn))
    np.testing.assert_allclose(images, drawn.cpu(), atol=1e-4)
    np.testing.assert_allclose(read, expected.cpu(), atol=1e-4)
    assert images.std() > 0.1  # else anything would be near


def test_onnx_that_differs_from_torch_is_refused(exported, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    run = onnx._run
    monkeypatch.setattr(onnx, "_run", lambda *given: run(*given) + 2e-4)
    with pytest.raises(UserError, match=r"^generator.onnx: differs from torch by 0.0002"):
        exports.export(tmp_path, onnx=True)
    assert not (tmp_path / "export").exists()


def test_onnx_without_its_packages_is_refused(exported, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UserError, match=r"^onnx: needs the packages onnxruntime; run `pip install 'iglo\[onnx\]'`\.$"):
        exports.export(tmp_path, onnx=True)
