"""Ways from an image to its code: what each may look at and move, which epoch it keeps, and that it resumes."""

import copy

import numpy as np
import pytest
import torch

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.distances import L1
from iglo.losses.terms import Objective
from iglo.models.glo import GLOModel, encode, render
from iglo.training import encoder_stages
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_autoencoder, learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all, start_model
from tests.tiny import RUNTIME, same_bits, tiny_images, tiny_params

IMAGES, PARAMS = tiny_images(14), tiny_params()
DISTANCE = L1().to(RUNTIME.device)
ONE_EPOCH = tiny_params(encoder__epochs=1, joint__epochs=1)


def from_codes(model: GLOModel, images=IMAGES, params=PARAMS, checkpoints=None):
    return learn_encoder(model, images, params, RUNTIME, checkpoints)


def jointly(model: GLOModel, images=IMAGES, params=PARAMS, checkpoints=None):
    return learn_jointly(model, images, DISTANCE, params, RUNTIME, checkpoints)


def instead(
    model: GLOModel, images=IMAGES, params=PARAMS, checkpoints=None, budget=60, penalty=0.1, make_callback=None
):
    return learn_autoencoder(model, images, DISTANCE, params, RUNTIME, budget, penalty, checkpoints, make_callback)


def everything(model: GLOModel) -> dict:
    record = {"log": model.log, "subset_id": model.subset_id.tolist(), "snapshots": model.snapshots.state_dict()}
    return {"weights": weights(model), **record}


def weights(network: torch.nn.Module) -> dict:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def plain():
    """A model without an encoder, which draws its training images roughly."""
    model = start_model(IMAGES, PARAMS, RUNTIME)
    learn_all(model, IMAGES, DISTANCE, tiny_params(full__epochs=40, optimizer__generator_rate=0.01), RUNTIME)
    return model


@pytest.fixture(scope="module")
def encoded(plain):
    """The same with an encoder."""
    model = copy.deepcopy(plain)
    from_codes(model, params=tiny_params(encoder__epochs=30, encoder__rate=0.005))
    return model


@pytest.fixture
def model(encoded):
    return copy.deepcopy(encoded)


def split(model: GLOModel, learn=from_codes) -> tuple[set[int], set[int]]:
    """Ids that are learned from, and those that choose the epoch."""
    kept, held = [], []

    def fit(model, objective, batches, optimizers, callbacks, **_):
        kept.extend(batches.parts["current"].ids.tolist())
        callbacks[0].score()
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(encoder_stages, "fit", fit)
        patch.setattr(
            encoder_stages, "_mean_loss", lambda objective, model, targets, ids: held.extend(ids.tolist()) or 0.0
        )
        learn(copy.deepcopy(model))
    return set(kept), set(held)


# --- The epoch is chosen on held-out images ---


@pytest.mark.parametrize("learn", [from_codes, jointly])
def test_held_out_images_and_their_codes_choose_the_epoch_and_teach_nothing(learn, model):
    kept, held = split(model, learn)
    assert len(held) == 4 and not kept & held and kept | held == set(range(14))
    learned, scores = [], []
    for spoilt in (None, min(held), min(kept)):
        images, changed = IMAGES.copy(), copy.deepcopy(model)
        if spoilt is not None:
            images[spoilt] = 255 - images[spoilt]
            changed.table.tables["image"].codes.data[spoilt] *= -1
        progress = learn(changed, images, ONE_EPOCH)
        learned.append([weights(changed.generator), weights(changed.encoder)])
        scores.append(progress.rows[0]["held_out"])
    assert same_bits(learned[0], learned[1]) and not same_bits(learned[0], learned[2])
    assert len(set(scores)) == 3


def test_both_hold_out_the_same_images(model):
    assert split(model, from_codes) == split(model, jointly)


@pytest.mark.parametrize("learn", [from_codes, jointly])
def test_what_is_kept_is_the_best_epoch(learn, model, monkeypatch):
    scores, seen, start = [3.0, 1.0, 2.0], [], weights(model.generator)

    def mean_loss(objective, model, *_):
        assert not model.training
        seen.append([weights(model.generator), weights(model.encoder)])
        return scores[len(seen) - 1]

    monkeypatch.setattr(encoder_stages, "_mean_loss", mean_loss)
    progress = learn(model)
    assert [row["held_out"] for row in progress.rows] == [row["held_out"] for row in model.log[-3:]] == scores
    assert same_bits([weights(model.generator), weights(model.encoder)], seen[1])
    assert not same_bits(seen[1][1], seen[2][1])
    assert same_bits(seen[1][0], start) is (learn is from_codes)


def test_an_image_is_left_to_learn_from(plain):
    with pytest.raises(UserError, match=r"^encoder\.held_out: must leave at least one of the 14 [^\n]*, got 0\.99\.$"):
        from_codes(copy.deepcopy(plain), params=tiny_params(encoder__held_out=0.99))


# --- From the codes ---


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_the_encoder_learns_and_leaves_generator_and_codes_alone(pairs, plain):
    model, before = copy.deepcopy(plain), weights(plain)
    rates = {"encoder__rate": 0.005, "encoder__schedule": "constant"}
    progress = from_codes(model, params=tiny_params(encoder__epochs=60, encoder__pairs=pairs, **rates))
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weights.grad is None for weights in model.generator.parameters())
    names = ["code_regression"] + ["rendered_pairs"] * (pairs > 0)
    for row in (progress.rows[0], model.log[-1]):
        assert [name for name in row if name not in ("stage", "epoch", "images_seen")] == ["loss", *names, "held_out"]
    assert progress.rows[-1]["code_regression"] < 0.5 * progress.rows[0]["code_regression"]
    assert model.log[-1]["stage"] == "encoder" and len(progress.rows) == 60
    similar = torch.cosine_similarity(encode(model.encoder, IMAGES, model.config, RUNTIME), model.codes.values.cpu())
    assert similar.median() > 0.9


# --- Together with the generator ---


def spots(count: int, seed: int) -> np.ndarray:
    """(N, 16, 16, 1) uint8: a spot each, whose place, size and brightness a few images are enough to learn."""
    rng = np.random.default_rng(seed)
    place, size, brightness = (rng.uniform(*ends) for ends in ((4, 12, (count, 2)), (1.5, 3, count), (120, 255, count)))
    offsets = np.stack(np.mgrid[:16, :16]) - place[:, :, None, None]
    values = brightness[:, None, None] * np.exp(-(offsets**2).sum(1) / (2 * size[:, None, None] ** 2))
    return values.round().astype(np.uint8)[..., None]


def error(model: GLOModel, images: np.ndarray) -> float:
    drawn = render(model.generator, encode(model.encoder, images, model.config, RUNTIME), RUNTIME)
    return np.abs(drawn - images / np.float32(255)).mean().item()


def test_generator_and_encoder_draw_unseen_images_better_together():
    images, unseen = spots(24, seed=0), spots(50, seed=9)
    rates = {"optimizer__generator_rate": 0.01, "encoder__rate": 0.005, "joint__rate": 0.003}
    params = tiny_params(full__epochs=20, encoder__epochs=20, joint__epochs=40, **rates)
    model = start_model(images, params, RUNTIME)
    learn_all(model, images, DISTANCE, params, RUNTIME)
    from_codes(model, images, params)
    held_out = images[encoder_stages._held_out(24, params)[0]]
    codes, before = model.codes.values.clone(), [error(model, held_out), error(model, unseen)]
    progress = jointly(model, images, params)
    after = [error(model, held_out), error(model, unseen)]
    assert after[0] < 0.95 * before[0] and after[1] < 0.9 * before[1]
    scores = [row["held_out"] for row in progress.rows]
    assert after[0] == pytest.approx(min(scores), rel=1e-4) and len(scores) == 40
    assert torch.equal(model.codes.values, codes)


def test_the_log_of_joint_learning_has_its_terms_and_counts_rendered_images(model):
    """An epoch is three batches of four; a batch is drawn from its codes and from the encoder's."""
    progress = jointly(model)
    terms = ["autoencoding", "preservation", "code_regression", "rendered_pairs"]
    assert [[*row] for row in model.log[-3:]] == [["stage", "epoch", "images_seen", "loss", *terms, "held_out"]] * 3
    assert model.log[-1]["stage"] == "joint"
    assert [row["images_seen"] for row in progress.rows] == [24, 48, 72]


def test_codes_alone_leave_everything_as_it_was(model):
    before = copy.deepcopy(everything(model))
    progress = jointly(model, params=tiny_params(encoder__mode="codes"))
    assert progress.images_seen == 0 and not progress.rows and same_bits(everything(model), before)


def test_no_epochs_leave_everything_as_it_was(model):
    before = copy.deepcopy(everything(model))
    jointly(model, params=tiny_params(joint__epochs=0))
    assert same_bits(everything(model), before)


@pytest.mark.parametrize(("beta", "sigma"), [(0.7, 0.3), (0.0, 0.0)])
def test_the_weights_are_those_of_the_params(model, monkeypatch, beta, sigma):
    """Codes are kept to with noise where the last stage had some."""
    seen = []

    def fit(model, objective, *_, **__):
        seen.append(objective)
        raise InterruptedError

    monkeypatch.setattr(encoder_stages, "fit", fit)
    sections = {"joint__keep_weight": 0.2, "joint__code_weight": 0.5, "encoder__pairs": 3.0}
    with pytest.raises(InterruptedError):
        jointly(model, params=tiny_params(beta=beta, sigma=0.3, **sections))
    expected = {"autoencoding": 1.0, "preservation": 0.2, "code_regression": 0.5, "rendered_pairs": 1.5}
    assert seen[0].weights == pytest.approx(expected)
    assert [term.sigma for term in seen[0].rendered if term.name == "preservation"] == [sigma]


def test_varied_copies_are_autoencoded_and_the_images_themselves_keep_their_codes(model, monkeypatch):
    seen = []

    def fit(model, objective, batches, *_, **__):
        seen.extend([objective, batches])
        raise InterruptedError

    monkeypatch.setattr(encoder_stages, "fit", fit)
    with pytest.raises(InterruptedError):
        jointly(model, params=tiny_params(joint__flip=True, joint__shift=3, joint__gain=0.3))
    objective, batches = seen
    terms = {term.name: term.part for term in [*objective.rendered, *objective.direct]}
    assert terms.pop("autoencoding") == "varied" and set(terms.values()) == {"current"} and len(terms) == 3
    variations = {part: schedule.augment for part, schedule in batches.parts.items()}
    assert variations == {"current": None, "varied": Augment(True, 3, 0.3)}
    assert set(batches.parts["varied"].ids) == set(batches.parts["current"].ids) == split(model)[0]


# --- Instead of the codes ---


def test_the_codes_of_an_autoencoder_are_its_encoders(plain):
    model = start_model(IMAGES, PARAMS, RUNTIME)
    progress = instead(model, budget=600, params=tiny_params(optimizer__generator_rate=0.01))
    assert torch.equal(model.codes.values.cpu(), encode(model.encoder, IMAGES, model.config, RUNTIME))
    torch.testing.assert_close(model.codes.values.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    losses = [row["autoencoding"] for row in progress.rows]
    assert losses[-1] < 0.7 * losses[0] and model.log[-1]["stage"] == "autoencoder"
    drawn = render(model.generator, model.codes.values, RUNTIME)
    assert np.abs(drawn - IMAGES / 255).mean() < 0.8 * losses[0]
    with torch.no_grad():
        settled = model.generator.body[0](model.codes.values[:, :, None, None]).mean((0, 2, 3))
    torch.testing.assert_close(model.generator.body[1].running_mean, settled, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("budget", "epochs"), [(0, 1), (22, 1), (23, 2), (67, 4), (75, 5)])
def test_an_autoencoder_takes_its_budget_to_the_nearest_epoch(budget, epochs):
    """An epoch is three batches of five."""
    model, watched = start_model(IMAGES, PARAMS, RUNTIME), []

    class Watcher:
        def __init__(self, network, images_seen):
            watched.append((network, images_seen))

        def after_step(self, model):
            pass

        def after_epoch(self, model, epoch):
            watched.append(epoch)

    progress = instead(model, budget=budget, make_callback=Watcher)
    assert progress.images_seen == 15 * epochs and watched[0] == (model.generator, 15)
    assert watched[1:] == list(range(1, epochs + 1))


def test_a_penalty_makes_an_autoencoders_codes_short():
    lengths = []
    for penalty in (0.0, 1.0):
        params = tiny_params(latent__constraint="none", optimizer__generator_rate=0.01)
        model = start_model(IMAGES, params, RUNTIME)
        progress = instead(model, params=params, budget=300, penalty=penalty)
        assert ("code_penalty" in progress.rows[0]) is (penalty > 0)
        lengths.append(model.codes.values.norm(dim=1).mean())
    assert lengths[1] < 0.5 * lengths[0]


# --- Resuming ---


@pytest.mark.parametrize("kill_at", [2, 6, 8])
@pytest.mark.parametrize("learn", [from_codes, jointly, instead])
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(learn, kill_at, encoded, tmp_path, monkeypatch):
    """Three epochs of three steps, and four of three; killed as a step begins, a checkpoint after every step."""
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    (tmp_path / "model").mkdir()
    encoded.save(tmp_path / "model")
    whole, resumed = (GLOModel.load(tmp_path / "model", RUNTIME) for _ in range(2))
    learn(whole)
    checkpoints, steps = CheckpointFolder(tmp_path / "run"), []
    call = Objective.__call__

    def counted(self, model, *arguments):
        steps.extend([1] if model.training else [])
        if len(steps) == kill_at:
            raise KeyboardInterrupt
        return call(self, model, *arguments)

    monkeypatch.setattr(Objective, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        learn(GLOModel.load(tmp_path / "model", RUNTIME), checkpoints=checkpoints)
    progress = learn(resumed, checkpoints=checkpoints)
    assert len(steps) - kill_at == progress.step - (kill_at - 1)  # it did not begin anew
    assert same_bits(everything(resumed), everything(whole))
