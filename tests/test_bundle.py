"""An exported model: what goes in comes out, whole or not at all, and what is no model is refused in one sentence."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from iglo import bundle, onnx_files
from iglo.bundle import FILES, export_model, load_bundle
from iglo.class_content import ClassContentModel
from iglo.errors import UserError
from iglo.model import Model
from iglo.sampling import Sampler
from tests import exported as exports
from tests.tiny import RUNTIME, generator, same_bits

GLO_FILES = {"generator.safetensors", "encoder.safetensors", "sampler.safetensors", "model.json", "README.md"}


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_bundle(folder, RUNTIME)
    sentence = str(error.value)
    assert re.fullmatch(r"[^\n]+\.", sentence)
    return sentence


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


# --- Round trip ---


def test_a_model_comes_back(exported):
    model = Model.load(exported.parent / "model", RUNTIME)
    loaded = load_bundle(exported, RUNTIME)
    for name in ("generator", "encoder"):
        states = (dict(getattr(each, name).state_dict()) for each in (model, loaded))
        assert same_bits(*states)
    sampler = Sampler.load(exported.parent / "samplers" / "gaussian.safetensors", model.shape.geometry())
    assert torch.equal(sampler.draw(5, generator()), loaded.sampler.draw(5, generator()))
    codes, known = model.codes.cpu().numpy().astype(float), loaded.record.codes
    np.testing.assert_allclose(known.mean, codes.mean(0), atol=1e-12)
    np.testing.assert_allclose(known.std, codes.std(0), atol=1e-12)
    assert known.length == pytest.approx(6**0.5, rel=1e-6) and known.count == 12
    assert loaded.shape == model.shape and loaded.record.classes == () and loaded.class_codes is None
    assert {path.name for path in exported.iterdir()} == GLO_FILES


def test_a_model_of_class_and_content_comes_back(exported_classes):
    model = ClassContentModel.load(exported_classes.parent / "model", RUNTIME)
    loaded = load_bundle(exported_classes, RUNTIME)
    assert loaded.record.kind == "class_content" and loaded.record.classes == exports.CLASSES
    assert torch.equal(loaded.class_codes, model.class_codes.cpu()) and loaded.shape == model.shape
    assert same_bits(dict(loaded.generator.state_dict()), dict(model.generator.state_dict()))
    drawn = loaded.sampler.draw(20_000, generator())
    content = model.content_codes.cpu()
    torch.testing.assert_close(drawn.mean(0), content.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), content.T.cov(), atol=0.1, rtol=0)
    assert {path.name for path in exported_classes.iterdir()} == GLO_FILES | {"classes.safetensors"}


# --- What is no exported model ---


def test_what_is_no_exported_model_is_refused(exported, tmp_path):
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "it has no model.json" in refused(tmp_path)
    assert f"`iglo export --model {exported.parent / 'model'}`" in refused(exported.parent / "model")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "is of format version 2, newer than this iglo reads (1); install a newer iglo."),
        ({"kind": "gan"}, "describes no model (kind: must be one of glo, class_content, got 'gan')"),
        ({"shape": {"dimension": 6}}, "describes no model (shape.image_size: missing)"),
        ({"seed": "0"}, "describes no model (seed: must be a whole number, got '0')"),
        ({"sampler": "imle"}, "sampler.safetensors: truncated, damaged or of another model"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(copy, changes, said):
    path = copy / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert said in refused(copy)


def test_a_shape_of_another_model_is_refused(copy):
    path = copy / "model.json"
    path.write_text(path.read_text().replace('"dimension": 6', '"dimension": 7'))
    assert "generator.safetensors: truncated, damaged or of another model" in refused(copy)


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


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path):
    bare = exports.trained(tmp_path / "bare", encoder=False)
    whole = exports.trained(tmp_path / "whole")
    samplers = exports.fitted(tmp_path / "samplers")
    other = exports.tiny_params(generator__width=8)
    for model, folder, params, said in [
        (bare, samplers, exports.PARAMS, f"^{bare}: has no encoder"),
        (whole, tmp_path / "none", exports.PARAMS, "samplers.json"),
        (whole, samplers, other, "^generator.width: is 8, but .* was made with 4"),
        (whole, samplers, exports.CLASS_PARAMS, "describes no model of class and content"),
        (tmp_path / "none", samplers, exports.PARAMS, "model.json"),
    ]:
        with pytest.raises(UserError, match=said):
            export_model(tmp_path / "out", model, folder, params)
    assert {path.name for path in tmp_path.iterdir()} == {"bare", "whole", "samplers"}


def test_an_export_that_breaks_off_leaves_the_older_one(exported, tmp_path, monkeypatch):
    out = Path(shutil.copytree(exported, tmp_path / "out"))
    monkeypatch.setattr(bundle, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_model(out, exported.parent / "model", exported.parent / "samplers", exports.PARAMS)
    assert {name: (out / name).read_bytes() for name in GLO_FILES} == {
        name: (exported / name).read_bytes() for name in GLO_FILES
    }
    assert os.listdir(tmp_path) == ["out"]


def test_the_card_says_what_is_known(exported, tmp_path):
    card = (exported / "README.md").read_text(encoding="utf-8")
    for fact in ("16×16 pixels, grey", "12 images for training", "handwritten digits", "Seed 0", "| full | 2 | 24 |"):
        assert fact in card
    assert "| `train.recon.psnr` | 21.75 |" in card and "squeezenet1_1, no pretrained weights" in card
    bought = exports.changed(
        exports.tiny_params(evaluate__weights="imagenet"), name="perceptual", weights="a/v.safetensors"
    )
    folders = exported.parent / "model", exported.parent / "samplers"
    export_model(tmp_path / "out", *folders, bought)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Loss: vgg16, weights of `v.safetensors` (the licence of that file)." in card
    assert "Judge of the metrics: alex, torchvision's ImageNet weights" in card and "non-commercial" in card
    assert "None were given." in card and "a/v" not in card


# --- ONNX ---


def test_onnx_draws_and_reads_as_torch_does(exported, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = exports.export(tmp_path, onnx=True)
    loaded = load_bundle(out, RUNTIME)
    codes = loaded.sampler.draw(5, generator())
    sessions = [runtime.InferenceSession(out / f"{name}.onnx") for name in ("generator", "encoder")]
    images = sessions[0].run(None, {"codes": codes.numpy()})[0]
    read = sessions[1].run(None, {"images": images})[0]
    with torch.no_grad():
        drawn = loaded.generator(codes.to(RUNTIME.device))
        expected = loaded.shape.geometry().project(loaded.encoder(drawn))
    np.testing.assert_allclose(images, drawn.cpu(), atol=1e-4)
    np.testing.assert_allclose(read, expected.cpu(), atol=1e-4)
    assert images.std() > 0.1  # else anything would be near


def test_onnx_that_differs_from_torch_is_refused(exported, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    run = onnx_files._run
    monkeypatch.setattr(onnx_files, "_run", lambda *given: run(*given) + 2e-4)
    with pytest.raises(UserError, match=r"^generator.onnx: differs from torch by 0.0002"):
        exports.export(tmp_path, onnx=True)
    assert not (tmp_path / "export").exists()


def test_onnx_without_its_packages_is_refused(exported, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UserError, match=r"^onnx: needs the packages onnxruntime; run `pip install 'iglo\[onnx\]'`\.$"):
        exports.export(tmp_path, onnx=True)
