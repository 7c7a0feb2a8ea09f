"""An exported model: it is saved and loaded as a whole, and anything else is refused in one sentence."""

import dataclasses
import errno
import importlib.util
import json
import os
import re
import resource
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from iglo.disentangle.model import class_codes, content_codes
from iglo.errors import UserError
from iglo.export import bundle, onnx, writing
from iglo.export.bundle import FILES, load_bundle
from iglo.export.writing import RecordWarning, export_model
from iglo.latent.priors import Prior
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.run_record import Loss, RunRecord, file_digest
from tests import exported as exports
from tests.tiny import RUNTIME, generator, same_bits

GLO_FILES = {"generator.safetensors", "encoder.safetensors", "prior.safetensors", "model.json", "README.md"}


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_bundle(folder, RUNTIME)
    sentence = str(error.value)
    assert re.fullmatch(r"[^\n]+\.", sentence)
    return sentence


def change(folder: Path, values: dict, config: dict) -> None:
    """Changes values in the record of an exported model, and in the config inside it."""
    path = folder / "model.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"config": record["config"] | config} | values))


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


# --- Round trip ---


def test_a_model_comes_back(exported):
    model = GLOModel.load(exported.parent / "model", RUNTIME)
    loaded = load_bundle(exported, RUNTIME)
    for name in ("generator", "encoder"):
        states = (dict(getattr(each, name).state_dict()) for each in (model, loaded))
        assert same_bits(*states)
    prior = Prior.load(exported.parent / "priors" / "gaussian.safetensors", model.config.geometry())
    assert torch.equal(prior.draw(5, generator()), loaded.prior.draw(5, generator()))
    codes, known = model.codes.values.cpu().numpy().astype(float), loaded.record.codes
    np.testing.assert_allclose(known.mean, codes.mean(0), atol=1e-12)
    np.testing.assert_allclose(known.std, codes.std(0), atol=1e-12)
    assert known.length == pytest.approx(6**0.5, rel=1e-6) and known.count == 12
    assert loaded.config == model.config and loaded.class_codes is None
    assert {path.name for path in exported.iterdir()} == GLO_FILES


def test_a_model_of_class_and_content_comes_back(exported_classes):
    model = GLOModel.load(exported_classes.parent / "model", RUNTIME)
    loaded = load_bundle(exported_classes, RUNTIME)
    assert loaded.config == model.config and loaded.config.classes == exports.CLASSES
    assert torch.equal(loaded.class_codes, class_codes(model).cpu())
    assert same_bits(dict(loaded.generator.state_dict()), dict(model.generator.state_dict()))
    drawn = loaded.prior.draw(20_000, generator())
    content = content_codes(model).cpu()
    torch.testing.assert_close(drawn.mean(0), content.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), content.T.cov(), atol=0.1, rtol=0)
    assert {path.name for path in exported_classes.iterdir()} == GLO_FILES | {"classes.safetensors"}


# --- What is no exported model ---


def test_what_is_no_exported_model_is_refused(exported, tmp_path):
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "it has no model.json" in refused(tmp_path)
    assert f"`iglo export --model {exported.parent / 'model'}`" in refused(exported.parent / "model")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"version": 3}, "has format version 3, newer than this iglo reads (2); install a newer iglo."),
        ({"version": 1}, "has format version 1, older than this iglo reads (2); export the model again."),
        ({"config": {"kind": "glo", "dimension": 6}}, "describes no model (config.image_size: missing)"),
        ({"config": [6]}, "describes no model (config: must be a mapping of keys to values, got [6])"),
        ({"seed": "0"}, "describes no model (seed: must be a whole number, got '0')"),
        ({"prior": "imle"}, "prior.safetensors: truncated, damaged or of another model"),
        ({"encoder_width": 10**12}, "encoder.safetensors: truncated, damaged or of another model"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(copy, values, said):
    change(copy, values, {})
    assert said in refused(copy)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kind": "gan"}, "describes no model (config.kind: must be one of glo, class_content, got 'gan')"),
        ({"kind": ["glo"]}, "describes no model (config.kind: must be one of glo, class_content, got ['glo'])"),
        ({"classes": ["a", "b"]}, "describes no model (config.classes: unknown key)"),
        ({"radius": 0}, "(config.radius: must be greater than 0, got 0.0)"),
        ({"radius": int("9" * 400)}, "describes no model ("),
        ({"width": 1e30}, "(config.width: must be a whole number, got 1e+30)"),
        ({"width": 10**12}, "generator.safetensors: truncated, damaged or of another model"),
        ({"width": -1}, "(config.width: must be at least 1, got -1)"),
        ({"image_size": 2**20}, "(config.image_size: must be a power of two from 16 to 128"),
        ({"constraint": "cube"}, "(config.constraint: must be one of none, ball, sphere, got 'cube')"),
        ({"dimension": 7}, "generator.safetensors: truncated, damaged or of another model"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(copy, config, said):
    change(copy, {}, config)
    assert said in refused(copy)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"classes": []}, "(classes: must name at least one class, got none)"),
        ({"classes": ["ant", "bee"]}, "classes.safetensors: truncated, damaged or of another model"),
        ({"combine": "glue"}, "(config.combine: must be one of concat, film, got 'glue')"),
    ],
)
def test_a_config_of_class_and_content_that_cannot_be_used_is_refused(exported_classes, tmp_path, config, said):
    folder = Path(shutil.copytree(exported_classes, tmp_path / "copy"))
    change(folder, {}, config)
    assert said in refused(folder)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": ' * 5000, '{"format": "iglo", "version": ' + "9" * 5000 + "}"]
)
def test_a_record_that_is_deep_or_long_is_refused(copy, text):
    (copy / "model.json").write_text(text)
    assert "model.json: truncated or damaged" in refused(copy)


def test_no_memory_is_taken_for_a_network_that_is_not_in_the_file(copy):
    """A network of this width would take six gigabytes."""
    change(copy, {}, {"width": 3000})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "generator.safetensors: truncated, damaged or of another model" in refused(copy)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("generator", "body.0.weight", np.nan),
        ("generator", "body.1.running_var", -0.5),
        ("encoder", "head.weight", np.inf),
        ("prior", "roots", np.nan),
    ],
)
def test_impossible_weights_are_refused(copy, name, key, value):
    """They are refused even if the digest of the file is correct."""
    path, record = copy / f"{name}.safetensors", copy / "model.json"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors[key].view(-1)[0] = value
    save_file(tensors, path, metadata)
    values = json.loads(record.read_text())
    values["digests"][path.name] = file_digest(path)
    record.write_text(json.dumps(values))
    assert f"{path}: truncated, damaged or of another model" in refused(copy)


def test_a_file_without_read_permission_is_not_called_damaged(copy, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(bundle, "file_digest", forbidden)
    assert refused(copy) == f"{copy / 'generator.safetensors'}: cannot be read (permission denied)."
    assert "file name too long" in refused(copy.parent / ("a" * 300)) or os.name == "nt"


def test_weights_are_32_bit_whatever_the_default_type(copy):
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load_bundle(copy, RUNTIME)
    finally:
        torch.set_default_dtype(torch.float32)
    types = {each.dtype for network in (loaded.generator, loaded.encoder) for each in network.state_dict().values()}
    assert types == {torch.float32, torch.int64}


def test_a_model_is_loaded_without_touching_random_numbers(copy):
    state = torch.get_rng_state()
    load_bundle(copy, RUNTIME)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [*sorted(FILES[:4]), "model.json"])
def test_a_file_that_is_missing_or_damaged_is_named(name, exported_classes, tmp_path):
    folder = Path(shutil.copytree(exported_classes, tmp_path / "copy"))
    path = folder / name
    whole = path.read_bytes()
    for kept in (0, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:kept])
        assert str(path) in refused(folder)
    if name != "model.json":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert f"{path}: truncated, damaged" in refused(folder)
    path.unlink()
    assert ("model.json" if name == "model.json" else f"{path}: is missing") in refused(folder)


# --- Writing ---


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
    for fact in ("16×16 pixels, grey", "12 images for training; held out: 5", "handwritten digits", "Seed 0"):
        assert fact in card
    assert "| full | 2 | 24 |" in card and "| train.recon.psnr | 21.75 |" in card and "loss l1" in card
    assert "Feature network of the metrics: squeezenet1\\_1, no pretrained weights" in card
    assert "Features for clustering: pixels, no pretrained weights" in card and "| of" not in card


def test_the_card_tells_the_run_whatever_the_params_say_now(tmp_path):
    run = RunRecord.of(exports.PARAMS, {"source": "folder", "folder": "cats", "train": 12, "test": 3})
    loss = Loss("vgg16", "/home/me/v.safetensors", "perceptual", 4)
    folder = exports.trained(tmp_path / "model")
    history = History.load(folder)
    history.run = dataclasses.replace(run, seed=77, noise=0.25, loss=loss)
    history.save(folder)
    card = card_of(folder, tmp_path, params=exports.tiny_params(seed=1, evaluate__weights="imagenet"))
    for fact in ("Seed 77", "loss perceptual", "noise on codes: 0.25", "a folder of images, cats", "held out: 3"):
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
