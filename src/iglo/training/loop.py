"""The one loop. It knows nothing of GLO: take a batch, objective(model, batch, rng), backward, step, log."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iglo.environment import checkpoint_seconds
from iglo.errors import UserError
from iglo.losses.terms import Objective
from iglo.progress import bar, say
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches
from iglo.training.checkpoints import CheckpointFolder

RATE_SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the run that is done → factor of the rates
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
LOOK_EVERY = 16  # steps between looks at the losses; each look waits for the device, and for the other ranks


class Callback(Protocol):
    """Watches a run and is checkpointed with it: an average, previews, the best epoch."""

    def after_step(self, model: nn.Module) -> None: ...

    def after_epoch(self, model: nn.Module, epoch: int) -> None: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


MakeCallback = Callable[[nn.Module, int], Callback]  # of the generator to look through and the images seen in an epoch


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        images_seen: images that went through the network, forward and backward.
        earlier_seconds: spent in this run by processes before this one.
        rows: the log, one row per epoch, without times: the same bits in every run.
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
    *,
    epochs: int,
    runtime: Runtime,
    schedule: str = "constant",
    callbacks: Sequence[Callback] = (),
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """Minimises the objective. A run that resumes from a checkpoint ends with the same bits as an unbroken run.

    Ranks share the batches. The gradient of a weight is that of the whole batch. Each rank keeps the rows of its codes
    and their optimizer's state. Batch norm uses each rank's own share; its running statistics are the first rank's.

    Args:
        optimizers: all step after every batch; their rates follow `schedule` over the whole run.
        checkpoints: saves the state every IGLO_CHECKPOINT_SECONDS (default 60) and at the end.

    Raises:
        UserError: a loss, a weight or a statistic of batch norm is no longer finite.
    """
    progress = Progress()
    rates = [group["lr"] for group in _groups(optimizers)]  # a resume brings back what the schedule had made of them
    run = _Run(batches.name, model, progress, optimizers, callbacks, checkpoints, runtime)
    run.resume()
    log = _Log(objective.weights, run, batches.steps)
    total = epochs * batches.steps
    if progress.step and runtime.is_main:
        say(f"{batches.name}: goes on after step {progress.step} of {total}")
    shared = [weights for group in _groups(optimizers) for weights in group["params"] if not by_image(weights)]
    running = [statistic for statistic in model.buffers() if statistic.is_floating_point()]
    loss_of = runtime.with_summed_gradients(partial(objective, model), shared)
    model.train()
    with bar(total=total, initial=progress.step, desc=batches.name, unit="step", hidden=not runtime.is_main) as shown:
        for batch in batches.between(progress.step, total):
            for group, rate in zip(_groups(optimizers), rates, strict=True):
                group["lr"] = rate * RATE_SCHEDULES[schedule](progress.step / total)
            with runtime.autocast():
                loss, terms, images_seen = loss_of(batch, batches.noise(progress.step), progress.step / total)
            loss.backward()
            runtime.broadcast(running)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for callback in callbacks:
                callback.after_step(model)
            progress.step += 1
            progress.images_seen += images_seen
            log.add(terms)
            if progress.step % batches.steps == 0:
                log.end_epoch()
                run.check(model)
                for callback in callbacks:
                    callback.after_epoch(model, progress.step // batches.steps)
            if run.is_due(progress.step):
                log.look()
                run.save(model)
            shown.set_postfix_str(f"epoch {math.ceil(progress.step / batches.steps)}/{epochs}{log.told}", refresh=False)
            shown.update()
    if checkpoints is not None:
        run.save(model)
    return progress


def by_image(weights: Tensor) -> bool:
    """Whether a parameter has a row per training image, so that every rank holds other rows of it."""
    return getattr(weights, "by_image", False)


def require_finite(model: nn.Module, name: str, runtime: Runtime) -> None:
    """Raises UserError if a weight, a code or a statistic of batch norm is not finite, on any rank.

    Args:
        name: name of the training that has just ended.
    """
    if not runtime.all(_finite(model)):
        raise lost(name, "the weights are no longer finite at its end")


def lost(name: str, what: str, kept: bool = False) -> UserError:
    """The error of a training whose loss or weights are no longer finite.

    Args:
        kept: whether it has a checkpoint.
    """
    checkpoint = "; the last good checkpoint is kept" if kept else ""
    return UserError(f"{name}: {what}; try a lower learning rate or precision: fp32{checkpoint}.")


def _finite(model: nn.Module) -> bool:
    tensors = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())  # waits for a GPU only once


class _Run:
    """The checkpointed parts of a run, and its clock.

    Attributes:
        kept: whether it has a checkpoint.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        progress: Progress,
        optimizers: Sequence[torch.optim.Optimizer],
        callbacks: Sequence[Callback],
        checkpoints: CheckpointFolder | None,
        runtime: Runtime,
    ):
        self.name, self.progress = name, progress
        self.parts = {"model": model, "progress": progress, **_numbered(optimizers), **_numbered(callbacks)}
        self.by_image = _keys_by_image(model, _numbered(optimizers))
        self.checkpoints, self.runtime = checkpoints, runtime
        self.every = checkpoint_seconds()
        self.started = self.saved = time.perf_counter()
        self.kept = False

    def resume(self) -> None:
        if self.checkpoints is not None and (state := self.checkpoints.load(self.runtime)):
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.kept = True

    def check(self, model: nn.Module) -> None:
        """Raises UserError if the weights are no longer finite. The losses do not show this for the last step."""
        if not self.runtime.all(_finite(model)):
            raise self.lost(f"the weights are no longer finite after step {self.progress.step}")

    def lost(self, what: str) -> UserError:
        return lost(self.name, what, self.kept)

    def is_due(self, step: int) -> bool:
        if self.checkpoints is None or (self.runtime.ranks > 1 and step % LOOK_EVERY):
            return False
        return bool(self.runtime.broadcast_int(time.perf_counter() - self.saved >= self.every))

    def save(self, model: nn.Module) -> None:
        """Keeps the state, but for weights that a bad gradient has spoilt; the next loss will tell of them."""
        if not self.runtime.all(_finite(model)):
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["progress"]["earlier_seconds"] += time.perf_counter() - self.started
        self.checkpoints.save(self.progress.step, state, self.runtime, self.by_image)
        self.saved, self.kept = time.perf_counter(), True


def _keys_by_image(model: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> set[str]:
    """The places in a run's state of tensors with a row per image: codes, and what their optimizers know of them."""
    keys = {f"model/{name}" for name, weights in model.named_parameters() if by_image(weights)}
    for name, optimizer in optimizers.items():
        weights = [weights for group in optimizer.param_groups for weights in group["params"]]
        keys |= {f"{name}/state/{index}" for index, each in enumerate(weights) if by_image(each)}
    return keys


class _Log:
    """Means of the terms over each epoch. Checks them every few steps and stops a run if one is not finite.

    Attributes:
        told: the loss at the last check, as text for the progress bar.
    """

    def __init__(self, weights: Mapping[str, float], run: _Run, steps: int):
        self.weights, self.run, self.steps = weights, run, steps
        self.progress, self.runtime = run.progress, run.runtime
        self.pending: list[Tensor] = []
        self.told = ""

    def add(self, terms: dict[str, Tensor]) -> None:
        self.pending.append(torch.stack([terms[name] for name in self.weights]))
        if len(self.pending) == LOOK_EVERY:
            self.look()

    def look(self) -> None:
        if not self.pending:
            return
        values = self.runtime.all_reduce(torch.stack(self.pending).double().cpu())
        self.pending = []
        if not values.isfinite().all():
            step, term = (~values.isfinite()).nonzero()[0].tolist()
            step += self.progress.step - len(values) + 1
            raise self.run.lost(f"the {list(self.weights)[term]} loss is no longer finite at step {step}")
        sums = dict(zip(self.weights, values.sum(0).tolist(), strict=True))
        for name, value in sums.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        self.told = f", loss {self._weighted(sums) / len(values):.4g}"

    def end_epoch(self) -> None:
        """Adds a row to the log: the terms, and `loss`, their weighted sum, which is minimised."""
        self.look()
        means = {name: value / self.steps for name, value in self.progress.sums.items()}
        row = {"epoch": self.progress.step // self.steps, "images_seen": self.progress.images_seen}
        self.progress.rows.append({**row, "loss": self._weighted(means), **means})
        self.progress.sums = {}

    def _weighted(self, values: Mapping[str, float]) -> float:
        return sum(weight * values[name] for name, weight in self.weights.items())


def _groups(optimizers: Sequence[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def _numbered(parts: Sequence[Any]) -> dict[str, Any]:
    return {f"{type(part).__name__}-{index}": part for index, part in enumerate(parts)}
