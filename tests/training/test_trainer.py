"""A stage of training as data, and what the trainer does around the loop."""

import math

import numpy as np
import pytest
from torch import nn

from iglo.backbones import networks
from iglo.backbones.backbone import IMAGENET_MEAN
from iglo.errors import UserError
from iglo.losses.distances import L1, L2, PIXEL_DISTANCES, Perceptual
from iglo.losses.terms import (
    Autoencoding,
    CodeDistance,
    CodeRegression,
    Continuity,
    Objective,
    Preservation,
    Reconstruction,
    RenderedPairs,
)
from iglo.models.glo import render
from iglo.models.networks import Encoder, initialise
from iglo.training import trainer as trainers
from iglo.training.batches import IdSampler, Targets
from iglo.training.callbacks import EMA, SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import RowAdam, network_optimizer
from iglo.training.trainer import StageSpec, Trainer, Validation, make_distance
from tests.tiny import RUNTIME, copied, generator, same_bits, tiny_images, tiny_params, tiny_trainer

IMAGES, PARAMS = tiny_images(14), tiny_params()
CURRENT, EARLIER = IdSampler(np.array([7, 3, 9, 8, 2]), 2), IdSampler(np.array([1, 0]), 4)
REGRESSION = CodeRegression(CodeDistance(1.0, 1.0))


def stage(trainer: Trainer | None = None, **changes) -> StageSpec:
    """Reconstruction of the images of CURRENT, in two epochs."""
    optimizers = []
    if trainer:
        tables = list(trainer.model.codes.tables.values())
        optimizers = [network_optimizer("adam", trainer.model.generator, 0.01), RowAdam(tables, 0.1)]
    values = {"terms": [(1.0, Reconstruction())], "sources": {"current": CURRENT}, "schedule": LRSchedule(2)}
    return StageSpec("tiny", **(values | {"optimizers": optimizers} | changes))


@pytest.fixture
def trainer():
    return tiny_trainer(IMAGES, PARAMS)


# --- A stage as data ---


def test_the_ids_of_a_stage_are_those_of_its_sources_and_of_its_validation():
    both, validation = {"current": CURRENT, "earlier": EARLIER}, Validation(REGRESSION, np.array([12, 9]), nn.Module())
    assert stage().ids.tolist() == [2, 3, 7, 8, 9]
    assert stage(sources=both).ids.tolist() == [0, 1, 2, 3, 7, 8, 9]
    assert stage(sources=both, validation=validation).ids.tolist() == [0, 1, 2, 3, 7, 8, 9, 12]


@pytest.mark.parametrize(
    ("terms", "images"),
    [
        ([(1.0, Reconstruction())], 3 * 2),
        ([(1.0, Reconstruction()), (0.5, Continuity(0.3))], 3 * (2 + 2)),
        ([(1.0, Reconstruction()), (0.5, Preservation())], 3 * (2 + 2)),  # two images fill a sub-batch of four
        ([(0.0, Reconstruction()), (0.5, Preservation())], 3 * 2),
        ([(1.0, Autoencoding()), (1.0, REGRESSION)], 3 * 2),
        ([(1.0, REGRESSION), (1.0, RenderedPairs(REGRESSION.distance, 0.1))], 0),
    ],
)
def test_the_images_of_an_epoch_are_those_of_the_rendered_terms(terms, images):
    """Three steps, two images of each sub-batch in a step."""
    found = stage(terms=terms, sources={"current": CURRENT, "earlier": EARLIER})
    assert found.images_per_epoch == images and found.renders is (images > 0)


def test_the_loop_sees_as_many_images_as_the_stage_says(trainer):
    terms = [(1.0, Reconstruction()), (0.5, Preservation()), (1.0, Continuity(0.3))]
    spec = stage(trainer, terms=terms, sources={"current": CURRENT, "earlier": EARLIER})
    assert trainer.run(spec).images_seen == 2 * spec.images_per_epoch == 36


# --- The trainer ---


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, []),
        ({"ema": 0.5}, [EMA]),
        ({"ema": 0.5, "snapshots": True}, [EMA, SnapshotCallback]),
        ({"snapshots": True}, [SnapshotCallback]),
    ],
)
def test_a_stage_has_the_callbacks_that_it_asks_for(trainer, monkeypatch, changes, kinds):
    """One more is made by `make_callback`, although it counts as false. It gets the generator that renders."""

    class Empty(list):
        def __init__(self, network, images_seen):
            made.append((network, images_seen))

    made, seen = [], []
    monkeypatch.setattr(trainers, "fit", lambda *given: seen.extend(given) or RunState())
    trainer.make_callback = Empty
    trainer.run(stage(trainer, **changes, schedule=LRSchedule(0)))
    assert [type(callback) for callback in seen[5]] == [*kinds, Empty]
    ((network, images_seen),) = made
    assert images_seen == 6 and (network is trainer.model.generator) is ("ema" not in changes)
    for callback in seen[5]:
        assert not isinstance(callback, SnapshotCallback) or callback.generator is network


def test_a_validation_adds_its_score_to_the_log_and_restores_the_best_epoch(trainer, monkeypatch):
    scores, weights = iter([2.0, 1.0, 3.0]), []

    def mean_loss(objective, model, targets, ids):
        assert ids.tolist() == [12, 0] and list(objective.weights) == ["reconstruction"]
        weights.append({name: value.clone() for name, value in model.generator.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(trainers, "_mean_loss", mean_loss)
    validation = Validation(Reconstruction(), np.array([12, 0]), trainer.model.generator)
    state = trainer.run(stage(trainer, validation=validation, schedule=LRSchedule(3)))
    assert [row["held_out"] for row in state.rows] == [2.0, 1.0, 3.0]
    assert same_bits(dict(trainer.model.generator.state_dict()), weights[1])
    assert trainer.history.log == [{"stage": "tiny", **row} for row in state.rows]


def test_a_score_that_is_not_finite_is_an_error(trainer, monkeypatch):
    monkeypatch.setattr(trainers, "_mean_loss", lambda *_: math.nan)
    validation = Validation(Reconstruction(), np.array([12]), trainer.model.generator)
    with pytest.raises(UserError, match=r"^tiny: the loss on held-out images is no longer finite in epoch 1; try a "):
        trainer.run(stage(trainer, validation=validation))


def test_the_score_is_the_mean_over_the_held_out_images(trainer, monkeypatch):
    """Also if the last batch is smaller than the others."""
    monkeypatch.setattr(trainers, "VALIDATION_BATCH", 2)
    ids, model = np.array([12, 0, 5]), trainer.model.eval()
    targets = Targets(IMAGES, np.arange(14), trainer.distance, RUNTIME)
    score = trainers._mean_loss(Objective([(1.0, Reconstruction())], trainer.distance), model, targets, ids)
    drawn = render(model.generator, model.codes.of(ids), RUNTIME)
    assert score == pytest.approx(np.abs(drawn - IMAGES[ids] / 255).mean(), rel=1e-5)


def test_a_stage_may_stay_out_of_the_log_and_of_the_snapshots(trainer):
    trainer.run(stage(trainer, logged=False))
    assert trainer.history.log == [] and trainer.history.snapshots.places == []


def test_a_stream_of_another_name_gives_the_random_numbers_and_the_name_stays(trainer):
    again = copied(trainer)
    states = [trainer.run(stage(trainer, stream="earlier name")), again.run(stage(again))]
    assert states[0].rows != states[1].rows and {row["stage"] for row in trainer.history.log} == {"tiny"}


def test_a_network_without_generator_codes_and_history_is_trained_too():
    class Darkness:
        name, source = "darkness", "current"

        def __call__(self, model, batch, rng, progress):
            return model(batch["current"].images).square().mean(1)

    network = RUNTIME.to_device(initialise(Encoder(3, 16, 1, 4), generator()))
    trainer = Trainer(network, IMAGES, None, PARAMS, RUNTIME)
    optimizer = network_optimizer("adam", network, 0.01)
    rows = trainer.run(stage(terms=[(1.0, Darkness())], optimizers=[optimizer], schedule=LRSchedule(5))).rows
    assert rows[-1]["darkness"] < rows[0]["darkness"] and "distance" not in vars(trainer)


def test_a_trainer_inside_has_its_own_checkpoints_and_the_same_model_and_history(trainer, tmp_path):
    assert trainer.inside("start").checkpoints is None
    trainer.checkpoints = CheckpointFolder(tmp_path)
    inner = trainer.inside("start")
    assert inner.checkpoints.path == tmp_path / "start" and trainer.checkpoints.path == tmp_path
    assert inner.model is trainer.model and inner.history is trainer.history


# --- The distance ---


def test_the_distance_is_the_one_that_the_params_name(trainer):
    for name, kind in PIXEL_DISTANCES.items():
        assert type(make_distance(tiny_params(loss__name=name), RUNTIME)) is kind
    assert type(trainer.distance) is L1 and trainer.distance is trainer.distance
    trainer.distance = L2()
    assert type(trainer.inside("start").distance) is L2


def test_the_perceptual_distance_is_frozen_and_has_as_many_blocks_as_the_params_say(monkeypatch):
    asked = []

    def two_convolutions(*arguments):
        asked.append(arguments)
        return nn.ModuleList([nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)]).requires_grad_(False)

    monkeypatch.setattr(networks, "vgg_blocks", two_convolutions)
    distance = make_distance(tiny_params(loss__name="perceptual", loss__blocks=2), RUNTIME)
    assert isinstance(distance, Perceptual) and asked == [("vgg16", "random", 2, 0)]
    assert distance.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert not any(parameter.requires_grad for parameter in distance.parameters())
