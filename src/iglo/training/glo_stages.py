"""Learning generator and codes: the paper's steps as terms for the one loop (Helman et al. 2019, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from iglo.backbones.networks import IMAGENET_MEAN, IMAGENET_STD, vgg_blocks
from iglo.losses.distances import PIXEL_DISTANCES, Distance, Perceptual
from iglo.losses.terms import Continuity, Objective, Preservation, Reconstruction
from iglo.models.codes import Factor, LatentTable, normal_codes, pca_codes
from iglo.models.glo import Model, Shape, recalibrate_bn
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.fields import within
from iglo.params.sections import ClassContentParams, Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches, Schedule, Targets
from iglo.training.callbacks import EMA, SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import start_codes
from iglo.training.loop import MakeCallback, Progress, fit, require_finite
from iglo.training.optimizers import code_optimizer, network_optimizer
from iglo.training.sanity import warn_of_useless_images


def make_distance(params: Params | ClassContentParams, runtime: Runtime) -> Distance:
    """The distance that `params.loss` names."""
    loss = params.loss
    if loss.name == "perceptual":
        with within("loss."):
            blocks = vgg_blocks(loss.network, loss.weights, loss.blocks, params.seed)
        distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, runtime.dtype)
    else:
        distance = PIXEL_DISTANCES[loss.name]()
    return distance.to(runtime.device)


def start_model(images: np.ndarray, params: Params, runtime: Runtime) -> Model:
    """An untrained generator, and starting codes for all training images.

    Args:
        images: (N, H, W, C) uint8, the training images.
    """
    latent = params.latent
    shape = Shape(
        latent.dimension,
        params.data.image_size,
        params.data.channels,
        params.generator.width,
        latent.constraint,
        latent.radius,
    )
    generator = initialise(shape.generator(), torch_generator(params.seed, "generator"))
    rng = torch_generator(params.seed, "codes")
    if latent.init == "pca":
        codes = pca_codes(images, latent.dimension, shape.geometry(), rng)
    else:
        codes = normal_codes(len(images), latent.dimension, shape.geometry(), rng)
    table = LatentTable(image=Factor(codes, shape.geometry()))
    subset_id = np.zeros(len(images), np.int32)
    snapshots = Snapshots(torch.zeros(0, dtype=torch.int64))
    return Model(shape, runtime.to_device(generator), table.to(runtime.device), subset_id, snapshots)


def learn_subset(
    model: Model,
    images: np.ndarray,
    subset: np.ndarray,
    distance: Distance,
    round_index: int,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
) -> Progress:
    """GLO on the first subset; on a later one, learn it while the generator keeps the earlier ones.

    min α·Σ_{S_p} ‖G(z_x), x‖ + β·Σ_{S_i} ‖G(z_x), x‖ over G and the codes of S_i; the codes of S_p are frozen. With
    `staged.start: encoder` the codes of S_i start as an encoder reads them that has learned those of S_p.
    Plain GLO has no stages: the subset is put on record and nothing is learned.

    Args:
        subset: (M,) int64 ids, the images of this round.
        round_index: from 0.
    """
    if not len(model.snapshots.ids):
        model.snapshots = Snapshots.drawn(subset, len(images), params.seed)
    earlier = np.flatnonzero(model.subset_id)
    model.subset_id[subset] = round_index + 1
    epochs = params.rounds[round_index].epochs
    if params.method == "glo" or not epochs:
        return Progress()
    plan, name = _plan_of_round(subset, earlier, params), f"staged {round_index + 1}"
    if params.staged.start == "encoder" and len(earlier):
        part = checkpoints.part("start") if checkpoints else None
        start_codes(model, images, subset, earlier, f"{name} start", params, runtime, part, make_callback)
    return _learn(model, images, distance, plan, name, epochs, params, runtime, checkpoints, make_callback)


def learn_all(
    model: Model,
    images: np.ndarray,
    distance: Distance,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
    budget: int | None = None,
) -> Progress:
    """All codes and G: min α·Σ ‖G(z_x), x‖ + β·Σ ‖G(z_x + ε), x‖, ε ~ N(0, σ²I).

    σ falls from `sigma` to `sigma_end` over the stage. Plain GLO has no noise: min Σ ‖G(z_x), x‖, for as many
    images seen as all stages of the incremental method.

    Args:
        images seen: how many images to present, to the nearest epoch, instead of the epochs in `params`.
    """
    plan = _plan_of_all(np.arange(len(images)), params, params.method)
    epochs = params.full.epochs
    if params.method == "glo" and budget is None:
        budget = images_seen_in_all_stages(np.bincount(model.subset_id)[1:], params)
    if budget is not None:
        epochs = max(1, round(budget / plan.images_seen))
    return _learn(model, images, distance, plan, "full", epochs, params, runtime, checkpoints, make_callback)


@dataclass(frozen=True)
class Plan:
    """The terms of a stage and the images that fill the parts of its batches."""

    terms: list[tuple[float, Any]]
    parts: dict[str, Schedule]
    reshuffle: bool = True

    @property
    def images_seen(self) -> int:
        """Images that the generator sees in an epoch."""
        steps = max(schedule.steps for schedule in self.parts.values())
        return steps * sum(self.parts[term.part].filled for weight, term in self.terms if weight)


def _plan_of_round(subset: np.ndarray, earlier: np.ndarray, params: Params) -> Plan:
    section = params.staged
    parts = {"current": Schedule(subset, section.current_batch)}
    plan = Plan([(section.beta, Reconstruction())], parts, params.optimizer.reshuffle)
    if len(earlier):
        plan.terms.append((section.alpha, Preservation()))
        plan.parts["earlier"] = Schedule(earlier, section.earlier_batch)
    return plan


def _plan_of_all(ids: np.ndarray, params: Params, method: str) -> Plan:
    parts = {"current": Schedule(ids, params.full.batch_size)}
    if method == "glo":
        return Plan([(1.0, Reconstruction())], parts, params.optimizer.reshuffle)
    noisy = params.sigma and params.beta
    clean = params.alpha if noisy else params.alpha + params.beta
    terms = [(clean, Reconstruction()), (params.beta if noisy else 0.0, Continuity(params.sigma, params.sigma_end))]
    return Plan(terms, parts, params.optimizer.reshuffle)


def images_seen_in_all_stages(subset_sizes: Sequence[int], params: Params) -> int:
    """Images that the incremental method presents to the generator from the first subset to the end of `full`."""
    ends = np.cumsum(subset_sizes)
    ids = np.arange(ends[-1])
    total = params.full.epochs * _plan_of_all(ids, params, "incremental").images_seen
    for item, size, end in zip(params.rounds, subset_sizes, ends, strict=True):
        total += item.epochs * _plan_of_round(ids[end - size : end], ids[: end - size], params).images_seen
    return total


def _learn(model, images, distance, plan, name, epochs, params, runtime, checkpoints, make_callback) -> Progress:
    rates = params.optimizer
    optimizers = [
        network_optimizer(rates.name, model.generator, rates.generator_rate),
        code_optimizer(rates.name, list(model.table.factors.values()), rates.code_rate),
    ]
    return learn_plan(
        model, images, distance, plan, name, epochs, optimizers, params, runtime, checkpoints, make_callback
    )


def learn_plan(
    model: nn.Module,
    images: np.ndarray,
    distance: Distance,
    plan: Plan,
    name: str,
    epochs: int,
    optimizers: Sequence[torch.optim.Optimizer],
    params: Params | ClassContentParams,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
) -> Progress:
    """Trains the generator and the codes; then takes the generator's average and sets its batch-norm statistics.

    The returned rows have the terms and `loss`, their weighted sum.

    Args:
        model: has a `generator`, a `table`, all its `codes`, an `snapshots` and a `log`.
        name: name of the stage in the progress bar, the log and the snapshots.
    """
    used = np.unique(np.concatenate([schedule.ids for schedule in plan.parts.values()]))
    used = runtime.local_ids(used, len(images))
    ema = EMA(model.generator, params.generator.ema)
    averaged = ema.averaged  # also what previews and watchers look through
    snapshot_callback = SnapshotCallback(model.snapshots, averaged, name, runtime, len(images))
    targets = Targets(images, used, distance, runtime, params.loss.cache_gb)
    objective = Objective(plan.terms, distance, runtime)
    progress = fit(
        model,
        objective,
        Batches(targets, plan.parts, params.seed, name, plan.reshuffle),
        optimizers,
        epochs=epochs,
        runtime=runtime,
        schedule=params.optimizer.schedule,
        callbacks=[ema, snapshot_callback, *([make_callback(averaged, plan.images_seen)] if make_callback else [])],
        checkpoints=checkpoints,
    )
    recalibrate_bn(averaged, model.codes_of(used), runtime)
    model.generator.load_state_dict(averaged.state_dict())
    require_finite(model, name, runtime)
    codes_of, key = (lambda part: model.table(part.ids)), "optimizer.generator_rate"
    warn_of_useless_images(name, progress, model.generator, codes_of, targets, used, key)
    snapshot_callback.take(model, epochs)
    model.log += [{"stage": name, **row} for row in progress.rows]
    return progress
