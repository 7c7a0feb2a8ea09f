"""The stages of GLO on a dozen images: what each may change, what it must leave, and what it records."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iglo.losses.terms import Preservation, Reconstruction
from iglo.models.glo import render
from iglo.models.snapshots import Snapshots
from iglo.runtime.eager import SGD
from iglo.training.callbacks import SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.glo_stages import learn_all, learn_subset, start_codes, start_model
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import CODE_OPTIMIZERS, RowSGD
from iglo.training.trainer import Trainer
from tests.tiny import (
    RUNTIME,
    copied,
    loaded,
    rounds_of,
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
SUBSETS = [np.array([1, 4, 6, 9]), np.array([0, 2, 12, 13]), np.array([3, 5, 7, 8, 10, 11])]


def begin(params=PARAMS, **options) -> Trainer:
    return tiny_trainer(IMAGES, params, **options)


def learn(trainer: Trainer, index: int) -> RunState:
    return learn_subset(trainer, SUBSETS[index], index)


@pytest.fixture(scope="module")
def stages():
    """The training at the start, after each subset and after the full set."""
    trainer = begin()
    kept = [copied(trainer)]
    for index in range(3):
        learn(trainer, index)
        kept.append(copied(trainer))
    learn_all(trainer)
    return [*kept, trainer]


def changed_rows(before: Trainer, after: Trainer) -> set[int]:
    return set((before.model.codes.values != after.model.codes.values).any(1).nonzero()[:, 0].tolist())


# --- The start ---


@pytest.mark.parametrize("init", ["pca", "normal"])
def test_the_start_is_on_the_sphere_and_depends_on_the_seed(init):
    first, again, other = (begin(tiny_params(latent__init=init, seed=seed)) for seed in (0, 0, 1))
    codes, history = first.model.codes.values, first.history
    assert codes.shape == (14, 6) and not history.subset_id.any() and not len(history.snapshots.ids)
    assert not history.log and history.run is None and first.model.encoder is None
    torch.testing.assert_close(codes.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    assert same_bits(state_of(first), state_of(again)) and not same_bits(codes, other.model.codes.values)


def test_only_the_pca_start_depends_on_the_images():
    for init, depends in (("pca", True), ("normal", False)):
        params = tiny_params(latent__init=init)
        codes = [start_model(images, params, RUNTIME)[0].codes.values for images in (IMAGES, tiny_images(14, seed=1))]
        assert torch.equal(*codes) is not depends
    first = begin(tiny_params(latent__constraint="none")).model.codes.values[:, 0].cpu().numpy()
    flat = IMAGES.reshape(14, -1) / 255
    component = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first, component)[0, 1]) > 0.99


# --- Subset after subset ---


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_subset_changes_its_own_codes_and_the_generator_and_no_other_code(stages, index):
    before, after = stages[index], stages[index + 1]
    assert changed_rows(before, after) == set(SUBSETS[index])
    pairs = zip(before.model.generator.parameters(), after.model.generator.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    subset_id = after.history.subset_id
    assert set(np.flatnonzero(subset_id == index + 1)) == set(SUBSETS[index])
    assert set(np.flatnonzero(subset_id)) == {id for subset in SUBSETS[: index + 1] for id in subset}


def test_the_codes_of_a_later_subset_start_at_the_codes_of_an_encoder(stages):
    images = IMAGES.copy()
    images[SUBSETS[1]] = images[SUBSETS[0]]  # the encoder has learned these images, so it finds their codes
    params = tiny_params(staged__start="encoder", staged__start_epochs=300)
    trainer = copied(stages[1], images=images, params=params)
    stage_of(lambda: learn(trainer, 1), "staged 2")
    codes, own = trainer.model.codes.values, stages[1].model.codes.values[SUBSETS[1]]
    learned, started = codes[SUBSETS[0]], codes[SUBSETS[1]]
    assert changed_rows(stages[1], trainer) == set(SUBSETS[1]) and trainer.model.encoder is None
    assert (started - learned).norm() < 0.2 * (own - learned).norm()
    torch.testing.assert_close(started.norm(dim=1).cpu(), torch.full((4,), 6**0.5))
    assert not any("start" in row["stage"] for row in trainer.history.log)


def test_the_encoder_of_the_start_learns_from_the_learned_images_alone(stages):
    trainer = copied(stages[1])
    stage = stage_of(lambda: start_codes(trainer, SUBSETS[1], SUBSETS[0], "staged 2 start"), "staged 2 start")
    assert stage.ids.tolist() == sorted(SUBSETS[0]) and weights_of(stage) == {"code_regression": 1.0}
    assert not stage.renders and stage.images_per_epoch == 0 and not stage.logged
    assert stage.schedule == LRSchedule(2, "cosine")


def test_the_first_subset_starts_with_its_own_codes(stages):
    trainer = copied(stages[0], params=tiny_params(staged__start="encoder"))
    learn(trainer, 0)
    assert same_bits(state_of(trainer), state_of(stages[1]))


def test_the_log_names_the_terms_of_every_stage(stages):
    terms = {}
    for row in stages[-1].history.log:
        assert [*row][:4] == ["stage", "epoch", "images_seen", "loss"]
        terms.setdefault(row["stage"], []).append([*row][4:])
    later = ["reconstruction", "preservation"]
    names = {"staged 1": ["reconstruction"], "staged 2": later, "staged 3": later}
    epochs = {name: [names[name]] * 3 for name in names}
    assert terms == epochs | {"full": [["reconstruction", "continuity"]] * 2}


def test_without_preservation_the_earlier_images_are_forgotten():
    errors = []
    for alpha in (5.0, 0.0):
        params = tiny_params(
            staged__alpha=alpha, generator__ema=0.0, optimizer__generator_rate=0.01, rounds=rounds_of(40)
        )
        trainer = begin(params)
        learn(trainer, 0)
        learn(trainer, 1)
        shown = render(trainer.model.generator, trainer.model.codes.of(SUBSETS[0]), RUNTIME)
        errors.append(np.abs(shown - IMAGES[SUBSETS[0]] / 255).mean())
        assert ("preservation" in trainer.history.log[-1]) is (alpha > 0)
    assert errors[0] < 0.7 * errors[1]


def test_the_global_random_state_is_neither_used_nor_changed(stages):
    torch.manual_seed(12345)
    np.random.seed(12345)
    trainer = begin()
    before = torch.get_rng_state()
    learn(trainer, 0)
    assert torch.equal(before, torch.get_rng_state())
    assert same_bits(state_of(trainer), state_of(stages[1]))


def test_the_snapshots_show_the_same_images_in_every_stage(stages):
    model, snapshots = stages[-1].model, stages[-1].history.snapshots
    assert len(snapshots.ids) == len(set(snapshots.ids.tolist())) == 12
    assert set(snapshots.ids[:4].tolist()) == set(SUBSETS[0])
    epochs = {"staged 1": (1, 2, 3), "staged 2": (1, 2, 3), "staged 3": (1, 2, 3), "full": (1, 2)}
    assert snapshots.places == [(name, epoch) for name in epochs for epoch in epochs[name]]
    shown = render(model.generator, model.codes.values[snapshots.ids], RUNTIME)
    np.testing.assert_allclose(snapshots.frames[-1].numpy(), shown * 255, atol=0.51)


@pytest.mark.parametrize(("index", "rows"), [(1, SUBSETS[0]), (2, np.concatenate(SUBSETS[:2])), (4, np.arange(14))])
def test_batch_norm_is_recalibrated_on_the_codes_that_were_used(stages, index, rows):
    model = stages[index].model
    with torch.no_grad():
        expected = model.generator.body[0](model.codes.of(rows)).mean((0, 2, 3))
    torch.testing.assert_close(model.generator.body[1].running_mean, expected, rtol=1e-4, atol=1e-7)


def test_the_generator_gets_the_average_of_its_weights():
    seen = []

    class Watcher(SnapshotCallback):
        def __init__(self, network, images_seen):
            super().__init__(Snapshots(torch.tensor([1])), network, "watched", RUNTIME, len(IMAGES))

        def after_step(self, model):
            seen.append(model.generator.body[0].weight.detach().clone())

    trainer = begin(tiny_params(generator__ema=0.3), make_callback=Watcher)
    learn(trainer, 0)
    expected = seen[0]
    for step, weight in enumerate(seen[1:], 1):
        kept = min(0.3, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weight
    learned = trainer.model.generator.body[0].weight.detach()
    torch.testing.assert_close(learned, expected)
    assert len(seen) == 6 and (learned - seen[-1]).abs().max() > 1e-4


def test_a_round_without_epochs_learns_nothing_but_is_recorded():
    trainer, start = (begin(tiny_params(rounds=rounds_of(0))) for _ in range(2))
    assert learn(trainer, 0) == RunState()
    assert same_bits(dict(trainer.model.state_dict()), dict(start.model.state_dict()))
    history = trainer.history
    assert set(np.flatnonzero(history.subset_id == 1)) == set(SUBSETS[0]) and len(history.snapshots.ids) == 12


def test_a_stage_of_a_later_subset_is_what_the_params_say(stages):
    rates = {"optimizer__schedule": "linear", "optimizer__code_rate": 0.2}
    params = tiny_params(staged__alpha=2.0, staged__beta=0.5, optimizer__name="sgd", **rates)
    for reshuffle in (True, False):
        params = replace(params, optimizer=replace(params.optimizer, reshuffle=reshuffle))
        stage = stage_of(lambda params=params: learn(copied(stages[1], params=params), 1), "staged 2")
        assert stage.reshuffle is reshuffle
    assert stage.terms == [(0.5, Reconstruction()), (2.0, Preservation())] and stage.schedule == LRSchedule(3, "linear")
    assert {name: (set(each.ids), each.batch_size) for name, each in stage.sources.items()} == {
        "current": (set(SUBSETS[1]), 3),
        "earlier": (set(SUBSETS[0]), 2),
    }
    assert [type(optimizer) for optimizer in stage.optimizers] == [SGD, RowSGD]
    assert [optimizer.param_groups[0]["lr"] for optimizer in stage.optimizers] == [1e-3, 0.2]
    assert stage.ema == 0.5 and stage.snapshots and stage.logged and stage.validation is None


# --- The full set ---


def test_the_full_set_changes_every_code(stages):
    assert changed_rows(stages[3], stages[4]) == set(range(14))
    lengths = stages[4].model.codes.values.norm(dim=1).cpu()
    torch.testing.assert_close(lengths, torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    np.testing.assert_array_equal(stages[4].history.subset_id, stages[3].history.subset_id)


def test_without_noise_or_its_weight_there_is_only_reconstruction(stages):
    for (alpha, beta, sigma), weights in {
        (1.0, 0.7, 0.3): {"reconstruction": 1.0, "continuity": 0.7},
        (0.0, 0.7, 0.3): {"continuity": 0.7},
        (1.0, 0.7, 0.0): {"reconstruction": 1.7},
        (0.0, 0.7, 0.0): {"reconstruction": 0.7},
        (1.0, 0.0, 0.3): {"reconstruction": 1.0},
    }.items():
        trainer = copied(stages[3], params=tiny_params(alpha=alpha, beta=beta, sigma=sigma))
        stage = stage_of(lambda trainer=trainer: learn_all(trainer), "full")
        assert weights_of(stage) == pytest.approx(weights)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_every_row_of_the_log_has_the_loss(stages, alpha):
    rows = learn_all(copied(stages[3], params=tiny_params(alpha=alpha, beta=0.7, sigma=0.3))).rows
    assert len(rows) == 2 and all(("reconstruction" in row) is (alpha > 0) for row in rows)
    for row in rows:
        assert row["loss"] == pytest.approx(alpha * row.get("reconstruction", 0) + 0.7 * row["continuity"]) != 0


@pytest.mark.parametrize("start", ["own", "encoder"])
def test_a_stage_that_is_killed_and_resumed_from_its_folder_is_the_same(start, stages, tmp_path, monkeypatch):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    whole, folder = copied(stages[1], params=tiny_params(staged__start=start)), saved(stages[1], tmp_path / "model")
    learn(whole, 1)
    checkpoints, epochs = CheckpointFolder(tmp_path / "run"), []
    after_epoch = SnapshotCallback.after_epoch

    def killed(self, model, epoch):
        after_epoch(self, model, epoch)
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotCallback, "after_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(copied(whole, **loaded(folder), checkpoints=checkpoints), 1)
    resumed = copied(whole, **loaded(folder), checkpoints=checkpoints)
    learn(resumed, 1)
    assert epochs == [1, 2, 2, 3]  # from the step before it was killed
    assert same_bits(state_of(resumed), state_of(whole))


# --- Budget, callbacks, optimizers ---


@pytest.mark.parametrize(("budget", "epochs"), [(0, 1), (44, 1), (46, 2), (300, 10)])
def test_a_budget_replaces_the_epochs_of_the_full_set(stages, budget, epochs):
    """An epoch is three batches of five clean codes and five noisy ones."""
    trainer = copied(stages[3])
    assert learn_all(trainer, budget=budget).images_seen == 30 * epochs
    assert trainer.history.snapshots.places[-1] == ("full", epochs)


def test_a_callback_gets_the_average_and_the_length_of_an_epoch(stages):
    class Watcher(SnapshotCallback):
        def __init__(self, network, images_seen):
            super().__init__(Snapshots(torch.tensor([1, 5])), network, "watched", RUNTIME, len(IMAGES))
            watchers.append((self, images_seen))

    watchers = []
    for index, call in ((1, lambda trainer: learn(trainer, 1)), (3, learn_all)):
        trainer = copied(stages[index], make_callback=Watcher)
        state = call(trainer)
        watcher, images_seen = watchers.pop()
        assert images_seen == state.rows[0]["images_seen"] and watcher.generator is not trainer.model.generator
        assert same_bits(dict(watcher.generator.state_dict()), dict(trainer.model.generator.state_dict()))
        assert [epoch for _, epoch in watcher.snapshots.places] == [1, 2]


@pytest.mark.parametrize("name", CODE_OPTIMIZERS)
def test_codes_of_earlier_subsets_are_frozen_under_every_optimizer(stages, name):
    """The paper's code projects all of them, which may change last bits."""
    rates = {"optimizer__generator_rate": 0.1, "optimizer__code_rate": 50.0} if name == "sgd" else {}
    trainer = copied(stages[1], params=tiny_params(optimizer__name=name, **rates))
    state = learn(trainer, 1)
    moved = (trainer.model.codes.values - stages[1].model.codes.values).abs().amax(1)
    assert set(torch.nonzero(moved > 1e-5)[:, 0].tolist()) == set(SUBSETS[1])
    assert state.rows[-1]["reconstruction"] < state.rows[0]["reconstruction"]
