"""The folder of a model, saved and loaded; batch norm, and images and codes in batches."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from iglo.errors import UserError
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import ClassContentConfig, GLOConfig, ModelConfig
from iglo.models.glo import GLOModel, encode, kind_of, load_network, recalibrate_bn, render, save_network
from iglo.models.networks import initialise
from tests.tiny import RUNTIME, generator, same_bits, tiny_images

CONFIG = GLOConfig(6, 16, 1, 4, "sphere", None)
CONFIGS = {
    "glo": CONFIG,
    "concat": ClassContentConfig(3, 4, 16, 1, 4, "concat", ("ant", "bee")),
    "film": ClassContentConfig(3, 4, 16, 1, 4, "film", ("ant", "bee")),
}


def make(config: ModelConfig, encoder_width: int | None = None) -> GLOModel:
    """An untrained model of twenty images; the images of a class share their class code."""
    tables = {}
    for seed, (name, table) in enumerate(config.tables().items()):
        keys = torch.arange(20) % len(config.classes) if table.shared else None
        rows = len(config.classes) if table.shared else 20
        codes = table.geometry.sample(rows, table.dimension, generator(seed))
        tables[name] = CodeTable(codes, table.geometry, keys, table.noisy)
    network = RUNTIME.to_device(initialise(config.generator(), generator()))
    model = GLOModel(config, network, Codes(**tables).to(RUNTIME.device))
    recalibrate_bn(model.generator, model.codes.values)
    if encoder_width:
        model.encoder = RUNTIME.to_device(initialise(config.encoder(encoder_width), generator()))
    return model


@pytest.fixture
def model():
    return make(CONFIG)


@pytest.mark.parametrize("encoder_width", [None, 4, 2])
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_of_model_is_saved_and_loaded_bit_for_bit(kind, encoder_width, tmp_path):
    model = make(CONFIGS[kind], encoder_width)
    images = tiny_images(8)
    if encoder_width:  # batch norm of the encoder has seen something
        model.encoder(torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2).to(RUNTIME.device))
    model.save(tmp_path)
    back = GLOModel.load(tmp_path, RUNTIME)
    assert back.config == model.config and kind_of(tmp_path) == model.config.kind
    assert same_bits(dict(back.state_dict()), dict(model.state_dict()))
    assert torch.equal(back.codes.values, model.codes.values)
    for name, table in model.codes.tables.items():
        assert back.codes.tables[name].noisy is table.noisy and back.codes.tables[name].geometry == table.geometry
    np.testing.assert_array_equal(*(render(each.generator, each.codes.values, RUNTIME) for each in (model, back)))
    assert (back.encoder and back.encoder.width) == encoder_width
    if encoder_width:
        codes = [encode(each.encoder, images, each.config, RUNTIME) for each in (model, back)]
        assert torch.equal(*codes) and codes[0].shape == (8, model.config.dimension)


def test_an_encoder_that_is_no_longer_there_is_not_loaded(model, tmp_path):
    make(CONFIG, 4).save(tmp_path)
    model.save(tmp_path)
    back = GLOModel.load(tmp_path, RUNTIME)
    assert back.encoder is None and not any(name.startswith("encoder") for name in back.state_dict())


def test_only_the_main_rank_writes_what_ranks_share(tmp_path):
    make(CONFIGS["concat"], 4).save(tmp_path, is_main=False)
    assert {path.name for path in tmp_path.iterdir()} == {"content_codes.npy"}


@pytest.mark.parametrize("kind", ["glo", "concat"])
def test_a_broken_file_is_named(kind, tmp_path):
    make(CONFIGS[kind], 4).save(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == (4 if kind == "glo" else 6)
    for path in files:
        content = path.read_bytes()
        for broken in (None, content[: len(content) // 2], b""):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            message = rf"{path.name}: (holds no|there is no such file)[^\n]*run the stage that makes it "
            with pytest.raises(UserError, match=message):
                GLOModel.load(tmp_path, RUNTIME)
            path.write_bytes(content)
    GLOModel.load(tmp_path, RUNTIME)


def test_a_record_that_describes_no_model_is_refused(model, tmp_path):
    model.save(tmp_path)
    path = tmp_path / "model.json"
    record = json.loads(path.read_text())
    config = record["config"]
    old = {"shape": {name: value for name, value in config.items() if name != "kind"}, "encoder_width": None, "log": []}
    for damaged in (
        {},
        [],
        old,
        {"config": config},
        record | {"config": None},
        record | {"config": config | {"kind": "gan"}},
        record | {"config": config | {"width": "wide"}},
        *(record | {"encoder_width": width} for width in (0, -1, 1.5, True, "4", [4], 10**400)),
    ):
        path.write_text(json.dumps(damaged))
        for read in (lambda: GLOModel.load(tmp_path, RUNTIME), lambda: kind_of(tmp_path)):
            with pytest.raises(
                UserError, match=r"model\.json: describes no model; run the stage that makes it again\.$"
            ):
                read()


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("content_codes", np.zeros((20, 5), np.float32)),
        ("content_codes", np.zeros(20, np.float32)),
        ("content_codes", np.zeros((), np.float32)),
        ("content_codes", np.zeros((20, 4))),
        ("content_codes", np.zeros((20, 4), np.int8)),
        ("content_codes", np.zeros((20, 4), ">f4")),
        ("class_codes", np.zeros((2, 4), np.float32)),
        ("class_codes", np.full((2, 3), "x")),
        ("class_keys", np.zeros((20, 1), np.int64)),
        ("class_keys", np.zeros(20, np.float32)),
        ("class_keys", np.full(20, 2)),
        ("class_keys", np.full(20, -1)),
    ],
)
def test_codes_that_do_not_fit_the_model_are_refused(file, values, tmp_path):
    make(CONFIGS["concat"]).save(tmp_path)
    np.save(tmp_path / f"{file}.npy", values)
    with pytest.raises(UserError, match=rf"{file}\.npy: [^\n]*run the stage that makes it again\.$"):
        GLOModel.load(tmp_path, RUNTIME)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no trained model \(there is no model\.json\); run `dvc repro`"):
        kind_of(tmp_path)


@pytest.mark.parametrize(("kind", "other"), [("glo", "class_content"), ("concat", "glo")])
def test_a_model_of_another_kind_is_refused(kind, other, tmp_path):
    make(CONFIGS[kind]).save(tmp_path)
    config = GLOModel.load(tmp_path, RUNTIME, CONFIGS[kind].kind).config
    with pytest.raises(UserError, match=rf"holds a model of kind {config.kind}, not {other}; name another folder\.$"):
        GLOModel.load(tmp_path, RUNTIME, other)


def test_weights_of_another_network_are_refused(model, tmp_path):
    save_network(model.generator, tmp_path / "generator.safetensors")
    other = GLOConfig(6, 16, 1, 8, "sphere", None).generator()
    with pytest.raises(UserError, match=r"holds no weights of this network"):
        load_network(other, tmp_path / "generator.safetensors")


@torch.no_grad()
def test_recalibrated_batch_norm_is_that_of_the_codes(model):
    """Evaluation mode then shows what training mode shows of all codes at once, but for n / (n − 1) in the variance."""
    model.generator.train()
    together = model.generator(model.codes.values)
    before = model.generator.state_dict()["body.0.weight"].clone()
    recalibrate_bn(model.generator, model.codes.values)
    assert model.generator.training and torch.equal(before, model.generator.state_dict()["body.0.weight"])
    torch.testing.assert_close(model.generator.eval()(model.codes.values), together, rtol=0, atol=2e-3)
    assert (together - together.mean(0)).abs().max() > 0.02


@pytest.mark.parametrize("count", [1, 4, 17, 20])
def test_every_code_has_the_same_weight_whatever_their_number(count):
    """17 codes in batches of 4: a last batch of one must not weigh as much as the others."""
    codes = torch.randn(count, 6, 4, 4, generator=generator())
    codes[-1] += 10  # an outlier
    norm = nn.BatchNorm2d(6)
    norm(100 + codes)  # what it learned before is forgotten
    recalibrate_bn(norm, codes, batch_size=4)
    assert (norm.running_mean / codes.mean((0, 2, 3)) - 1).abs().max() < 0.2


def test_sorted_codes_give_the_statistics_of_shuffled_ones():
    """Batches of one class each would hide the variance between classes."""
    codes = torch.randn(40, 6, 2, 2, generator=generator())
    codes[:20] += 5
    norm = nn.BatchNorm2d(6)
    recalibrate_bn(norm, codes, batch_size=20)
    torch.testing.assert_close(norm.running_var, codes.transpose(0, 1).flatten(1).var(1), rtol=0.1, atol=0)


def test_images_do_not_depend_on_the_batch_size(model):
    whole, pieces = (render(model.generator, model.codes.values, RUNTIME, batch_size=size) for size in (64, 3))
    assert whole.shape == (20, 16, 16, 1) and whole.dtype == np.float32 and 0 <= whole.min() < whole.max() <= 1
    np.testing.assert_allclose(whole, pieces, atol=1e-5)


def test_codes_of_images_lie_where_codes_may(model):
    encoder = RUNTIME.to_device(initialise(CONFIG.encoder(4), generator()))
    images = tiny_images(10)
    whole, pieces = (encode(encoder, images, CONFIG, RUNTIME, batch_size=size) for size in (64, 3))
    torch.testing.assert_close(whole, pieces, rtol=0, atol=1e-4)
    torch.testing.assert_close(whole.norm(dim=1), torch.full((10,), 6**0.5), rtol=1e-5, atol=0)
    with torch.no_grad():
        batch = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2).to(RUNTIME.device)
        raw = encoder(batch).cpu()
    torch.testing.assert_close(whole, CONFIG.geometry().project(raw), rtol=0, atol=1e-4)
