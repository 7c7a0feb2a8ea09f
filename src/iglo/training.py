"""The one loop. It knows nothing of GLO: take a batch, objective(model, batch, rng), backward, step, log."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from iglo.batches import Batches
from iglo.checkpoints import CheckpointFolder
from iglo.errors import UserError
from iglo.objectives import Objective
from iglo.randomness import torch_generator
from iglo.runtime import Runtime

RATE_SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the run that is done → factor of the rates
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
LOOK_EVERY = 16  # steps between looks at the losses; each look waits for the device


class Observer(Protocol):
    """Watches a run and is checkpointed with it: an average, previews, the best epoch."""

    def after_step(self, model: nn.Module) -> None: ...

    def after_epoch(self, model: nn.Module, epoch: int) -> None: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


Watch = Callable[[nn.Module, int], Observer]  # of the generator to look through and the images presented in an epoch


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        presented: images that went through the network, forward and backward.
        earlier_seconds: spent in this run by processes before this one.
        rows: the log, one row per epoch, without times: the same bits in every run.
    """

    step: int = 0
    presented: int = 0
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
    observers: Sequence[Observer] = (),
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """Minimises the objective; resumes from the newest checkpoint and ends with the same bits as an unbroken run.

    Args:
        optimizers: each steps after every batch; their rates follow `schedule` over the whole run.
        checkpoints: keeps the state every IGLO_CHECKPOINT_SECONDS (default 60).

    Raises:
        UserError: a loss is no longer finite.
    """
    progress = Progress()
    rates = [group["lr"] for group in _groups(optimizers)]  # a resume brings back what the schedule had made of them
    run = _Run(checkpoints, {"model": model, "progress": progress, **_numbered(optimizers), **_numbered(observers)})
    run.resume()
    log = _Log(objective.names, progress, batches)
    total = epochs * batches.steps
    model.train()
    with tqdm(total=total, initial=progress.step, desc=batches.name, unit="step", disable=None) as bar:
        for batch in batches.between(progress.step, total):
            for group, rate in zip(_groups(optimizers), rates, strict=True):
                group["lr"] = rate * RATE_SCHEDULES[schedule](progress.step / total)
            rng = torch_generator(batches.seed, f"{batches.name}/noise", progress.step)
            with runtime.autocast():
                loss, terms, presented = objective(model, batch, rng, progress.step / total)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for observer in observers:
                observer.after_step(model)
            progress.step += 1
            progress.presented += presented
            log.add(terms)
            if progress.step % batches.steps == 0:
                log.end_epoch()
                for observer in observers:
                    observer.after_epoch(model, progress.step // batches.steps)
            if run.is_due():
                log.look()
                run.save(model, progress)
            bar.update()
    if checkpoints is not None and checkpoints.keeps_end:
        run.save(model, progress)
    return progress


class _Run:
    """The checkpointed parts of a run, and its clock."""

    def __init__(self, checkpoints: CheckpointFolder | None, parts: dict[str, Any]):
        self.checkpoints, self.parts = checkpoints, parts
        self.every = float(os.environ.get("IGLO_CHECKPOINT_SECONDS", 60))
        self.started = self.saved = time.perf_counter()

    def resume(self) -> None:
        if self.checkpoints is not None and (state := self.checkpoints.load()):
            for name, part in self.parts.items():
                part.load_state_dict(state[name])

    def is_due(self) -> bool:
        return self.checkpoints is not None and time.perf_counter() - self.saved >= self.every

    def save(self, model: nn.Module, progress: Progress) -> None:
        """Keeps the state, but for weights that a bad gradient has spoilt; the next loss will tell of them."""
        if not all(weights.isfinite().all() for weights in model.parameters()):
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["progress"]["earlier_seconds"] += time.perf_counter() - self.started
        self.checkpoints.save(progress.step, state)
        self.saved = time.perf_counter()


class _Log:
    """Means of the terms over each epoch; looks at them every few steps and stops a run that has lost its way."""

    def __init__(self, names: list[str], progress: Progress, batches: Batches):
        self.names, self.progress, self.batches = names, progress, batches
        self.pending: list[Tensor] = []

    def add(self, terms: dict[str, Tensor]) -> None:
        self.pending.append(torch.stack([terms[name] for name in self.names]))
        if len(self.pending) == LOOK_EVERY:
            self.look()

    def look(self) -> None:
        if not self.pending:
            return
        values = torch.stack(self.pending).double().cpu()
        self.pending = []
        if not values.isfinite().all():
            step, term = (~values.isfinite()).nonzero()[0].tolist()
            raise UserError(
                f"{self.batches.name}: the {self.names[term]} loss is no longer finite at step "
                f"{self.progress.step - len(values) + step + 1}; try a lower learning rate or precision: fp32. "
                "The last good checkpoint is kept."
            )
        for name, value in zip(self.names, values.sum(0).tolist(), strict=True):
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value

    def end_epoch(self) -> None:
        self.look()
        steps = self.batches.steps
        means = {name: self.progress.sums[name] / steps for name in self.names}
        epoch = self.progress.step // steps
        self.progress.rows.append({"epoch": epoch, "presented": self.progress.presented, **means})
        self.progress.sums = {}


def _groups(optimizers: Sequence[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def _numbered(parts: Sequence[Any]) -> dict[str, Any]:
    return {f"{type(part).__name__}-{index}": part for index, part in enumerate(parts)}
