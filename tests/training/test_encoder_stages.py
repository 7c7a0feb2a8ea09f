"""The stages that learn an encoder: what each reads and changes, which epoch it keeps, and that it resumes."""

import numpy as np
import pytest
import torch

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.terms import Autoencoding, Objective
from iglo.models.glo import encode, render
from iglo.training import trainer as trainers
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import _split_held_out, learn_autoencoder, learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all
from iglo.training.loop import RunState
from iglo.training.trainer import Trainer
from tests.tiny import (
    RUNTIME,
    copied,
    loaded,
    same_bits,
    saved,
    stage_of,
    state_of,
    tiny_images,
    tiny_params,
    tiny_trainer,
    weights_of,
)

IMAGES, PARAMS = tiny_images(14), tiny_params()
ONE_EPOCH = tiny_params(encoder__epochs=1, joint__epochs=1)


def learn_instead(trainer: Trainer, budget: int = 60, penalty: float = 0.1) -> RunState:
    return learn_autoencoder(trainer, budget, penalty)


def weights(network: torch.nn.Module) -> dict:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def plain():
    """A training without an encoder, whose generator draws the training images roughly."""
    trainer = tiny_trainer(IMAGES, tiny_params(full__epochs=40, optimizer__generator_rate=0.01))
    learn_all(trainer)
    return copied(trainer, params=PARAMS)


@pytest.fixture(scope="module")
def encoded(plain):
    """The same with an encoder."""
    trainer = copied(plain, params=tiny_params(encoder__epochs=30, encoder__rate=0.005))
    learn_encoder(trainer)
    return copied(trainer, params=PARAMS)


@pytest.fixture
def trainer(encoded):
    return copied(encoded)


def split(trainer: Trainer, learn=learn_encoder) -> tuple[set[int], set[int]]:
    """Ids that are learned from, and those that choose the epoch."""
    stage = stage_of(lambda: learn(copied(trainer)), "encoder" if learn is learn_encoder else "joint")
    assert set(stage.ids) == set(range(14))
    return set(stage.sources["current"].ids), set(stage.validation.ids)


# --- The epoch is chosen on held-out images ---


@pytest.mark.parametrize("learn", [learn_encoder, learn_jointly])
def test_held_out_images_choose_the_epoch_and_teach_nothing(learn, trainer):
    kept, held_out = split(trainer, learn)
    assert len(held_out) == 4 and not kept & held_out and kept | held_out == set(range(14))
    learned, scores = [], []
    for spoilt in (None, min(held_out), min(kept)):
        images = IMAGES.copy()
        changed = copied(trainer, images=images, params=ONE_EPOCH)
        if spoilt is not None:
            images[spoilt] = 255 - images[spoilt]
            changed.model.codes.tables["image"].weight.data[spoilt] *= -1
        scores.append(learn(changed).rows[0]["held_out"])
        learned.append([weights(changed.model.generator), weights(changed.model.encoder)])
    assert same_bits(learned[0], learned[1]) and not same_bits(learned[0], learned[2])
    assert len(set(scores)) == 3


def test_both_stages_hold_out_the_same_images(trainer):
    assert split(trainer, learn_encoder) == split(trainer, learn_jointly)


@pytest.mark.parametrize("learn", [learn_encoder, learn_jointly])
def test_the_best_epoch_is_kept(learn, trainer, monkeypatch):
    scores, seen, start, model = [3.0, 1.0, 2.0], [], weights(trainer.model.generator), trainer.model

    def mean_loss(objective, model, *_):
        assert not model.training
        seen.append([weights(model.generator), weights(model.encoder)])
        return scores[len(seen) - 1]

    monkeypatch.setattr(trainers, "_mean_loss", mean_loss)
    state = learn(trainer)
    assert [row["held_out"] for row in state.rows] == [row["held_out"] for row in trainer.history.log[-3:]] == scores
    assert same_bits([weights(model.generator), weights(model.encoder)], seen[1])
    assert not same_bits(seen[1][1], seen[2][1])
    assert same_bits(seen[1][0], start) is (learn is learn_encoder)


def test_at_least_one_image_must_be_left_to_learn_from(plain):
    with pytest.raises(
        UserError, match=r"^encoder\.held_out: must leave at least one of the 14 [^\n]* 0\.99; lower it\.$"
    ):
        learn_encoder(copied(plain, params=tiny_params(encoder__held_out=0.99)))


# --- From the codes ---


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_the_encoder_learns_and_leaves_generator_and_codes_alone(pairs, plain):
    rates = {"encoder__rate": 0.005, "encoder__schedule": "constant"}
    trainer = copied(plain, params=tiny_params(encoder__epochs=60, encoder__pairs=pairs, **rates))
    model, before = trainer.model, weights(plain.model)
    state = learn_encoder(trainer)
    after, row = weights(model), trainer.history.log[-1]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weights.grad is None for weights in model.generator.parameters())
    terms = ["code_regression"] + ["rendered_pairs"] * (pairs > 0)
    assert [*row] == ["stage", "epoch", "images_seen", "loss", *terms, "held_out"]
    assert [*state.rows[0]] == [*row][1:] and row["stage"] == "encoder" and len(state.rows) == 60
    assert state.rows[-1]["code_regression"] < 0.5 * state.rows[0]["code_regression"]
    similar = torch.cosine_similarity(encode(model.encoder, IMAGES, model.config, RUNTIME), model.codes.values.cpu())
    assert similar.median() > 0.9


# --- Together with the generator ---


def spots(count: int, seed: int) -> np.ndarray:
    """(N, 16, 16, 1) uint8: each image has a spot whose place, size and brightness are easy to learn."""
    rng = np.random.default_rng(seed)
    place, size, brightness = (rng.uniform(*ends) for ends in ((4, 12, (count, 2)), (1.5, 3, count), (120, 255, count)))
    offsets = np.stack(np.mgrid[:16, :16]) - place[:, :, None, None]
    values = brightness[:, None, None] * np.exp(-(offsets**2).sum(1) / (2 * size[:, None, None] ** 2))
    return values.round().astype(np.uint8)[..., None]


def error(trainer: Trainer, images: np.ndarray) -> float:
    model = trainer.model
    drawn = render(model.generator, encode(model.encoder, images, model.config, RUNTIME), RUNTIME)
    return np.abs(drawn - images / np.float32(255)).mean().item()


def test_generator_and_encoder_draw_unseen_images_better_together():
    images, unseen = spots(24, seed=0), spots(50, seed=9)
    rates = {"optimizer__generator_rate": 0.01, "encoder__rate": 0.005, "joint__rate": 0.003}
    params = tiny_params(full__epochs=20, encoder__epochs=20, joint__epochs=40, **rates)
    trainer = tiny_trainer(images, params)
    learn_all(trainer)
    learn_encoder(trainer)
    held_out = images[_split_held_out(24, params)[0]]
    codes, before = trainer.model.codes.values.clone(), [error(trainer, held_out), error(trainer, unseen)]
    state = learn_jointly(trainer)
    after = [error(trainer, held_out), error(trainer, unseen)]
    assert after[0] < 0.95 * before[0] and after[1] < 0.9 * before[1]
    scores = [row["held_out"] for row in state.rows]
    assert after[0] == pytest.approx(min(scores), rel=1e-4) and len(scores) == 40
    assert torch.equal(trainer.model.codes.values, codes)


def test_the_log_of_joint_learning_has_its_terms_and_counts_rendered_images(trainer):
    """An epoch is three batches of four; a batch is rendered from its codes and from the codes of the encoder."""
    state = learn_jointly(trainer)
    terms, rows = ["autoencoding", "preservation", "code_regression", "rendered_pairs"], trainer.history.log[-3:]
    assert [[*row] for row in rows] == [["stage", "epoch", "images_seen", "loss", *terms, "held_out"]] * 3
    assert rows[-1]["stage"] == "joint"
    assert [row["images_seen"] for row in state.rows] == [24, 48, 72]


@pytest.mark.parametrize(
    "changes", [{"encoder__mode": "codes"}, {"joint__epochs": 0}], ids=["codes alone", "no epochs"]
)
def test_joint_learning_can_be_turned_off(trainer, changes):
    before = state_of(trainer)
    assert learn_jointly(copied(trainer, model=trainer.model, params=tiny_params(**changes))) == RunState()
    assert same_bits(state_of(trainer), before)


@pytest.mark.parametrize(("beta", "sigma"), [(0.7, 0.3), (0.0, 0.0)])
def test_the_joint_stage_is_what_the_params_say(trainer, beta, sigma):
    """The codes have noise if the last stage had noise; the images to autoencode are augmented, the others are not."""
    changes = {"joint__keep_weight": 0.2, "joint__code_weight": 0.5, "encoder__pairs": 3.0}
    changes |= {"joint__flip": True, "joint__shift": 3, "joint__gain": 0.3}
    params = tiny_params(beta=beta, sigma=0.3, **changes)
    stage = stage_of(lambda: learn_jointly(copied(trainer, params=params)), "joint")
    expected = {"autoencoding": 1.0, "preservation": 0.2, "code_regression": 0.5, "rendered_pairs": 1.5}
    assert weights_of(stage) == pytest.approx(expected)
    terms = {term.name: term for _, term in stage.terms}
    assert terms["preservation"].sigma == sigma
    assert {name: term.source for name, term in terms.items()} == dict.fromkeys(terms, "current") | {
        "autoencoding": "varied"
    }
    assert {name: each.augment for name, each in stage.sources.items()} == {
        "current": None,
        "varied": Augment(True, 3, 0.3),
    }
    assert set(stage.sources["varied"].ids) == set(stage.sources["current"].ids) == split(trainer)[0]
    assert stage.validation.term == stage.check == Autoencoding()


# --- Instead of the codes ---


def test_the_codes_of_an_autoencoder_are_those_of_its_encoder():
    trainer = tiny_trainer(IMAGES, tiny_params(optimizer__generator_rate=0.01))
    state, model = learn_instead(trainer, budget=600), trainer.model
    assert torch.equal(model.codes.values.cpu(), encode(model.encoder, IMAGES, model.config, RUNTIME))
    torch.testing.assert_close(model.codes.values.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    losses = [row["autoencoding"] for row in state.rows]
    assert losses[-1] < 0.7 * losses[0] and trainer.history.log[-1]["stage"] == "autoencoder"
    drawn = render(model.generator, model.codes.values, RUNTIME)
    assert np.abs(drawn - IMAGES / 255).mean() < 0.8 * losses[0]
    with torch.no_grad():
        expected = model.generator.body[0](model.codes.values).mean((0, 2, 3))
    torch.testing.assert_close(model.generator.body[1].running_mean, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("budget", "epochs"), [(0, 1), (22, 1), (23, 2), (67, 4), (75, 5)])
def test_an_autoencoder_takes_its_budget_to_the_nearest_epoch(budget, epochs):
    """An epoch is three batches of five."""
    watched = []

    class Watcher:
        def __init__(self, network, images_seen):
            watched.append((network, images_seen))

        def after_step(self, model):
            pass

        def after_epoch(self, model, epoch):
            watched.append(epoch)

    trainer = tiny_trainer(IMAGES, PARAMS, make_callback=Watcher)
    state = learn_instead(trainer, budget)
    assert state.images_seen == 15 * epochs and watched[0] == (trainer.model.generator, 15)
    assert watched[1:] == list(range(1, epochs + 1))


def test_a_penalty_makes_the_codes_of_an_autoencoder_short():
    lengths = []
    for penalty in (0.0, 1.0):
        trainer = tiny_trainer(IMAGES, tiny_params(latent__constraint="none", optimizer__generator_rate=0.01))
        state = learn_instead(trainer, 300, penalty)
        assert ("code_penalty" in state.rows[0]) is (penalty > 0)
        lengths.append(trainer.model.codes.values.norm(dim=1).mean())
    assert lengths[1] < 0.5 * lengths[0]


# --- Resuming ---


@pytest.mark.parametrize("kill_at", [2, 6, 8])
@pytest.mark.parametrize("learn", [learn_encoder, learn_jointly, learn_instead])
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(learn, kill_at, encoded, tmp_path, monkeypatch):
    """Three epochs of three steps, or four of three. A step is killed at its start; every step has a checkpoint."""
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    folder, checkpoints, steps = saved(encoded, tmp_path / "model"), CheckpointFolder(tmp_path / "run"), []
    whole = copied(encoded, **loaded(folder))
    learn(whole)
    call = Objective.__call__

    def counted(self, model, *arguments):
        steps.extend([1] if model.training else [])
        if len(steps) == kill_at:
            raise KeyboardInterrupt
        return call(self, model, *arguments)

    monkeypatch.setattr(Objective, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        learn(copied(encoded, **loaded(folder), checkpoints=checkpoints))
    resumed = copied(encoded, **loaded(folder), checkpoints=checkpoints)
    state = learn(resumed)
    assert len(steps) - kill_at == state.step - (kill_at - 1)  # it did not begin anew
    assert same_bits(state_of(resumed), state_of(whole))


def test_generator_and_encoder_cannot_learn_together_without_an_encoder():
    trainer = tiny_trainer(tiny_images(), tiny_params())
    with pytest.raises(UserError, match=r"^joint: the model has no encoder yet; run the encoder stage first\.$"):
        learn_jointly(trainer)
