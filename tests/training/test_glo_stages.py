"""The paper's steps on a dozen images: what each may change, what it must leave, and what it leaves on record."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iglo.backbones.networks import IMAGENET_MEAN
from iglo.losses.distances import L1, PIXEL_DISTANCES, Perceptual
from iglo.models.glo import GLOModel, render
from iglo.models.snapshots import Snapshots
from iglo.training import glo_stages
from iglo.training.callbacks import SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.glo_stages import images_seen_in_all_stages, learn_all, learn_subset, make_distance, start_model
from iglo.training.optimizers import CODE_OPTIMIZERS, RowSGD
from tests.tiny import RUNTIME, rounds_of, same_bits, tiny_images, tiny_params

IMAGES, PARAMS, DISTANCE = tiny_images(14), tiny_params(), L1().to(RUNTIME.device)
SUBSETS = [np.array([1, 4, 6, 9]), np.array([0, 2, 12, 13]), np.array([3, 5, 7, 8, 10, 11])]


def stage(model: GLOModel, index: int, params=PARAMS, checkpoints=None):
    return learn_subset(model, IMAGES, SUBSETS[index], DISTANCE, index, params, RUNTIME, checkpoints)


@pytest.fixture(scope="module")
def stages():
    """Copies of the model at the start, after each subset and after the full set."""
    model = start_model(IMAGES, PARAMS, RUNTIME)
    kept = [copy.deepcopy(model)]
    for index in range(3):
        stage(model, index)
        kept.append(copy.deepcopy(model))
    learn_all(model, IMAGES, DISTANCE, PARAMS, RUNTIME)
    return [*kept, model]


def everything(model: GLOModel) -> dict:
    record = {"log": model.log, "subset_id": model.subset_id.tolist(), "snapshots": model.snapshots.state_dict()}
    return {"weights": dict(model.state_dict()), **record}


def changed_rows(before: GLOModel, after: GLOModel) -> set[int]:
    return set((before.codes != after.codes).any(1).nonzero()[:, 0].tolist())


# --- The start ---


@pytest.mark.parametrize("init", ["pca", "normal"])
def test_the_start_is_on_the_sphere_and_the_same_from_the_same_seed(init):
    model, again, other = (start_model(IMAGES, tiny_params(latent__init=init, seed=s), RUNTIME) for s in (0, 0, 1))
    assert model.codes.values.shape == (14, 6) and not model.subset_id.any() and not len(model.snapshots.ids)
    torch.testing.assert_close(model.codes.values.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    assert same_bits(everything(model), everything(again))
    assert not same_bits(model.codes.values, other.codes)


def test_the_pca_start_looks_at_the_images_and_the_normal_one_does_not():
    for init, looks in (("pca", True), ("normal", False)):
        params = tiny_params(latent__init=init)
        codes = [start_model(images, params, RUNTIME).codes for images in (IMAGES, tiny_images(14, seed=1))]
        assert torch.equal(*codes) is not looks
    params = tiny_params(latent__constraint="none")
    first = start_model(IMAGES, params, RUNTIME).codes[:, 0].cpu().numpy()
    flat = IMAGES.reshape(14, -1) / 255
    component = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first, component)[0, 1]) > 0.99


@pytest.mark.parametrize("name", PIXEL_DISTANCES)
def test_the_distance_is_the_one_that_is_named(name):
    assert type(make_distance(tiny_params(loss__name=name), RUNTIME)) is PIXEL_DISTANCES[name]


def test_the_perceptual_distance_is_frozen_and_has_as_many_blocks_as_asked_for(monkeypatch):
    asked = []

    def two_convolutions(*arguments):
        asked.append(arguments)
        return torch.nn.ModuleList([torch.nn.Conv2d(3, 2, 3), torch.nn.Conv2d(2, 2, 3)]).requires_grad_(False)

    monkeypatch.setattr(glo_stages, "vgg_blocks", two_convolutions)
    distance = make_distance(tiny_params(loss__name="perceptual", loss__blocks=2), RUNTIME)
    assert isinstance(distance, Perceptual) and asked == [("vgg16", "random", 2, 0)]
    assert distance.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert not any(parameter.requires_grad for parameter in distance.parameters())


# --- Subset after subset ---


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_subset_moves_its_own_codes_and_the_generator_and_no_other_code(stages, index):
    before, after = stages[index], stages[index + 1]
    assert changed_rows(before, after) == set(SUBSETS[index])
    pairs = zip(before.generator.parameters(), after.generator.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    assert set(np.flatnonzero(after.subset_id == index + 1)) == set(SUBSETS[index])
    assert set(np.flatnonzero(after.subset_id)) == {id for subset in SUBSETS[: index + 1] for id in subset}


def test_a_later_subset_starts_where_an_encoder_of_the_learned_codes_reads_it(stages, monkeypatch):
    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(glo_stages, "fit", stop)
    params = tiny_params(staged__start="encoder", staged__start_epochs=300)
    model, images = copy.deepcopy(stages[1]), IMAGES.copy()
    images[SUBSETS[1]] = images[SUBSETS[0]]  # which the encoder has learned, so that it reads their codes
    with pytest.raises(InterruptedError):
        learn_subset(model, images, SUBSETS[1], DISTANCE, 1, params, RUNTIME)
    learned, started, own = model.codes.values[SUBSETS[0]], model.codes.values[SUBSETS[1]], stages[1].codes[SUBSETS[1]]
    assert changed_rows(stages[1], model) == set(SUBSETS[1]) and model.encoder is None
    assert (started - learned).norm() < 0.2 * (own - learned).norm()
    torch.testing.assert_close(started.norm(dim=1).cpu(), torch.full((4,), 6**0.5))


def test_the_first_subset_starts_with_its_own_codes(stages):
    model = copy.deepcopy(stages[0])
    stage(model, 0, tiny_params(staged__start="encoder"))
    assert same_bits(everything(model), everything(stages[1]))


def test_the_log_names_the_terms_of_every_stage(stages):
    terms = {}
    for row in stages[-1].log:
        assert [*row][:4] == ["stage", "epoch", "images_seen", "loss"]
        terms.setdefault(row["stage"], []).append([*row][4:])
    later = ["reconstruction", "preservation"]
    names = {"staged 1": ["reconstruction"], "staged 2": later, "staged 3": later}
    epochs = {name: [names[name]] * 3 for name in names}
    assert terms == epochs | {"full": [["reconstruction", "continuity"]] * 2}


def test_preservation_keeps_what_was_learned():
    """With a weight of 0, the earlier images are forgotten."""
    errors = []
    for alpha in (5.0, 0.0):
        params = tiny_params(
            staged__alpha=alpha, generator__ema=0.0, optimizer__generator_rate=0.01, rounds=rounds_of(40)
        )
        model = start_model(IMAGES, params, RUNTIME)
        stage(model, 0, params)
        stage(model, 1, params)
        shown = render(model.generator, model.codes.values[torch.from_numpy(SUBSETS[0])], RUNTIME)
        errors.append(np.abs(shown - IMAGES[SUBSETS[0]] / 255).mean())
        assert ("preservation" in model.log[-1]) is (alpha > 0)
    assert errors[0] < 0.7 * errors[1]


def test_no_stream_is_a_global_one(stages):
    torch.manual_seed(12345)
    np.random.seed(12345)
    model = start_model(IMAGES, PARAMS, RUNTIME)
    before = torch.get_rng_state()
    stage(model, 0)
    assert torch.equal(before, torch.get_rng_state())
    assert same_bits(everything(model), everything(stages[1]))


def test_the_album_shows_the_same_images_along_the_stages(stages):
    snapshots, model = stages[-1].snapshots, stages[-1]
    assert len(snapshots.ids) == len(set(snapshots.ids.tolist())) == 12
    assert set(snapshots.ids[:4].tolist()) == set(SUBSETS[0])
    epochs = {"staged 1": (1, 2, 3), "staged 2": (1, 2, 3), "staged 3": (1, 2, 3), "full": (1, 2)}
    assert snapshots.places == [(name, epoch) for name in epochs for epoch in epochs[name]]
    shown = render(model.generator, model.codes.values[snapshots.ids], RUNTIME)
    np.testing.assert_allclose(snapshots.frames[-1].numpy(), shown * 255, atol=0.51)


@pytest.mark.parametrize(("index", "rows"), [(1, SUBSETS[0]), (2, np.concatenate(SUBSETS[:2])), (4, np.arange(14))])
def test_batch_norm_is_settled_on_the_codes_that_were_used(stages, index, rows):
    model = stages[index]
    with torch.no_grad():
        expected = model.generator.body[0](model.codes.values[torch.from_numpy(rows)][:, :, None, None]).mean((0, 2, 3))
    torch.testing.assert_close(model.generator.body[1].running_mean, expected, rtol=1e-4, atol=1e-7)


def test_what_is_learned_is_the_average():
    seen = []

    class Watcher(SnapshotCallback):
        def __init__(self, network, images_seen):
            super().__init__(Snapshots(torch.tensor([1])), network, "watched", RUNTIME, len(IMAGES))

        def after_step(self, model):
            seen.append(model.generator.body[0].weight.detach().clone())

    model = start_model(IMAGES, PARAMS, RUNTIME)
    learn_subset(
        model, IMAGES, SUBSETS[0], DISTANCE, 0, tiny_params(generator__ema=0.3), RUNTIME, make_callback=Watcher
    )
    expected = seen[0]
    for step, weight in enumerate(seen[1:], 1):
        kept = min(0.3, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weight
    learned = model.generator.body[0].weight.detach()
    torch.testing.assert_close(learned, expected)
    assert len(seen) == 6 and (learned - seen[-1]).abs().max() > 1e-4


def test_a_round_without_epochs_learns_nothing_but_is_on_record():
    params = tiny_params(rounds=rounds_of(0))
    model, start = (start_model(IMAGES, params, RUNTIME) for _ in range(2))
    progress = stage(model, 0, params)
    assert progress.images_seen == 0 and same_bits(dict(model.state_dict()), dict(start.state_dict()))
    assert set(np.flatnonzero(model.subset_id == 1)) == set(SUBSETS[0]) and len(model.snapshots.ids) == 12


# --- The full set ---


def test_the_full_set_moves_every_code(stages):
    assert changed_rows(stages[3], stages[4]) == set(range(14))
    torch.testing.assert_close(stages[4].codes.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    np.testing.assert_array_equal(stages[4].subset_id, stages[3].subset_id)


@pytest.mark.parametrize(
    ("alpha", "beta", "sigma", "weights"),
    [
        (1.0, 0.7, 0.3, {"reconstruction": 1.0, "continuity": 0.7}),
        (0.0, 0.7, 0.3, {"continuity": 0.7}),
        (1.0, 0.7, 0.0, {"reconstruction": 1.7}),
        (0.0, 0.7, 0.0, {"reconstruction": 0.7}),
        (1.0, 0.0, 0.3, {"reconstruction": 1.0}),
    ],
)
def test_without_noise_or_its_weight_training_is_plain(monkeypatch, stages, alpha, beta, sigma, weights):
    seen = SimpleNamespace()

    def stop(model, objective, *_, **__):
        seen.objective = objective
        raise InterruptedError

    monkeypatch.setattr(glo_stages, "fit", stop)
    with pytest.raises(InterruptedError):
        params = tiny_params(alpha=alpha, beta=beta, sigma=sigma)
        learn_all(copy.deepcopy(stages[3]), IMAGES, DISTANCE, params, RUNTIME)
    assert seen.objective.weights == pytest.approx(weights)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_every_curve_has_the_loss_whatever_its_terms(stages, alpha):
    params, model = tiny_params(alpha=alpha, beta=0.7, sigma=0.3), copy.deepcopy(stages[3])
    rows = learn_all(model, IMAGES, DISTANCE, params, RUNTIME).rows
    assert len(rows) == 2 and all(("reconstruction" in row) is (alpha > 0) for row in rows)
    for row in rows:
        assert row["loss"] == pytest.approx(alpha * row.get("reconstruction", 0) + 0.7 * row["continuity"]) != 0


@pytest.mark.parametrize("start", ["own", "encoder"])
def test_a_stage_that_is_killed_and_resumed_from_its_folder_is_the_same(start, stages, tmp_path, monkeypatch):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    params, whole = tiny_params(staged__start=start), copy.deepcopy(stages[1])
    stage(whole, 1, params)
    (tmp_path / "model").mkdir()
    stages[1].save(tmp_path / "model")
    checkpoints, epochs = CheckpointFolder(tmp_path / "run"), []
    take = SnapshotCallback.after_epoch

    def killed(self, model, epoch):
        take(self, model, epoch)
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotCallback, "after_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        stage(GLOModel.load(tmp_path / "model", RUNTIME), 1, params, checkpoints)
    resumed = GLOModel.load(tmp_path / "model", RUNTIME)
    stage(resumed, 1, params, checkpoints)
    assert epochs == [1, 2, 2, 3]  # from the step before it was killed
    assert same_bits(everything(resumed), everything(whole))


# --- Plain GLO, and equal budgets ---

GLO = tiny_params(method="glo")


def incremental(params) -> list:
    model = start_model(IMAGES, params, RUNTIME)
    runs = [stage(model, index, params) for index in range(3)]
    return [*runs, learn_all(model, IMAGES, DISTANCE, params, RUNTIME)]


def glo(params) -> tuple[GLOModel, list]:
    model = start_model(IMAGES, params, RUNTIME)
    runs = [stage(model, index, params) for index in range(3)]
    return model, [*runs, learn_all(model, IMAGES, DISTANCE, params, RUNTIME)]


def test_plain_glo_learns_nothing_before_the_full_set(stages):
    model, start = (start_model(IMAGES, GLO, RUNTIME) for _ in range(2))
    for index in range(3):
        progress = stage(model, index, GLO)
        assert progress.images_seen == 0 and not progress.rows
    assert same_bits(dict(model.state_dict()), dict(start.state_dict())) and not model.log
    np.testing.assert_array_equal(model.subset_id, stages[3].subset_id)
    assert torch.equal(model.snapshots.ids, stages[3].snapshots.ids) and not model.snapshots.places


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sigma": 0.0},
        {"beta": 0.0},
        {"alpha": 0.0},
        {"staged__alpha": 0.0},
        {"staged__earlier_batch": 35, "staged__current_batch": 50, "full__batch_size": 75},
        {"rounds": tuple(replace(item, epochs=epochs) for item, epochs in zip(rounds_of(1), (0, 4, 2), strict=True))},
    ],
    ids=["all", "no noise", "no weight of it", "noise alone", "nothing kept", "one batch", "epochs that differ"],
)
def test_plain_glo_presents_as_many_images_as_all_stages(changes):
    changes = {"full__epochs": 1, "rounds": rounds_of(2), **changes}
    images_seen = sum(progress.images_seen for progress in incremental(tiny_params(**changes)))
    params = tiny_params(method="glo", **changes)
    assert images_seen_in_all_stages([4, 4, 6], params) == images_seen
    model, runs = glo(params)
    epoch = runs[-1].rows[0]["images_seen"]
    assert abs(runs[-1].images_seen - images_seen) <= epoch / 2
    assert {row["stage"] for row in model.log} == {"full"} and changed_rows(start_model(IMAGES, params, RUNTIME), model)


def test_plain_glo_has_no_noise():
    model, _ = glo(tiny_params(method="glo", full__epochs=1, rounds=rounds_of(0), beta=0.7, sigma=0.3))
    assert [*model.log[-1]] == ["stage", "epoch", "images_seen", "loss", "reconstruction"]
    assert model.log[-1]["images_seen"] == 30  # two epochs of three batches of five, as one of clean and noisy codes


@pytest.mark.parametrize(("budget", "epochs"), [(0, 1), (44, 1), (46, 2), (300, 10)])
def test_a_budget_stands_in_for_the_epochs_of_the_full_set(stages, budget, epochs):
    """An epoch is three batches of five clean codes and five noisy ones."""
    model = copy.deepcopy(stages[3])
    progress = learn_all(model, IMAGES, DISTANCE, PARAMS, RUNTIME, budget=budget)
    assert progress.images_seen == 30 * epochs and model.snapshots.places[-1] == ("full", epochs)


def test_a_watcher_looks_through_the_average_and_knows_the_length_of_an_epoch(stages):
    class Watcher(SnapshotCallback):
        def __init__(self, network, images_seen):
            super().__init__(Snapshots(torch.tensor([1, 5])), network, "watched", RUNTIME, len(IMAGES))
            watchers.append((self, images_seen))

    watchers = []
    for index, learn in ((1, stage_two), (3, full)):
        model = copy.deepcopy(stages[index])
        progress = learn(model, Watcher)
        watcher, images_seen = watchers.pop()
        assert images_seen == progress.rows[0]["images_seen"] and watcher.generator is not model.generator
        assert same_bits(dict(watcher.generator.state_dict()), dict(model.generator.state_dict()))
        assert [epoch for _, epoch in watcher.snapshots.places] == [1, 2]


def stage_two(model, make_callback):
    return learn_subset(model, IMAGES, SUBSETS[1], DISTANCE, 1, PARAMS, RUNTIME, make_callback=make_callback)


def full(model, make_callback):
    return learn_all(model, IMAGES, DISTANCE, PARAMS, RUNTIME, make_callback=make_callback)


# --- Optimizers ---


@pytest.mark.parametrize("name", CODE_OPTIMIZERS)
def test_codes_of_earlier_subsets_are_frozen_under_every_optimizer(stages, name):
    """The paper's code projects all of them, which may change last bits."""
    rates = {"optimizer__generator_rate": 0.1, "optimizer__code_rate": 50.0} if name == "sgd" else {}
    before, model = stages[1], copy.deepcopy(stages[1])
    progress = stage(model, 1, tiny_params(optimizer__name=name, **rates))
    moved = (model.codes.values - before.codes).abs().amax(1)
    assert set(torch.nonzero(moved > 1e-5)[:, 0].tolist()) == set(SUBSETS[1])
    assert progress.rows[-1]["reconstruction"] < progress.rows[0]["reconstruction"]


@pytest.mark.parametrize("reshuffle", [True, False])
def test_the_order_of_batches_and_the_schedule_are_those_asked_for(monkeypatch, stages, reshuffle):
    seen = SimpleNamespace()

    def stop(model, objective, batches, optimizers, schedule, **_):
        seen.batches, seen.optimizers, seen.schedule = batches, optimizers, schedule
        raise InterruptedError

    monkeypatch.setattr(glo_stages, "fit", stop)
    params = tiny_params(
        optimizer__name="sgd", optimizer__reshuffle=reshuffle, optimizer__schedule="linear", optimizer__code_rate=0.2
    )
    with pytest.raises(InterruptedError):
        stage(copy.deepcopy(stages[1]), 1, params)
    assert seen.batches.reshuffle is reshuffle and seen.schedule == "linear"
    assert [type(optimizer) for optimizer in seen.optimizers] == [torch.optim.SGD, RowSGD]
    assert [optimizer.param_groups[0]["lr"] for optimizer in seen.optimizers] == [1e-3, 0.2]


# --- The snapshots ---


def test_an_album_of_few_images_shows_them_all():
    snapshots = Snapshots.drawn(np.array([2]), 5, seed=0)
    assert (
        isinstance(snapshots, Snapshots) and sorted(snapshots.ids.tolist()) == [0, 1, 2, 3, 4] and snapshots.ids[0] == 2
    )
