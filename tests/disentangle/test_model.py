"""Class and content on a dozen images: what is refused, what changes, and that the bits are the same again."""

import numpy as np
import pytest
import torch

from iglo.disentangle.measure import spread
from iglo.disentangle.model import (
    class_codes,
    combined,
    content_codes,
    labels_of,
    learn_class_content,
    start_class_content,
)
from iglo.errors import UserError
from iglo.losses.terms import CodeDecay, Continuity
from iglo.models.glo import GLOModel, render
from iglo.models.networks import Generator, ModulatedGenerator
from iglo.training.callbacks import SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from iglo.training.loop import LRSchedule
from iglo.training.trainer import Trainer
from tests.tiny import (
    RUNTIME,
    copied,
    generator,
    loaded,
    same_bits,
    saved,
    stage_of,
    state_of,
    tiny_class_params,
    tiny_images,
    weights_of,
)

IMAGES, LABELS, CLASSES = tiny_images(12), np.arange(12) % 3, ("a", "b", "c")
PARAMS = tiny_class_params()
COMBINE = ["concat", "film"]


def begin(params=PARAMS, labels=LABELS, classes=CLASSES, **options) -> Trainer:
    images = IMAGES[: len(labels)]
    model, history = start_class_content(images, np.asarray(labels), classes, params, RUNTIME)
    return Trainer(model, images, history, params, RUNTIME, **options)


def learned_with(params) -> GLOModel:
    trainer = begin(params)
    learn_class_content(trainer)
    return trainer.model


@pytest.fixture(scope="module", params=COMBINE)
def learned(request):
    """A training that has ended, with the encoders."""
    trainer = begin(tiny_class_params(combine=request.param))
    learn_class_content(trainer)
    learn_encoder(trainer)
    return trainer


# --- What is refused ---


@pytest.mark.parametrize(
    ("labels", "classes", "changes", "said"),
    [
        ([0, 1, 1, 0], ("", "a"), {}, "data: some images have no label; put .* into a folder of its own."),
        ([0, 0, 0], ("frog",), {}, "data.classes: at least two classes .* images, got 1: frog; add classes."),
        (
            [1, 1, 1],
            ("frog", "toad"),
            {},
            "data.classes: at least two classes .* images, got 1: toad; add classes.",
        ),
        ([0, 1, 0], ("frog", "toad"), {}, "data.classes: class 'toad' has 1 of the training images; at least 2 .*"),
        ([0, 1, 0, 1], ("frog", "toad", "x"), {}, "data.classes: class 'x' has 0 of the training images; .*"),
        (LABELS, CLASSES, {"latent__class_dimension": 1}, "latent.class_dimension: 1 cannot .* use at least 2."),
    ],
)
def test_data_that_do_not_separate_class_and_content_are_refused(labels, classes, changes, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        begin(tiny_class_params(**changes), labels, classes)


def test_as_many_classes_as_the_codes_can_tell_apart_are_accepted():
    trainer = begin(tiny_class_params(latent__class_dimension=2), np.arange(8) % 4, (*"abcd",))
    assert len(class_codes(trainer.model)) == 4 and trainer.model.config.classes == (*"abcd",)


# --- The start ---


def test_an_images_code_is_the_code_of_its_class_and_then_its_own():
    model = begin().model
    classes, content, codes = class_codes(model), content_codes(model), model.codes.values
    assert classes.shape == (3, 3) and content.shape == (12, 4) and labels_of(model).tolist() == LABELS.tolist()
    for image, code in enumerate(codes):
        assert torch.equal(code, torch.cat([classes[image % 3], content[image]]))
    assert torch.equal(codes, model.codes(torch.arange(12, device=RUNTIME.device)))
    assert torch.equal(codes, combined(model, LABELS, content))
    others = combined(model, np.array([2, 0]), content[:2])
    assert torch.equal(others, torch.cat([classes[[2, 0]], content[:2]], dim=1))
    noise = model.codes.noise(codes, 1.0, generator())
    assert noise[:, 3:].all() and not noise[:, :3].any()


def test_the_way_to_combine_the_codes_chooses_the_generator():
    networks = [begin(tiny_class_params(combine=way)).model.generator for way in COMBINE]
    assert [type(network) for network in networks] == [Generator, ModulatedGenerator]


@pytest.mark.parametrize("init", ["normal", "pca"])
def test_the_start_depends_on_the_seed(init):
    same, again, other = (begin(tiny_class_params(latent__content_init=init, seed=seed)) for seed in (0, 0, 1))
    assert same_bits(state_of(same), state_of(again))
    assert not torch.equal(class_codes(same.model), class_codes(other.model))
    assert not torch.equal(content_codes(same.model), content_codes(other.model))


def test_the_pca_start_of_content_depends_on_the_images():
    model = begin(tiny_class_params(latent__content_init="pca")).model
    flat = IMAGES.reshape(12, -1) / 255
    component = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(content_codes(model)[:, 0].cpu(), component)[0, 1]) > 0.99
    assert torch.equal(class_codes(model), class_codes(begin().model))


# --- Learning ---


def test_learning_lowers_the_loss_and_changes_every_code(learned):
    start = begin(learned.params).model
    for codes in (class_codes, content_codes):
        assert (codes(learned.model) != codes(start)).any(1).all()
    rows = [row for row in learned.history.log if row["stage"] == "train"]
    assert [[*row] for row in rows] == [["stage", "epoch", "images_seen", "loss", "reconstruction", "decay"]] * 3
    assert rows[-1]["images_seen"] == 36 and rows[-1]["reconstruction"] < rows[0]["reconstruction"]


def test_without_noise_and_decay_there_is_only_reconstruction():
    trainer = begin(tiny_class_params(sigma=0.0, decay=0.0))
    learn_class_content(trainer)
    model, history = trainer.model, trainer.history
    assert [*history.log[-1]] == ["stage", "epoch", "images_seen", "loss", "reconstruction"]
    assert history.snapshots.places == [("train", 0), ("train", 1), ("train", 2), ("train", 3)]
    shown = render(model.generator, model.codes.values[history.snapshots.ids], RUNTIME)
    np.testing.assert_allclose(history.snapshots.frames[-1].numpy(), shown * 255, atol=0.51)


def test_the_stage_is_what_the_params_say():
    rates = {"optimizer__generator_rate": 0.1, "optimizer__class_rate": 0.2, "optimizer__content_rate": 0.3}
    trainer = begin(tiny_class_params(**rates, sigma=0.7, decay=0.4, train__epochs=9))
    stage = stage_of(lambda: learn_class_content(trainer), "train")
    assert weights_of(stage) == {"reconstruction": 1.0, "decay": 0.4} and stage.images_per_epoch == 12
    assert [term for _, term in stage.terms] == [Continuity(0.7, name="reconstruction"), CodeDecay("content")]
    assert stage.schedule == LRSchedule(9, trainer.params.optimizer.schedule) and stage.reshuffle
    assert stage.sources["current"].batch_size == 4 and stage.ids.tolist() == list(range(12))
    tables = [[trainer.model.codes.tables[name].weight] for name in ("class", "content")]
    moved = [[*trainer.model.generator.parameters()], *tables]
    for optimizer, rate, parameters in zip(stage.optimizers, (0.1, 0.2, 0.3), moved, strict=True):
        (group,) = optimizer.param_groups
        assert group["lr"] == rate and {*map(id, group["params"])} == {*map(id, parameters)}


def test_decay_shortens_the_content_codes_and_no_others():
    lengths = []
    for decay in (0.0, 10.0):
        params = tiny_class_params(decay=decay, sigma=0.0, train__epochs=12, optimizer__content_rate=0.1)
        model = learned_with(params)
        lengths.append([codes(model).norm(dim=1).mean().item() for codes in (content_codes, class_codes)])
    (content, classes), (decayed, same) = lengths
    assert decayed < 0.5 * content and same > 0.8 * classes


def test_with_much_noise_on_content_the_images_of_a_class_become_one():
    spreads = []
    for sigma in (0.0, 30.0):
        rates = {"optimizer__generator_rate": 0.01, "optimizer__content_rate": 0.1}
        model = learned_with(tiny_class_params(sigma=sigma, decay=0.0, train__epochs=12, **rates))
        spreads.append(spread(render(model.generator, model.codes.values, RUNTIME), LABELS))
    assert spreads[1] < 0.1 * spreads[0]


# --- The same bits ---


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(learned):
    again = begin(learned.params)
    learn_class_content(again)
    torch.manual_seed(12345)
    learn_encoder(again)
    assert same_bits(state_of(again), state_of(learned))
    other = begin(learned.params)
    other.params = tiny_class_params(combine=learned.params.combine, seed=1)
    learn_class_content(other)
    assert not torch.equal(other.model.codes.values, again.model.codes.values)


def test_a_loaded_model_is_the_same_and_is_trained_in_the_same_way(learned, tmp_path):
    whole, back = copied(learned), copied(learned, **loaded(saved(learned, tmp_path / "model")))
    assert same_bits(state_of(back), state_of(learned))
    for each in (whole, back):
        learn_jointly(each)
    assert same_bits(state_of(back), state_of(whole)) and whole.history.log[-1]["stage"] == "joint"


@pytest.mark.parametrize("combine", COMBINE)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(combine, tmp_path, monkeypatch):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    params = tiny_class_params(combine=combine)
    whole, checkpoints, epochs = begin(params), CheckpointFolder(tmp_path), []
    learn_class_content(whole)
    after_epoch = SnapshotCallback.after_epoch

    def killed(self, model, epoch):
        after_epoch(self, model, epoch)
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotCallback, "after_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        learn_class_content(begin(params, checkpoints=checkpoints))
    resumed = begin(params, checkpoints=checkpoints)
    learn_class_content(resumed)
    assert epochs == [1, 2, 2, 3]  # from the step before it was killed
    assert same_bits(state_of(resumed), state_of(whole))
