"""The training loop: take a batch, evaluate the objective, backward, step, log. It knows nothing of GLO."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from iglo.environment import checkpoint_seconds
from iglo.errors import UserError
from iglo.losses.terms import Objective
from iglo.progress import bar, say
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches
from iglo.training.callbacks import Callback
from iglo.training.checkpoints import CheckpointFolder

RATE_SCHEDULES: dict[str, Callable[[float], float]] = {  # progress in [0, 1] → factor of the learning rates
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}
CHECK_EVERY = 16  # steps between checks of the losses; a check waits for the device and for the other ranks


@dataclass(frozen=True)
class LRSchedule:
    """The number of epochs of a training, and how its learning rates fall.

    Attributes:
        shape: constant, linear or cosine.
    """

    epochs: int
    shape: str = "constant"

    def factor(self, progress: float) -> float:
        """Computes the factor of the learning rates at `progress`, the elapsed share of the training in [0, 1]."""
        return RATE_SCHEDULES[self.shape](progress)


@dataclass
class RunState:
    """How far a training has come, and its log.

    Attributes:
        images_seen: images that went through the network, forward and backward; repeated images count again.
        earlier_seconds: time that earlier processes spent on this training.
        rows: the log, one row per epoch. It has no times, so that it is the same in every run.
        sums: the sum of each term since the start of the epoch.
    """

    step: int = 0
    images_seen: int = 0
    earlier_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


def fit(
    model: nn.Module,
    objective: Objective,
    batches: Batches,
    optimizers: Sequence[torch.optim.Optimizer],
    schedule: LRSchedule,
    callbacks: Sequence[Callback] = (),
    checkpoints: CheckpointFolder | None = None,
) -> RunState:
    """Minimises the objective. A training that resumes from a checkpoint ends with the same bits as an unbroken one.

    Several ranks share each batch, and the gradient of a weight is that of the whole batch. Each rank keeps its own
    rows of the codes, and the state of their optimizer. Batch norm normalises over the share of each rank; its running
    statistics are those of the main rank.

    Args:
        optimizers: all of them step after every batch.
        schedule: the number of epochs, and the factor of the learning rates.
        checkpoints: where the state is saved, every IGLO_CHECKPOINT_SECONDS (default 60) and at the end.

    Raises:
        UserError: a loss, a weight or a statistic of batch norm is no longer finite.
    """
    runtime, state = batches.runtime, RunState()
    rates = [group["lr"] for group in _groups(optimizers)]  # read first, because a resume overwrites them
    saver = _Saver(batches.name, model, state, optimizers, callbacks, checkpoints, runtime)
    total = schedule.epochs * batches.steps
    saver.resume(total)
    log = _Log(objective.weights, saver, batches.steps)
    shared = [weights for group in _groups(optimizers) for weights in group["params"] if not by_image(weights)]
    statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    loss_of = runtime.with_summed_gradients(partial(objective, model), shared)
    model.train()
    with bar(total=total, initial=state.step, desc=batches.name, unit="step", hidden=not runtime.is_main) as shown:
        for batch in batches.between(state.step, total):
            _set_rates(optimizers, rates, schedule.factor(state.step / total))
            with runtime.autocast():
                loss, terms, images_seen = loss_of(batch, batches.noise(state.step), state.step / total)
            loss.backward()
            runtime.broadcast(statistics)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for callback in callbacks:
                callback.after_step(model)
            state.step += 1
            state.images_seen += images_seen
            log.add(terms)
            if state.step % batches.steps == 0:
                log.end_epoch()
                saver.check(model)
                for callback in callbacks:
                    callback.after_epoch(model, state.step // batches.steps)
            if saver.is_due(state.step):
                log.check()
                saver.save(model)
            shown.set_postfix_str(f"epoch {log.epoch}/{schedule.epochs}{log.loss_text}", refresh=False)
            shown.update()
    saver.save(model)
    return state


def by_image(weights: Tensor) -> bool:
    """Tells whether a parameter has a row per training image. Each rank then holds its own rows."""
    return getattr(weights, "by_image", False)


def require_finite(model: nn.Module, name: str, runtime: Runtime) -> None:
    """Raises UserError if a weight, a code or a statistic of batch norm is not finite, on any rank.

    Args:
        name: name of the training that has just ended.
    """
    if not runtime.all(_finite(model)):
        raise not_finite_error(name, "the weights are no longer finite at its end")


def not_finite_error(name: str, what: str, kept: bool = False) -> UserError:
    """Makes the error of a training whose loss or weights are no longer finite.

    Args:
        what: says what is not finite, and when.
        kept: whether the training has a checkpoint.
    """
    checkpoint = "; the last good checkpoint is kept" if kept else ""
    return UserError(f"{name}: {what}; try a lower learning rate or precision: fp32{checkpoint}.")


def _finite(model: nn.Module) -> bool:
    tensors = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())  # waits for a GPU only once


class _Saver:
    """Saves checkpoints of a training and resumes from them.

    Attributes:
        parts: what a checkpoint holds.
        kept: whether there is a checkpoint.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        state: RunState,
        optimizers: Sequence[torch.optim.Optimizer],
        callbacks: Sequence[Callback],
        checkpoints: CheckpointFolder | None,
        runtime: Runtime,
    ):
        self.name, self.state = name, state
        self.parts = {"model": model, "progress": state, **_numbered(optimizers), **_numbered(callbacks)}
        self.by_image = _keys_by_image(model, _numbered(optimizers))
        self.checkpoints, self.runtime = checkpoints, runtime
        self.every = checkpoint_seconds()
        self.started = self.saved = time.perf_counter()
        self.kept = False

    def resume(self, total: int) -> None:
        """Loads the newest checkpoint, if there is one. `total` is the number of steps of the training."""
        if self.checkpoints is not None and (saved := self.checkpoints.load(self.runtime)):
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
            self.kept = True
        if self.state.step and self.runtime.is_main:
            say(f"{self.name}: goes on after step {self.state.step} of {total}")

    def check(self, model: nn.Module) -> None:
        """Raises UserError if a weight is not finite. The losses do not show the result of the last step."""
        if not self.runtime.all(_finite(model)):
            raise self.not_finite_error(f"the weights are no longer finite after step {self.state.step}")

    def not_finite_error(self, what: str) -> UserError:
        return not_finite_error(self.name, what, self.kept)

    def is_due(self, step: int) -> bool:
        if self.checkpoints is None or (self.runtime.ranks > 1 and step % CHECK_EVERY):
            return False
        return bool(self.runtime.broadcast_int(time.perf_counter() - self.saved >= self.every))

    def save(self, model: nn.Module) -> None:
        """Saves the state if all weights are finite. If not, the next check raises the error."""
        if self.checkpoints is None or not self.runtime.all(_finite(model)):
            return
        saved = {name: part.state_dict() for name, part in self.parts.items()}
        saved["progress"]["earlier_seconds"] += time.perf_counter() - self.started
        self.checkpoints.save(self.state.step, saved, self.runtime, self.by_image)
        self.saved, self.kept = time.perf_counter(), True


def _keys_by_image(model: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> set[str]:
    """Lists the keys of tensors with a row per image in a checkpoint: codes, and the state of their optimizers."""
    keys = {f"model/{name}" for name, weights in model.named_parameters() if by_image(weights)}
    for name, optimizer in optimizers.items():
        weights = [weights for group in optimizer.param_groups for weights in group["params"]]
        keys |= {f"{name}/state/{index}" for index, each in enumerate(weights) if by_image(each)}
    return keys


class _Log:
    """Averages the terms over each epoch. Every few steps it checks that they are finite.

    Attributes:
        pending: the values of the terms since the last check.
        loss_text: the mean loss before the last check, for the progress bar.
    """

    def __init__(self, weights: Mapping[str, float], saver: _Saver, steps: int):
        self.weights, self.saver, self.steps = weights, saver, steps
        self.state, self.runtime = saver.state, saver.runtime
        self.pending: list[Tensor] = []
        self.loss_text = ""

    def add(self, terms: dict[str, Tensor]) -> None:
        self.pending.append(torch.stack([terms[name] for name in self.weights]))
        if len(self.pending) == CHECK_EVERY:
            self.check()

    def check(self) -> None:
        """Adds the pending values to the sums. Raises UserError if one is not finite."""
        if not self.pending:
            return
        values = self.runtime.all_reduce(torch.stack(self.pending).double().cpu())
        self.pending = []
        if not values.isfinite().all():
            step, term = (~values.isfinite()).nonzero()[0].tolist()
            step += self.state.step - len(values) + 1
            raise self.saver.not_finite_error(f"the {list(self.weights)[term]} loss is no longer finite at step {step}")
        sums = dict(zip(self.weights, values.sum(0).tolist(), strict=True))
        for name, value in sums.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value
        self.loss_text = f", loss {self._weighted(sums) / len(values):.4g}"

    def end_epoch(self) -> None:
        """Adds a row to the log: the mean of each term, and `loss`, their weighted sum."""
        self.check()
        means = {name: value / self.steps for name, value in self.state.sums.items()}
        row = {"epoch": self.state.step // self.steps, "images_seen": self.state.images_seen}
        self.state.rows.append({**row, "loss": self._weighted(means), **means})
        self.state.sums = {}

    @property
    def epoch(self) -> int:
        """The epoch of the last step, from 1."""
        return math.ceil(self.state.step / self.steps)

    def _weighted(self, values: Mapping[str, float]) -> float:
        return sum(weight * values[name] for name, weight in self.weights.items())


def _groups(optimizers: Sequence[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[float], factor: float) -> None:
    for group, rate in zip(_groups(optimizers), rates, strict=True):
        group["lr"] = rate * factor


def _numbered(parts: Sequence[Any]) -> dict[str, Any]:
    return {f"{type(part).__name__}-{index}": part for index, part in enumerate(parts)}
