"""Class and content on a dozen images: what is refused, what moves, and that the bits are the same again."""

import copy

import numpy as np
import pytest
import torch

from iglo.disentangle.measure import spread
from iglo.disentangle.model import learn_class_content, start_class_content
from iglo.errors import UserError
from iglo.losses.distances import L1
from iglo.models.glo import GLOModel, render
from iglo.models.networks import Generator, ModulatedGenerator
from iglo.training.callbacks import SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from tests.tiny import RUNTIME, generator, same_bits, tiny_class_params, tiny_images

IMAGES, LABELS, CLASSES = tiny_images(12), np.arange(12) % 3, ("a", "b", "c")
PARAMS, DISTANCE = tiny_class_params(), L1().to(RUNTIME.device)
COMBINE = ["concat", "film"]


def begin(params=PARAMS, labels=LABELS, classes=CLASSES) -> GLOModel:
    return start_class_content(IMAGES[: len(labels)], np.asarray(labels), classes, params, RUNTIME)


def learn(model, params=PARAMS, checkpoints=None):
    return learn_class_content(model, IMAGES, DISTANCE, params, RUNTIME, checkpoints)


@pytest.fixture(scope="module", params=COMBINE)
def learned(request):
    """Params and the model that was learned by them, with its encoders."""
    params = tiny_class_params(combine=request.param)
    model = begin(params)
    learn(model, params)
    learn_encoder(model, IMAGES, params, RUNTIME)
    return params, model


def everything(model: GLOModel) -> dict:
    record = {"log": model.log, "snapshots": model.snapshots.state_dict(), "labels": model.labels.tolist()}
    return record | {"weights": dict(model.state_dict()), "shape": model.config, "classes": model.classes}


# --- What is refused ---


@pytest.mark.parametrize(
    ("labels", "classes", "changes", "said"),
    [
        ([0, 1, 1, 0], ("", "a"), {}, "data: some images have no label; put .* into a folder of its own."),
        ([0, 0, 0], ("frog",), {}, "data.classes: at least two classes .* training images, got 1: frog."),
        ([1, 1, 1], ("frog", "toad"), {}, "data.classes: at least two classes .* training images, got 1: toad."),
        ([0, 1, 0], ("frog", "toad"), {}, "data.classes: class 'toad' has 1 of the training images; at least 2 .*"),
        ([0, 1, 0, 1], ("frog", "toad", "x"), {}, "data.classes: class 'x' has 0 of the training images; .*"),
        (LABELS, CLASSES, {"latent__class_dimension": 1}, "latent.class_dimension: 1 cannot .* use at least 2."),
    ],
)
def test_data_in_which_class_and_content_cannot_be_told_apart_are_refused(labels, classes, changes, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        begin(tiny_class_params(**changes), labels, classes)


def test_as_many_classes_as_the_codes_can_tell_apart_are_not_refused():
    assert len(begin(tiny_class_params(latent__class_dimension=2), np.arange(8) % 4, (*"abcd",)).class_codes) == 4


def test_a_folder_of_another_model_is_refused(learned, tmp_path):
    learned[1].save(tmp_path)
    with pytest.raises(UserError, match=r"model\.json: describes no model; run the stage"):
        GLOModel.load(tmp_path, RUNTIME)
    (tmp_path / "model.json").write_text('{"shape": {}, "encoder_width": null, "log": []}')
    with pytest.raises(UserError, match=r"model\.json: describes no model of class and content; run the stage"):
        GLOModel.load(tmp_path, RUNTIME)


# --- The start ---


def test_an_images_code_is_the_code_of_its_class_and_then_its_own():
    model = begin()
    assert model.class_codes.shape == (3, 3) and model.content_codes.shape == (12, 4)
    for image, code in enumerate(model.codes.values):
        assert torch.equal(code, torch.cat([model.class_codes[image % 3], model.content_codes[image]]))
    assert torch.equal(model.codes.values, model.codes(torch.arange(12, device=RUNTIME.device)))
    noise = model.codes.noise(model.codes.values, 1.0, generator())
    assert noise[:, 3:].all() and not noise[:, :3].any()
    assert [type(begin(tiny_class_params(combine=way)).generator) for way in COMBINE] == [Generator, ModulatedGenerator]


@pytest.mark.parametrize("init", ["normal", "pca"])
def test_the_start_is_the_same_from_the_same_seed(init):
    same, again, other = (begin(tiny_class_params(latent__content_init=init, seed=seed)) for seed in (0, 0, 1))
    assert same_bits(everything(same), everything(again))
    assert not torch.equal(same.class_codes, other.class_codes) and not torch.equal(same.codes, other.codes)


def test_the_pca_start_of_content_looks_at_the_images():
    model = begin(tiny_class_params(latent__content_init="pca"))
    flat = IMAGES.reshape(12, -1) / 255
    component = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(model.content_codes[:, 0].cpu(), component)[0, 1]) > 0.99
    assert torch.equal(model.class_codes, begin().class_codes)


# --- Learning ---


def test_learning_lowers_the_loss_and_moves_every_code(learned):
    params, model = learned
    start = begin(params)
    assert (model.class_codes != start.class_codes).any(1).all()
    assert (model.content_codes != start.content_codes).any(1).all()
    rows = [row for row in model.log if row["stage"] == "train"]
    assert [[*row] for row in rows] == [["stage", "epoch", "images_seen", "loss", "reconstruction", "decay"]] * 3
    assert rows[-1]["images_seen"] == 36 and rows[-1]["reconstruction"] < rows[0]["reconstruction"]


def test_without_noise_and_decay_reconstruction_is_all_there_is():
    model = begin()
    learn(model, tiny_class_params(sigma=0.0, decay=0.0))
    assert [*model.log[-1]] == ["stage", "epoch", "images_seen", "loss", "reconstruction"]
    shown = render(model.generator, model.codes.values[model.snapshots.ids], RUNTIME)
    np.testing.assert_allclose(model.snapshots.frames[-1].numpy(), shown * 255, atol=0.51)


def test_every_part_learns_at_its_own_rate(monkeypatch):
    asked = []
    monkeypatch.setattr("iglo.disentangle.model.learn_plan", lambda *given: asked.extend(given))
    rates = {"optimizer__generator_rate": 0.1, "optimizer__class_rate": 0.2, "optimizer__content_rate": 0.3}
    model = begin()
    learn(model, tiny_class_params(**rates, sigma=0.7, decay=0.4, train__epochs=9))
    _, _, _, plan, name, epochs, optimizers = asked[:7]
    assert [(weight, term.name) for weight, term in plan.terms] == [(1.0, "reconstruction"), (0.4, "decay")]
    assert plan.terms[0][1].sigma == 0.7 and plan.terms[1][1].factor == "content"
    assert (name, epochs, plan.parts["current"].batch_size, plan.reshuffle) == ("train", 9, 4, True)
    moved = [[*model.generator.parameters()], *([model.codes.tables[each].codes] for each in ("class", "content"))]
    for optimizer, rate, parameters in zip(optimizers, (0.1, 0.2, 0.3), moved, strict=True):
        (group,) = optimizer.param_groups
        assert group["lr"] == rate and {*map(id, group["params"])} == {*map(id, parameters)}


def test_decay_shortens_the_content_codes_and_no_others():
    lengths = []
    for decay in (0.0, 10.0):
        model = begin()
        learn(model, tiny_class_params(decay=decay, sigma=0.0, train__epochs=12, optimizer__content_rate=0.1))
        lengths.append([codes.norm(dim=1).mean().item() for codes in (model.content_codes, model.class_codes)])
    (content, classes), (decayed, same) = lengths
    assert decayed < 0.5 * content and same > 0.8 * classes


def test_much_noise_on_content_leaves_the_class_alone_to_tell_images_apart():
    """So the images of a class become one."""
    spreads = []
    for sigma in (0.0, 30.0):
        params = tiny_class_params(
            sigma=sigma, decay=0.0, train__epochs=12, optimizer__generator_rate=0.01, optimizer__content_rate=0.1
        )
        model = begin(params)
        learn(model, params)
        spreads.append(spread(render(model.generator, model.codes.values, RUNTIME), LABELS))
    assert spreads[1] < 0.1 * spreads[0]


# --- The same bits ---


def test_the_same_seed_gives_the_same_bits_and_another_other_ones(learned):
    params, model = learned
    again = begin(params)
    learn(again, params)
    torch.manual_seed(12345)
    learn_encoder(again, IMAGES, params, RUNTIME)
    assert same_bits(everything(again), everything(model))
    other = tiny_class_params(combine=params.combine, seed=1)
    model = begin(params)
    learn(model, other)
    assert not torch.equal(model.codes.values, again.codes)


def test_a_model_that_is_saved_and_loaded_is_the_same_and_is_learned_on_the_same(learned, tmp_path):
    params, model = learned[0], copy.deepcopy(learned[1])
    model.save(tmp_path)
    loaded = GLOModel.load(tmp_path, RUNTIME)
    assert same_bits(everything(loaded), everything(model))
    for each in (model, loaded):
        learn_jointly(each, IMAGES, DISTANCE, params, RUNTIME)
    assert same_bits(everything(loaded), everything(model)) and model.log[-1]["stage"] == "joint"
    begin(params).save(tmp_path)
    assert GLOModel.load(tmp_path, RUNTIME).encoder is None


@pytest.mark.parametrize("combine", COMBINE)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(combine, tmp_path, monkeypatch):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    params = tiny_class_params(combine=combine)
    whole, checkpoints, epochs = begin(params), CheckpointFolder(tmp_path), []
    learn(whole, params)
    take = SnapshotCallback.after_epoch

    def killed(self, model, epoch):
        take(self, model, epoch)
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotCallback, "after_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(begin(params), params, checkpoints)
    resumed = begin(params)
    learn(resumed, params, checkpoints)
    assert epochs == [1, 2, 2, 3]  # from the step before it was killed
    assert same_bits(everything(resumed), everything(whole))
