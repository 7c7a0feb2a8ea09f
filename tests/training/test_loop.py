"""The loop: it learns, it resumes with the same bits, and it stops if the loss is no longer finite."""

import math
from contextlib import suppress

import numpy as np
import pytest
import torch

from iglo import progress
from iglo.errors import UserError
from iglo.losses.distances import L1
from iglo.losses.terms import Continuity, Objective, Preservation, Reconstruction
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import GLOConfig
from iglo.models.geometry import Sphere
from iglo.models.glo import GLOModel
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.callbacks import EMA, SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import CHECK_EVERY, LRSchedule, fit, require_finite
from iglo.training.optimizers import RowAdam
from tests.tiny import RUNTIME, generator, same_bits, tiny_images

EPOCHS, STEPS = 4, 3
TERMS = [(1.0, Reconstruction()), (1.0, Preservation()), (0.5, Continuity(0.3))]


class Killed(BaseException):
    pass


class Witness:
    """Sees the rates of every step, and may kill the run at one."""

    def __init__(self, optimizers, kill_at=None):
        self.optimizers, self.kill_at, self.rates = optimizers, kill_at, []

    def after_step(self, model):
        self.rates.append([group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups])
        if len(self.rates) == self.kill_at:
            raise Killed

    def after_epoch(self, model, epoch):
        pass

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Run:
    """A whole run from its seed: two sub-batches, three terms, noise, batch norm, an average, snapshots."""

    def __init__(self, terms=TERMS, schedule="cosine", epochs=EPOCHS, kill_at=None, checkpoints=None, sum_of=Objective):
        images = tiny_images()
        config = GLOConfig(6, 16, 1, 4, "sphere", 2.0)
        network = RUNTIME.to_device(initialise(config.generator(), generator()))
        codes = Codes(image=CodeTable(Sphere(2.0).sample(12, 6, generator(1)), Sphere(2.0))).to(RUNTIME.device)
        self.model, self.snapshots = GLOModel(config, network, codes), Snapshots(torch.tensor([0, 7]))
        adam = torch.optim.Adam(network.parameters(), 0.01, betas=(0.5, 0.999), fused=True)
        optimizers = [adam, RowAdam(list(codes.tables.values()), 0.1)]
        self.ema = EMA(network, 0.8)
        snapshot_callback = SnapshotCallback(self.snapshots, self.ema.network, "tiny", RUNTIME, 12)
        self.witness = Witness(optimizers, kill_at)
        objective = sum_of(terms, L1().to(RUNTIME.device))
        sources = {"current": IdSampler(np.arange(3, 12), 3), "earlier": IdSampler(np.arange(3), 2)}
        batches = Batches(Targets(images, np.arange(12), objective.distance, RUNTIME), sources, 0, "tiny")
        assert batches.steps == STEPS
        callbacks = [self.ema, snapshot_callback, self.witness]
        schedule, self.optimizers = LRSchedule(epochs, schedule), optimizers
        with suppress(Killed):
            self.state = fit(self.model, objective, batches, optimizers, schedule, callbacks, checkpoints)

    def all_state(self) -> dict:
        """All that a run leaves behind, without its time."""
        parts = [self.model, self.ema, self.snapshots, *self.optimizers]
        return {"run": self.state.state_dict() | {"earlier_seconds": 0}, "parts": [part.state_dict() for part in parts]}


@pytest.fixture(scope="module")
def whole():
    return Run()


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """A folder that is written to after every step."""
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    return CheckpointFolder(tmp_path / "run")


def test_the_loss_goes_down():
    run = Run(terms=TERMS[:1], schedule="constant", epochs=40)
    losses = [row["reconstruction"] for row in run.state.rows]
    assert losses[-1] < 0.4 * losses[0]


def test_two_runs_have_the_same_bits(whole):
    assert same_bits(Run().all_state(), whole.all_state())


def test_the_log_has_a_row_per_epoch(whole):
    rows = whole.state.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["images_seen"] for row in rows] == [STEPS * (3 + 2 + 3) * epoch for epoch in (1, 2, 3, 4)]
    assert list(rows[0]) == ["epoch", "images_seen", "loss", "reconstruction", "preservation", "continuity"]
    assert whole.state.step == EPOCHS * STEPS and whole.snapshots.places == [("tiny", 1), ("tiny", 2)]


def test_a_logged_loss_is_the_mean_over_the_epoch():
    class Recorded(Objective):
        def __call__(self, *arguments):
            total, terms, images_seen = super().__call__(*arguments)
            values.append(terms["reconstruction"].item())
            return total, terms, images_seen

    values = []
    rows = Run(epochs=20, sum_of=Recorded).state.rows
    means = np.array(values).reshape(20, STEPS).mean(1)
    np.testing.assert_allclose([row["reconstruction"] for row in rows], means, rtol=1e-6)


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 7, 12])
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(whole, checkpoints, kill_at):
    Run(kill_at=kill_at, checkpoints=checkpoints)
    resumed = Run(checkpoints=checkpoints)
    assert len(resumed.witness.rates) == EPOCHS * STEPS - (kill_at - 1)  # it did not begin anew
    assert same_bits(resumed.all_state(), whole.all_state())
    assert resumed.witness.rates == whole.witness.rates[kill_at - 1 :]
    assert (resumed.state.earlier_seconds > 0) is (kill_at > 1)


def test_a_run_may_be_killed_again_and_again(whole, checkpoints):
    for _ in range(3):
        Run(kill_at=4, checkpoints=checkpoints)
    last = Run(checkpoints=checkpoints)
    assert len(last.witness.rates) == 3 and same_bits(last.all_state(), whole.all_state())


def test_noise_is_fresh_at_every_step():
    class Draw(Spike):
        def __call__(self, model, batch, rng, progress):
            draws.append(torch.rand(1, generator=rng).item())
            return super().__call__(model, batch, rng, progress)

    draws = []
    Run(terms=[(1.0, Draw(bad=math.inf))])
    assert len(set(draws)) == EPOCHS * STEPS


@pytest.mark.parametrize("kill_at", [None, 5])
def test_terms_get_the_progress_of_the_run(checkpoints, kill_at):
    class Told(Spike):
        def __call__(self, model, batch, rng, progress):
            told.append(progress)
            return super().__call__(model, batch, rng, progress)

    told, terms = [], [(1.0, Told(bad=math.inf))]
    if kill_at:
        Run(terms=terms, kill_at=kill_at, checkpoints=checkpoints)
        del told[kill_at - 1 :]  # the step that was killed comes again
    Run(terms=terms, checkpoints=checkpoints)
    assert told == pytest.approx([step / (EPOCHS * STEPS) for step in range(EPOCHS * STEPS)])


def test_the_end_of_a_run_is_kept(whole, tmp_path):
    """The result of a finished training is kept, even if it took less than the 60 s between checkpoints."""
    folder = CheckpointFolder(tmp_path / "run")
    for each in (folder, folder.inside("first")):
        Run(checkpoints=each)
        again = Run(checkpoints=each)
        assert again.witness.rates == [] and same_bits(again.all_state(), whole.all_state())
    assert folder.inside("second").load() is None


def test_a_run_without_epochs_changes_nothing():
    run = Run(epochs=0)
    assert run.state.rows == [] and same_bits(run.model.codes.values, Sphere(2.0).sample(12, 6, generator(1)))


class Spike:
    """A term that is no longer a number from its `bad`-th call on."""

    name, source = "spike", "current"

    def __init__(self, bad):
        self.bad, self.calls = bad, 0

    def __call__(self, model, batch, rng, progress):
        self.calls += 1
        value = model.codes(batch["current"].ids).square().sum(1)
        return value * (math.nan if self.calls >= self.bad else 1.0)


@pytest.mark.parametrize("bad", [5, CHECK_EVERY, CHECK_EVERY + 2])
def test_a_loss_that_is_not_finite_names_stage_term_and_step(bad):
    with pytest.raises(UserError, match=rf"^tiny: the spike loss is no longer finite at step {bad};[^\n]*\.$"):
        Run(terms=[(1.0, Reconstruction()), (1.0, Spike(bad))], epochs=20)


def test_a_loss_that_is_not_finite_leaves_a_good_checkpoint(checkpoints):
    with pytest.raises(UserError, match="spike loss is no longer finite at step 5;"):
        Run(terms=[(1.0, Reconstruction()), (1.0, Spike(5))], checkpoints=checkpoints)
    state = checkpoints.load()
    assert state["progress"]["step"] == 4
    assert all(values.isfinite().all() for values in state["model"].values())


class Spoiling:
    """A term with finite values, whose gradient is not finite in its `bad`-th call."""

    name, source = "spoiling", "current"

    def __init__(self, bad):
        self.bad, self.calls = bad, 0

    def __call__(self, model, batch, rng, progress):
        self.calls += 1
        codes = model.codes(batch["current"].ids)
        return (codes * (0.0 if self.calls == self.bad else 1.0)).square().sum(1).sqrt()


def test_weights_that_the_last_step_spoils_are_an_error(checkpoints):
    """The losses do not show them. With checkpoints, the step before the last is kept, and the message says so."""
    terms, last = [(1.0, Reconstruction())], EPOCHS * STEPS
    problem = (
        rf"^tiny: the weights are no longer finite after step {last}; try a lower learning rate or precision: fp32"
    )
    with pytest.raises(UserError, match=rf"{problem}\.$"):
        Run(terms=[*terms, (1.0, Spoiling(last))])
    with pytest.raises(UserError, match=rf"{problem}; the last good checkpoint is kept\.$"):
        Run(terms=[*terms, (1.0, Spoiling(last))], checkpoints=checkpoints)
    state = checkpoints.load()
    assert state["progress"]["step"] == last - 1 and all(values.isfinite().all() for values in state["model"].values())
    assert Run(terms=[*terms, (1.0, Spoiling(last + 1))]).state.step == last


def test_a_checkpoint_is_mentioned_only_if_there_is_one(checkpoints):
    for kill_at, kept in ((1, False), (2, True)):
        with pytest.raises(UserError) as error:
            Run(terms=[(1.0, Reconstruction()), (1.0, Spike(kill_at))], checkpoints=checkpoints)
        assert ("checkpoint is kept" in str(error.value)) is kept is (checkpoints.load() is not None)


def test_statistics_of_batch_norm_are_checked_too():
    model = Run(epochs=1).model
    require_finite(model, "full", RUNTIME)
    model.generator.body[1].running_var[2] = math.inf
    with pytest.raises(UserError, match=r"^full: the weights are no longer finite at its end; try a lower [^\n]*\.$"):
        require_finite(model, "full", RUNTIME)


def test_the_loss_of_the_log_is_the_weighted_sum_of_the_terms(whole):
    for row in whole.state.rows:
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["preservation"] + 0.5 * row["continuity"])


def test_a_resumed_run_says_from_which_step(checkpoints, capsys):
    Run(kill_at=5, checkpoints=checkpoints)
    assert capsys.readouterr().err == ""
    Run(checkpoints=checkpoints)
    assert capsys.readouterr().err == "tiny: goes on after step 4 of 12\n"


def test_the_progress_of_a_run_shows_epoch_and_loss(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 1e-9)
    run = Run()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tiny: step 1/12, epoch 1/4, ") and "loss" not in lines[0]
    loss = run.state.rows[-1]["loss"]
    assert lines[-1].startswith(f"tiny: step 12/12, epoch 4/4, loss {loss:.4g}, ") and "done in" in lines[-1]


@pytest.mark.parametrize(
    ("name", "values"), [("constant", [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0]), ("cosine", [1, 0.8535534, 0.5, 0])]
)
def test_learning_rates_follow_the_schedule(name, values):
    schedule, total = LRSchedule(EPOCHS, name), EPOCHS * STEPS
    assert [schedule.factor(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx(values, abs=1e-6)
    factors = np.array([schedule.factor(step / total) for step in range(total)])
    np.testing.assert_allclose(Run(schedule=name).witness.rates, factors[:, None] * [0.01, 0.1])
