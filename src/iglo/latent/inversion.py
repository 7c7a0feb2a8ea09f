"""Finds codes of given images: by the encoder, by optimisation with a fixed generator, or by both."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.losses.distances import Distance, Representation
from iglo.models.geometry import Euclidean
from iglo.models.glo import GLOModel, encode
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.runtime.eager import Adam
from iglo.training.batches import Targets
from iglo.training.loop import RATE_SCHEDULES

STEPS = {"encoder": 0, "hybrid": 48, "optimize": 500}  # default steps of each method
TRIAL = 0.1  # after this share of the steps, only the best start of each image goes on
LOOK_EVERY = 10  # steps between two checks whether a code still improves


@dataclass(frozen=True)
class Search:
    """How codes are optimised: min over z of ‖G(z), x‖ by Adam (Kingma & Ba 2015).

    Attributes:
        steps: largest number of steps; None: the default of the method, see STEPS.
        restarts: random starts of each image for the method `optimize`. After a tenth of the steps, the best one goes
            on.
        rate: learning rate for codes of unit variance per coordinate; it is scaled to the geometry's radius.
        betas: Adam's betas. The default is for few steps.
        schedule: how the rate falls over the steps; a name in RATE_SCHEDULES.
        tolerance: a code stops if its loss falls by less than this share in LOOK_EVERY steps; 0: no code stops.
        record: steps after which codes are recorded; requires one start for each image and tolerance 0.
        batch_size: images that are optimised together.
    """

    steps: int | None = None
    restarts: int = 4
    rate: float = 0.3
    betas: tuple[float, float] = (0.7, 0.99)
    schedule: str = "cosine"
    tolerance: float = 1e-3
    record: tuple[int, ...] = ()
    batch_size: int = 256


@dataclass(frozen=True)
class Inverted:
    """Codes of N images.

    Attributes:
        codes: (N, d) float32, the best code of each image.
        loss: (N,) the distance between each image and the image of its code.
        steps: (N,) int64, the number of steps after which each code was found.
        recorded: step → (N, d), the codes after that many steps, for every step in `Search.record`.
    """

    codes: Tensor
    loss: Tensor
    steps: Tensor
    recorded: Mapping[int, Tensor]


Watch = Callable[[int, Inverted], None]


def invert(
    model: GLOModel,
    images: np.ndarray,
    distance: Distance,
    runtime: Runtime,
    *,
    method: str = "hybrid",
    search: Search | None = None,
    seed: int = 0,
) -> Inverted:
    """Finds a code for each image.

    Args:
        model: needs a generator, a shape and, unless the method is `optimize`, an encoder.
        images: (N, H, W, C) uint8, of the model's size and channels.
        method: `encoder` takes E(x); `optimize` optimises random codes; `hybrid` optimises E(x).
        search: how codes are optimised; None: the defaults.
        seed: seed of the random codes.

    Raises:
        UserError: unknown method, no encoder, or steps or restarts below 1.
    """
    search = _checked(model, method, search or Search())
    starts = _starts(model, images, method, search.restarts, seed, runtime)
    return optimise_codes(model, images, starts, distance, runtime, search)


def optimise_codes(
    model: GLOModel,
    images: np.ndarray,
    starts: Tensor,
    distance: Distance,
    runtime: Runtime,
    search: Search,
    watch: Watch | None = None,
) -> Inverted:
    """Optimises the codes of each image from the given starts. The generator is fixed and in evaluation mode.

    Images do not influence each other: which images share a batch changes results by rounding only.

    Args:
        images: (N, H, W, C) uint8.
        starts: (N, R, d) codes, R for each image; they are used as they are, without projection.
        search: `steps` must be a number; `restarts` is not used.
        watch: is called every LOOK_EVERY steps with the step and the best codes of the batch so far. An error that it
            raises ends the search.
    """
    targets = Targets(images, np.arange(len(images)), distance, runtime)
    model.generator.eval()
    found = []
    watch = watch or (lambda step, best: None)
    with bar(total=len(images), desc="optimising codes", unit="image", hidden=not runtime.is_main) as shown:
        for ids in torch.arange(len(images)).split(search.batch_size):
            batch = _Batch(model, starts[ids], ids, targets, distance, runtime)
            batch.run(search, watch)
            found.append(batch.best())
            shown.update(len(ids))
    codes, loss, steps = (torch.cat([getattr(each, name) for each in found]) for name in ("codes", "loss", "steps"))
    recorded = {step: torch.cat([each.recorded[step] for each in found]) for step in search.record}
    return Inverted(codes, loss, steps, recorded)


def _checked(model: GLOModel, method: str, search: Search) -> Search:
    """Returns the search with a number of steps; UserError if an argument is wrong."""
    if method not in STEPS:
        raise UserError(f"method: must be one of {', '.join(STEPS)}, got {method!r}.")
    if method != "optimize" and model.encoder is None:
        raise UserError(f"method: {method!r} needs an encoder, and this model has none; use 'optimize'.")
    if method == "encoder":
        return replace(search, steps=0)
    if search.steps is not None and search.steps < 1:
        raise UserError(f"steps: must be at least 1, got {search.steps}; for the encoder alone use method 'encoder'.")
    if search.restarts < 1:
        raise UserError(f"restarts: must be at least 1, got {search.restarts}.")
    return search if search.steps is not None else replace(search, steps=STEPS[method])


def _starts(model: GLOModel, images: np.ndarray, method: str, restarts: int, seed: int, runtime: Runtime) -> Tensor:
    """Returns the codes to start from, (N, R, d): R for each image."""
    if method != "optimize":
        return encode(model.encoder, images, model.config, runtime)[:, None]
    geometry, dimension = model.config.geometry(), model.config.dimension
    drawn = geometry.sample(len(images) * restarts, dimension, torch_generator(seed, "inversion"))
    return drawn.view(len(images), restarts, dimension)


class _Batch:
    """The search for the codes of B images from R starts each. It keeps the best code of each start.

    Each of the B·R rows is a start: the image b has the rows b·R to (b + 1)·R − 1.

    Args:
        starts: (B, R, d).
        ids: (B,) int64, the rows of the images in `targets`.
    """

    def __init__(
        self, model: GLOModel, starts: Tensor, ids: Tensor, targets: Targets, distance: Distance, runtime: Runtime
    ):
        self.generator, self.geometry = model.generator, model.config.geometry()
        self.ids, self.targets, self.distance, self.runtime = ids, targets, distance, runtime
        self.starts = starts.shape[1]  # R
        self.codes = starts.flatten(0, 1).to(runtime.device).clone().requires_grad_(True)
        self.best_codes = self.codes.detach().clone()
        self.best_loss = self.codes.new_full((len(self.codes),), math.inf, requires_grad=False)
        self.best_step = torch.zeros(len(self.codes), dtype=torch.int64, device=runtime.device)
        self.recorded: dict[int, Tensor] = {}

    def run(self, search: Search, watch: Watch) -> None:
        """Takes the steps. Rows that stopped get no gradient; Adam may still move them, but they are not read again."""
        rate = scaled(search.rate, self.geometry, self.codes.shape[1])
        adam = Adam([self.codes], rate, search.betas)
        steps, factor = search.steps, RATE_SCHEDULES[search.schedule]
        trial = math.ceil(TRIAL * steps)
        rows = torch.arange(len(self.codes), device=self.codes.device)
        target, earlier = self._target(rows), None
        for step in range(steps + 1):
            if step in search.record:
                self.recorded[step] = self.codes.detach().cpu().clone()
            with self.runtime.autocast():
                loss = self.distance.compare(self.distance.represent(self.generator(self.codes[rows])), target)
            self._keep_better(rows, loss.detach(), step)
            kept = rows
            if step == trial and self.starts > 1:
                kept = self._best_rows()
            elif step % LOOK_EVERY == 0 and search.tolerance and step:
                kept = rows[self.best_loss[rows] <= (1 - search.tolerance) * earlier[rows]]
            if step % LOOK_EVERY == 0:
                earlier = self.best_loss.clone()
                watch(step, self.best())
            if step == steps or not len(kept):
                return
            (self.codes.grad,) = torch.autograd.grad(loss.sum(), self.codes)
            adam.param_groups[0]["lr"] = rate * factor(step / steps)
            adam.step()
            with torch.no_grad():
                self.codes.copy_(self.geometry.project(self.codes))
            if len(kept) < len(rows):
                rows, target = kept, self._target(kept)

    def best(self) -> Inverted:
        """Returns the best code of each image."""
        rows = self._best_rows()
        codes, loss, steps = (each[rows].cpu() for each in (self.best_codes, self.best_loss, self.best_step))
        return Inverted(codes, loss, steps, self.recorded)

    def _best_rows(self) -> Tensor:
        """Returns the row of the best start of each image, (B,)."""
        best = self.best_loss.view(-1, self.starts).argmin(1)
        return torch.arange(len(best), device=best.device) * self.starts + best

    def _target(self, rows: Tensor) -> Representation:
        return self.targets.sub_batch(self.ids[(rows // self.starts).cpu()]).target

    def _keep_better(self, rows: Tensor, loss: Tensor, step: int) -> None:
        better = loss < self.best_loss[rows]
        rows, loss = rows[better], loss[better]
        self.best_codes[rows], self.best_loss[rows], self.best_step[rows] = self.codes.detach()[rows], loss, step


def scaled(rate: float, geometry: Euclidean, dimension: int) -> float:
    """Scales a rate for codes of unit variance per coordinate to codes of this geometry."""
    return rate * geometry.radius / math.sqrt(dimension)
