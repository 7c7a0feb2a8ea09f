"""Learning the way from an image to its code: from the codes, together with the generator, or instead of the codes."""

import math
from functools import partial

import numpy as np
import torch
from torch import nn

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.distances import Distance
from iglo.losses.terms import (
    Autoencoding,
    CodeDistance,
    CodePenalty,
    CodeRegression,
    Objective,
    Part,
    Preservation,
    RenderedPairs,
)
from iglo.models.glo import Model, encode, recalibrate_bn
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.sections import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches, Schedule, Targets
from iglo.training.callbacks import Best
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import MakeCallback, Progress, fit, lost, require_finite
from iglo.training.optimizers import network_optimizer
from iglo.training.sanity import warn_if_useless, warn_of_useless_images

START_RATE = 1e-3  # of Adam, falling with a cosine


def learn_encoder(
    model: Model,
    images: np.ndarray,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """min over E of Σ λ1·‖E(x) − z_x‖₁ + λ2·‖E(x) − z_x‖₂², G and codes fixed; the best epoch on held-out images.

    The same distance is asked of rendered pairs (G(z'), z'). Afterwards `model.encoder` is set; the log has the
    held-out value of every epoch.
    """
    section = params.encoder
    encoder = initialise(model.shape.encoder(section.width), torch_generator(params.seed, "encoder"))
    model.encoder = runtime.to_device(encoder)
    held, kept = _held_out(len(images), params)
    targets = Targets(images, _own(images, runtime), None, runtime)
    code_distance = CodeDistance(section.l1, section.l2)
    term = CodeRegression(code_distance)
    best = Best(model.encoder, lambda: _mean_loss(Objective([(1.0, term)]), model, targets, held))
    progress = fit(
        model,
        Objective([(1.0, term), (section.pairs, RenderedPairs(code_distance, section.pairs_sigma))]),
        Batches(targets, {"current": Schedule(kept, section.batch_size)}, params.seed, "encoder"),
        [network_optimizer("adam", model.encoder, section.rate)],
        epochs=section.epochs,
        runtime=runtime,
        schedule=section.schedule,
        callbacks=[best],
        checkpoints=checkpoints,
    )
    _keep_best(model, progress, best, "encoder", runtime)
    codes = model.codes_of(runtime.local_ids(held, len(images)))
    of_mean = _distance_to_the_mean(codes, len(held), code_distance, runtime)
    if runtime.is_main:
        warn_if_useless("encoder", progress, min(best.scores), of_mean, "codes", "encoder.rate")
    return progress


def start_codes(
    model: Model,
    images: np.ndarray,
    subset: np.ndarray,
    learned: np.ndarray,
    name: str,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
) -> None:
    """Starts the codes of a subset at E(x), where E learns the codes of the images that are learned already.

    min over E of Σ ‖E(x) − z_x‖₁ + ‖E(x) − z_x‖₂². E is as wide as the generator and is not kept.

    Args:
        subset, learned: (M,), (L,) int64 training ids.
        name: of the run, in the progress bar.
    """
    section = params.staged
    encoder = initialise(model.shape.encoder(params.generator.width), torch_generator(params.seed, name))
    model.encoder = runtime.to_device(encoder)
    targets = Targets(images, runtime.local_ids(learned, len(images)), None, runtime)
    fit(
        model,
        Objective([(1.0, CodeRegression(CodeDistance(1.0, 1.0)))]),
        Batches(targets, {"current": Schedule(learned, params.full.batch_size)}, params.seed, name),
        [network_optimizer("adam", model.encoder, START_RATE)],
        epochs=section.start_epochs,
        runtime=runtime,
        schedule="cosine",
        callbacks=[make_callback(model.generator, 0)] if make_callback else [],
        checkpoints=checkpoints,
    )
    own = runtime.local_ids(subset, len(images))
    if len(own):
        codes = encode(model.encoder, images[own], model.shape, runtime.single_process)
        rows = model.table.factors["image"].rows(torch.from_numpy(own))
        model.codes.data[rows] = codes.to(runtime.device)
    model.encoder = None


def learn_jointly(
    model: Model,
    images: np.ndarray,
    distance: Distance,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """E, which starts at the codes, and G together (Gabbay & Hoshen 2019, section 3.3; the codes stay fixed).

    min over G and E of Σ ‖G(E(x)), x‖ + keep·Σ ‖G(z_x + ε), x‖ + w·Σ ‖E(x), z_x‖ + w·pairs·Σ ‖E(G(z')), z'‖; the epoch
    that reconstructs held-out images best. The x of the first term are varied copies (mirrored, shifted, brightened):
    without them E and G fit the training images and nothing else. The start is no candidate, for its G has learned the
    held-out images. With mode `codes` nothing is learned.
    """
    section, codes = params.joint, params.encoder
    if codes.mode == "codes" or not section.epochs:
        return Progress()
    held, kept = _held_out(len(images), params)
    targets = Targets(images, _own(images, runtime), distance, runtime, params.loss.cache_gb)
    both = nn.ModuleList([model.generator, model.encoder])
    code_distance = CodeDistance(codes.l1, codes.l2)
    terms = [
        (1.0, Autoencoding(part="varied")),
        (section.keep_weight, Preservation(params.last_sigma, part="current")),
        (section.code_weight, CodeRegression(code_distance)),
        (section.code_weight * codes.pairs, RenderedPairs(code_distance, codes.pairs_sigma)),
    ]
    objective = Objective(terms, distance, runtime)
    augment = Augment(section.flip, section.shift, section.gain)
    parts = {
        "current": Schedule(kept, codes.batch_size),
        "varied": Schedule(kept, codes.batch_size, augment),
    }
    held_out = Objective([(1.0, Autoencoding())], distance)
    best = Best(both, lambda: _mean_loss(held_out, model, targets, held))
    progress = fit(
        model,
        objective,
        Batches(targets, parts, params.seed, "joint"),
        [network_optimizer("adam", both, section.rate)],
        epochs=section.epochs,
        runtime=runtime,
        schedule=section.schedule,
        callbacks=[best],
        checkpoints=checkpoints,
    )
    _keep_best(model, progress, best, "joint", runtime)
    own = runtime.local_ids(held, len(images))
    warn_of_useless_images("joint", progress, model.generator, partial(_read, model), targets, own, "joint.rate")
    return progress


def learn_autoencoder(
    model: Model,
    images: np.ndarray,
    distance: Distance,
    params: Params,
    runtime: Runtime,
    budget: int,
    penalty: float,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
) -> Progress:
    """min over G and E of Σ ‖G(E(x)), x‖ + penalty·‖E(x)‖²: the regularised autoencoder (Ghosh et al. 2020).

    What GLO is compared with: the same generator, its codes made by an encoder instead of being free. Afterwards the
    codes of the table are E(x).
    """
    encoder = initialise(model.shape.encoder(params.encoder.width), torch_generator(params.seed, "encoder"))
    model.encoder = runtime.to_device(encoder)
    ids = np.arange(len(images))
    model.snapshots = Snapshots.drawn(ids, len(images), params.seed)
    targets = Targets(images, ids, distance, runtime, params.loss.cache_gb)
    schedule = Schedule(ids, params.full.batch_size)
    images_seen = schedule.steps * schedule.filled  # in an epoch
    progress = fit(
        model,
        Objective([(1.0, Autoencoding()), (penalty, CodePenalty())], distance, runtime),
        Batches(targets, {"current": schedule}, params.seed, "autoencoder"),
        [network_optimizer("adam", nn.ModuleList([model.generator, model.encoder]), params.optimizer.generator_rate)],
        epochs=max(1, round(budget / images_seen)),
        runtime=runtime,
        schedule=params.optimizer.schedule,
        callbacks=[make_callback(model.generator, images_seen)] if make_callback else [],
        checkpoints=checkpoints,
    )
    model.table.factors["image"].codes.data.copy_(encode(model.encoder, images, model.shape, runtime))
    recalibrate_bn(model.generator, model.codes)
    require_finite(model, "autoencoder", runtime)
    key = "optimizer.generator_rate"
    warn_of_useless_images("autoencoder", progress, model.generator, partial(_read, model), targets, ids, key)
    model.log += [{"stage": "autoencoder", **row} for row in progress.rows]
    return progress


def _own(images: np.ndarray, runtime: Runtime) -> np.ndarray:
    """Ids of this rank's images."""
    return runtime.local_ids(np.arange(len(images)), len(images))


def _held_out(count: int, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Ids of training images that choose the epoch, and of those that the encoder learns from."""
    share = params.encoder.held_out
    order = torch.randperm(count, generator=torch_generator(params.seed, "encoder/held out")).numpy()
    held, kept = np.split(order, [max(1, round(share * count))])
    if not len(kept):
        raise UserError(f"encoder.held_out: must leave at least one of the {count} training images, got {share}.")
    return held, kept


def _keep_best(model: Model, progress: Progress, best: Best, name: str, runtime: Runtime) -> None:
    """Restores the best epoch and adds all epochs to the log."""
    for row, score in zip(progress.rows, best.scores, strict=True):
        if not math.isfinite(score):
            raise lost(name, f"the loss on held-out images is no longer finite in epoch {row['epoch']}")
        row["held_out"] = score
    best.restore()
    require_finite(model, name, runtime)
    model.log += [{"stage": name, **row} for row in progress.rows]


def _read(model: Model, part: Part) -> torch.Tensor:
    """(B, d) the codes that the encoder, in evaluation mode, finds for the images of a part."""
    return model.table.project(part.encoded(model.encoder.eval()))


def _distance_to_the_mean(codes: torch.Tensor, count: int, distance: CodeDistance, runtime: Runtime) -> float:
    """Mean distance of `count` codes to their mean; each rank has its own codes (B, d)."""
    mean = runtime.all_reduce(codes.sum(0)) / count
    of_own = distance(codes, mean.expand_as(codes)).sum() if len(codes) else codes.new_zeros(())
    return float(runtime.all_reduce(of_own)) / count


@torch.no_grad()
def _mean_loss(objective: Objective, model: Model, targets: Targets, ids: np.ndarray) -> float:
    """The objective's mean over the images `ids`, of which each rank takes its own."""
    pieces = torch.from_numpy(targets.runtime.local_ids(ids, len(targets.images))).split(256)
    losses = [
        objective(model, {"current": targets.part(piece)}, None)[0].item() * len(piece)
        for piece in pieces
        if len(piece)
    ]
    return float(targets.runtime.all_reduce(torch.tensor(sum(losses), dtype=torch.float64))) / len(ids)
