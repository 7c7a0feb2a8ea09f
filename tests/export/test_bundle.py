"""An exported model: it is saved and loaded as a whole, and anything else is refused in one sentence."""

import errno
import json
import os
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import iglo
from iglo.disentangle.model import class_codes, content_codes
from iglo.errors import UserError
from iglo.export import bundle
from iglo.export.bundle import FILES, load_bundle, load_codes
from iglo.export.writing import write_bundle
from iglo.latent.priors import Prior, fit_prior
from iglo.models.glo import GLOModel
from iglo.params.run_record import Provenance, file_digest
from tests import exported as exports
from tests.exported import GLO_FILES
from tests.tiny import RUNTIME, generator, same_bits

ARRIVED = {"id": "a", "first": 7, "count": 5, "keep": "images"}  # the last five codes


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
    assert torch.equal(load_codes(loaded), model.codes.values.cpu())
    assert {path.name for path in exported.iterdir()} == GLO_FILES


@pytest.mark.parametrize("name", ["neighbours", "flow"])
def test_a_model_with_another_prior_comes_back(exported, tmp_path, name):
    model = GLOModel.load(exported.parent / "model", RUNTIME)
    prior = fit_prior(name, model.codes.values, model.config.geometry(), 0)
    write_bundle(tmp_path / "out", model, [], prior, Provenance.of(exports.PARAMS))
    loaded = iglo.load(tmp_path / "out")
    assert torch.equal(prior.draw(5, generator()), loaded.bundle.prior.draw(5, generator()))
    assert loaded.info()["prior"] == name and (loaded.info().get("prior_k") == 5) is (name == "neighbours")
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("holds learned codes" in card and "(k 5, noise 0.1)" in card) is (name == "neighbours")


def test_a_model_of_class_and_content_comes_back(exported_classes):
    model = GLOModel.load(exported_classes.parent / "model", RUNTIME)
    loaded = load_bundle(exported_classes, RUNTIME)
    assert loaded.config == model.config and loaded.config.classes == exports.CLASSES
    assert torch.equal(loaded.class_codes, class_codes(model).cpu())
    assert torch.equal(load_codes(loaded), model.codes.values.cpu())
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
        ({"arrivals": [ARRIVED | {"first": 6}]}, "describes no model (arrivals: their rows must follow each other, up"),
        ({"arrivals": [ARRIVED | {"first": 3}, ARRIVED]}, "describes no model (arrivals: their rows must follow"),
        ({"arrivals": [ARRIVED | {"count": 0}]}, "describes no model (arrivals.0.count: must be at least 1, got 0)"),
        ({"arrivals": [ARRIVED | {"id": "../a"}]}, "(arrivals.0.id: must be a name of one folder, got '../a')"),
        ({"arrivals": [ARRIVED | {"id": ".."}]}, "(arrivals.0.id: must be a name of one folder, got '..')"),
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
