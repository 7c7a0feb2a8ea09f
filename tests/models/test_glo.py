"""The folder of a model, there and back; batch norm, and images and codes in batches."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from iglo.errors import UserError
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import GLOConfig
from iglo.models.glo import GLOModel, encode, load_network, recalibrate_bn, render, save_network
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.run_record import Loss, RunRecord
from tests.tiny import RUNTIME, generator, same_bits, tiny_images

SHAPE = GLOConfig(6, 16, 1, 4, "sphere", None)


@pytest.fixture
def model():
    codes = SHAPE.geometry().sample(20, 6, generator())
    snapshots = Snapshots(torch.tensor([3, 0]))
    snapshots.add("staged 1", 1, torch.from_numpy(tiny_images(2)))
    network = RUNTIME.to_device(initialise(SHAPE.generator(), generator()))
    table = Codes(image=CodeTable(codes, SHAPE.geometry())).to(RUNTIME.device)
    model = GLOModel(SHAPE, network, table, np.arange(20, dtype=np.int32) % 3, snapshots)
    model.log = [{"stage": "staged 1", "epoch": 1, "reconstruction": 0.1 + 0.2}]
    model.run = RunRecord("incremental", 3, "bf16", 0.5, Loss("vgg16", "random", "l1", 4), {"source": "digits"})
    recalibrate_bn(model.generator, model.codes.values)
    return model


def test_a_model_comes_back_bit_for_bit(model, tmp_path):
    model.save(tmp_path)
    back = GLOModel.load(tmp_path, RUNTIME)
    assert same_bits(dict(back.state_dict()), dict(model.state_dict()))
    assert (
        same_bits(vars(back.snapshots), vars(model.snapshots)) and back.log == model.log and back.config == model.config
    )
    assert back.run == model.run
    np.testing.assert_array_equal(back.subset_id, model.subset_id)
    assert back.subset_id.dtype == np.int32
    images = [render(each.generator, each.codes, RUNTIME) for each in (model, back)]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("width", [4, 2])
def test_an_encoder_travels_with_its_model(model, tmp_path, width):
    encoder = RUNTIME.to_device(initialise(SHAPE.encoder(width), generator()))
    model.encoder = encoder
    images = torch.from_numpy(tiny_images(8) / np.float32(255)).permute(0, 3, 1, 2)
    encoder(images.to(RUNTIME.device))  # batch norm has seen something
    model.save(tmp_path)
    back = GLOModel.load(tmp_path, RUNTIME)
    assert same_bits(dict(back.state_dict()), dict(model.state_dict()))
    codes = [encode(each.encoder, tiny_images(8), SHAPE, RUNTIME) for each in (model, back)]
    assert torch.equal(*codes) and back.encoder.width == width


def test_a_model_without_an_encoder_has_none(model, tmp_path):
    """Though another has been saved in its folder."""
    model.encoder = RUNTIME.to_device(initialise(SHAPE.encoder(4), generator()))
    model.save(tmp_path)
    model.encoder = None
    model.save(tmp_path)
    back = GLOModel.load(tmp_path, RUNTIME)
    assert back.encoder is None and not any(name.startswith("encoder") for name in back.state_dict())


@pytest.mark.parametrize("broken", ["missing", "truncated", "empty"])
@pytest.mark.parametrize(
    "name",
    [
        "model.json",
        "codes.npy",
        "subset_id.npy",
        "generator.safetensors",
        "encoder.safetensors",
        "snapshots.json",
        "snapshots.npy",
    ],
)
def test_a_broken_file_is_named(model, tmp_path, name, broken):
    model.encoder = RUNTIME.to_device(initialise(SHAPE.encoder(4), generator()))
    model.save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if broken != "missing":
        path.write_bytes(content[: len(content) // 2 if broken == "truncated" else 0])
    with pytest.raises(UserError, match=rf"{name}: (holds no|there is no such file)[^\n]*run the stage that makes it "):
        GLOModel.load(tmp_path, RUNTIME)


def test_a_record_of_an_earlier_iglo_has_no_run_and_a_damaged_one_is_named(model, tmp_path):
    model.save(tmp_path)
    path = tmp_path / "model.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "run"}))
    assert GLOModel.load(tmp_path, RUNTIME).run is None
    path.write_text(json.dumps(record | {"run": record["run"] | {"seed": "x"}}))
    with pytest.raises(UserError, match=r"model.json: describes no model"):
        GLOModel.load(tmp_path, RUNTIME)


def test_weights_of_another_network_are_refused(model, tmp_path):
    save_network(model.generator, tmp_path / "generator.safetensors")
    other = GLOConfig(6, 16, 1, 8, "sphere", None).generator()
    with pytest.raises(UserError, match=r"holds no weights of this network"):
        load_network(other, tmp_path / "generator.safetensors")


@torch.no_grad()
def test_settled_batch_norm_is_that_of_the_codes(model):
    """Evaluation mode then shows what training mode shows of all codes at once, but for n / (n − 1) in the variance."""
    model.generator.train()
    together = model.generator(model.codes.values)
    before = model.generator.state_dict()["body.0.weight"].clone()
    recalibrate_bn(model.generator, model.codes.values)
    assert model.generator.training and torch.equal(before, model.generator.state_dict()["body.0.weight"])
    torch.testing.assert_close(model.generator.eval()(model.codes.values), together, rtol=0, atol=2e-3)
    assert (together - together.mean(0)).abs().max() > 0.02


@pytest.mark.parametrize("count", [1, 4, 17, 20])
def test_every_code_counts_the_same_however_many_there_are(count):
    """17 codes in batches of 4: a last batch of one must not weigh as much as the others."""
    codes = torch.randn(count, 6, 4, 4, generator=generator())
    codes[-1] += 10  # an outlier
    norm = nn.BatchNorm2d(6)
    norm(100 + codes)  # what it learned before is forgotten
    recalibrate_bn(norm, codes, batch_size=4)
    assert (norm.running_mean / codes.mean((0, 2, 3)) - 1).abs().max() < 0.2


def test_sorted_codes_settle_as_shuffled_ones_do():
    """Images sorted by class: batches of a class each would hide the variance between classes."""
    codes = torch.randn(40, 6, 2, 2, generator=generator())
    codes[:20] += 5
    norm = nn.BatchNorm2d(6)
    recalibrate_bn(norm, codes, batch_size=20)
    torch.testing.assert_close(norm.running_var, codes.transpose(0, 1).flatten(1).var(1), rtol=0.1, atol=0)


def test_images_do_not_depend_on_their_batch(model):
    whole, pieces = (render(model.generator, model.codes.values, RUNTIME, batch_size=size) for size in (64, 3))
    assert whole.shape == (20, 16, 16, 1) and whole.dtype == np.float32 and 0 <= whole.min() < whole.max() <= 1
    np.testing.assert_allclose(whole, pieces, atol=1e-5)


def test_codes_of_images_lie_where_codes_may(model):
    encoder = RUNTIME.to_device(initialise(SHAPE.encoder(4), generator()))
    images = tiny_images(10)
    whole, pieces = (encode(encoder, images, SHAPE, RUNTIME, batch_size=size) for size in (64, 3))
    torch.testing.assert_close(whole, pieces, rtol=0, atol=1e-4)
    torch.testing.assert_close(whole.norm(dim=1), torch.full((10,), 6**0.5), rtol=1e-5, atol=0)
    with torch.no_grad():
        batch = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2).to(RUNTIME.device)
        raw = encoder(batch).cpu()
    torch.testing.assert_close(whole, SHAPE.geometry().project(raw), rtol=0, atol=1e-4)
