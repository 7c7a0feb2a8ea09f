"""The code of an image that was not trained on: by an encoder, by optimisation from any start, or by both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from iglo.errors import UserError
from iglo.losses.distances import Distance
from iglo.models.codes import CodeTable
from iglo.models.geometry import Euclidean
from iglo.models.glo import GLOModel, encode
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import Targets
from iglo.training.loop import RATE_SCHEDULES
from iglo.training.optimizers import RowAdam

STEPS = {"encoder": 0, "hybrid": 48, "optimize": 500}  # of each method, where none are asked for
TRIAL = 0.1  # share of the steps after which only the best start of each image goes on
BETAS = (0.7, 0.99)  # of Adam: shorter memories than its defaults, for few steps
LOOK_EVERY = 10  # steps between looks for codes that have stopped improving


@dataclass(frozen=True)
class Inverted:
    """Codes of N images.

    Attributes:
        codes: (N, d) float32, the best of each image.
        loss: (N,) their distance to the images.
        steps: (N,) int64, after which each was found.
    """

    codes: Tensor
    loss: Tensor
    steps: Tensor


def invert(
    model: GLOModel,
    images: np.ndarray,
    distance: Distance,
    runtime: Runtime,
    *,
    method: str = "hybrid",
    steps: int | None = None,
    restarts: int = 4,
    seed: int = 0,
    rate: float = 0.3,
    tolerance: float = 1e-3,
    batch_size: int = 256,
) -> Inverted:
    """The code of each image by itself: G is fixed and in evaluation mode, so the others of a batch matter to rounding
    alone.

    Args:
        model: with a generator, a shape and, but for `optimize`, an encoder.
        images: (N, H, W, C) uint8, as the model draws them.
        method: `encoder`, E(x) alone; `optimize`, min over z of ‖G(z), x‖ by Adam from random codes; `hybrid`, the same
            from E(x).
        steps: of optimisation at most; None: as STEPS says. The rate falls to 0 over them with a cosine.
        restarts: random codes that `optimize` starts from; after a tenth of the steps the best of each image goes on.
        rate: of Adam, for codes of unit variance per coordinate.
        tolerance: a code whose loss has not fallen by this share within LOOK_EVERY steps is left as it is; 0: none is.

    Raises:
        UserError: an unknown method, no encoder, or steps or restarts below 1.
    """
    steps = _checked(model, method, steps, restarts)
    targets = Targets(images, np.arange(len(images)), distance, runtime)
    starts = _starts(model, images, method, restarts, seed, runtime)
    generator, geometry, found = model.generator.eval(), model.config.geometry(), []
    with bar(total=len(images), desc=method, unit="image") as shown:
        for ids in torch.arange(len(images)).split(batch_size):
            table = CodeTable(starts[ids].flatten(0, 1).to(runtime.device), geometry)
            search = _Search(generator, table, ids, targets, distance, runtime)
            search.run(steps, rate, tolerance)
            found.append(search.best())
            shown.update(len(ids))
    return Inverted(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _checked(model: GLOModel, method: str, steps: int | None, restarts: int) -> int:
    if method not in STEPS:
        raise UserError(f"method: must be one of {', '.join(STEPS)}, got {method!r}.")
    if method != "optimize" and model.encoder is None:
        raise UserError(f"method: {method!r} needs an encoder, which this model has not; use 'optimize'.")
    if method == "encoder":
        return 0
    if steps is not None and steps < 1:
        raise UserError(f"steps: must be at least 1, got {steps}; the encoder alone is method 'encoder'.")
    if restarts < 1:
        raise UserError(f"restarts: must be at least 1, got {restarts}.")
    return STEPS[method] if steps is None else steps


def _starts(model: GLOModel, images: np.ndarray, method: str, restarts: int, seed: int, runtime: Runtime) -> Tensor:
    """(N, R, d) codes, R for each image."""
    if method != "optimize":
        return encode(model.encoder, images, model.config, runtime).clone()[:, None]  # no longer an inference tensor
    geometry, dimension = model.config.geometry(), model.config.dimension
    drawn = geometry.sample(len(images) * restarts, dimension, torch_generator(seed, "inversion"))
    return drawn.view(len(images), restarts, dimension)


class _Search:
    """A search for the codes of B images from R starts each; it keeps the best code of each start.

    A row of `table` is a start; the b-th image has the rows b·R to (b + 1)·R − 1.

    Args:
        table: B·R starting codes, which the search changes.
        ids: (B,) int64, the rows of the images in `targets`.
    """

    def __init__(
        self,
        generator: nn.Module,
        table: CodeTable,
        ids: Tensor,
        targets: Targets,
        distance: Distance,
        runtime: Runtime,
    ):
        self.generator, self.table, self.ids, self.starts = generator, table, ids, len(table.weight) // len(ids)
        self.targets, self.distance, self.runtime = targets, distance, runtime
        rows, device = len(table.weight), table.weight.device
        self.codes = table.weight.detach().clone()
        self.loss = torch.full((rows,), math.inf, dtype=torch.float32, device=device)
        self.found = torch.zeros(rows, dtype=torch.int64, device=device)  # the step of the best

    def run(self, steps: int, rate: float, tolerance: float) -> None:
        """Optimises each code until it stops improving."""
        adam = RowAdam([self.table], scaled(rate, self.table.geometry, self.table.weight.shape[1]), BETAS)
        (group,) = adam.param_groups
        full_rate, trial = group["lr"], math.ceil(TRIAL * steps)
        rows = torch.arange(len(self.loss), device=self.loss.device)
        target, earlier = self._targets(rows), None
        for step in range(steps + 1):
            with self.runtime.autocast():
                images = self.generator(self.table(rows))
                loss = self.distance.compare(self.distance.represent(images), target)
            self._note(rows, loss.detach(), step)
            kept = rows
            if step == trial and self.starts > 1:
                kept = self._best_rows()
            elif step % LOOK_EVERY == 0 and tolerance and step:
                kept = rows[self.loss[rows] <= (1 - tolerance) * earlier[rows]]
            if step % LOOK_EVERY == 0:
                earlier = self.loss.clone()
            if step == steps or not len(kept):
                return
            (self.table.weight.grad,) = torch.autograd.grad(loss.sum(), self.table.weight)
            group["lr"] = full_rate * RATE_SCHEDULES["cosine"](step / steps)
            adam.step()
            if len(kept) < len(rows):
                rows, target = kept, self._targets(kept)

    def best(self) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, losses and steps of the best start of each image."""
        rows = self._best_rows()
        return tuple(values[rows].cpu() for values in (self.codes, self.loss, self.found))

    def _best_rows(self) -> Tensor:
        """(B,) the row of the best start of each image."""
        best = self.loss.view(-1, self.starts).argmin(1)
        return torch.arange(len(best), device=best.device) * self.starts + best

    def _targets(self, rows: Tensor):
        return self.targets.sub_batch(self.ids[(rows // self.starts).cpu()]).target

    def _note(self, rows: Tensor, loss: Tensor, step: int) -> None:
        better = loss < self.loss[rows]
        rows, loss = rows[better], loss[better]
        self.codes[rows], self.loss[rows], self.found[rows] = self.table.weight.detach()[rows], loss, step


def scaled(rate: float, geometry: Euclidean, dimension: int) -> float:
    """A rate for codes of unit variance per coordinate, made one for codes of this geometry."""
    return rate * geometry.radius / math.sqrt(dimension)


def optimise_codes(
    model: GLOModel,
    images: np.ndarray,
    start: Tensor,
    distance: Distance,
    steps: Sequence[int],
    runtime: Runtime,
    rate: float = 5e-2,
    batch_size: int = 256,
) -> list[Tensor]:
    """min over z of ‖G(z), x‖ for every image by itself, G fixed and in evaluation mode, by Adam.

    Every coordinate has its own moments and no image's gradient reaches another's code, so an image's result depends
    on its batch through rounding alone.

    Args:
        images: (N, H, W, C) uint8.
        start: (N, d) codes.
        steps: increasing; 0 is the start.
        rate: of Adam, for codes of unit variance per coordinate; it goes with the geometry's radius.

    Returns:
        For each of `steps`, the (N, d) codes after that many steps.
    """
    targets = Targets(images, np.arange(len(images)), distance, runtime)
    generator, pieces = model.generator.eval(), torch.arange(len(images)).split(batch_size)
    found = [
        _optimise(generator, targets.part(ids).target, start[ids], model, distance, steps, runtime, rate)
        for ids in bar(pieces, desc="optimising codes", unit="batch", hidden=not runtime.is_main)
    ]
    return [torch.cat(codes) for codes in zip(*found, strict=True)]


def _optimise(generator, target, start, model, distance, steps, runtime, rate) -> list[Tensor]:
    geometry = model.config.geometry()
    codes = start.to(runtime.device).clone().requires_grad_(True)
    adam = torch.optim.Adam([codes], scaled(rate, geometry, codes.shape[1]))
    found = []
    for step in range(steps[-1] + 1):
        if step in steps:
            found.append(codes.detach().cpu().clone())
        if step == steps[-1]:
            return found
        with runtime.autocast():
            loss = distance.compare(distance.represent(generator(codes)), target).sum()
        (codes.grad,) = torch.autograd.grad(loss, codes)
        adam.step()
        with torch.no_grad():
            codes.copy_(geometry.project(codes))
