"""The paper's steps as lists of terms for the one loop (Helman et al. 2019, sections 3 and 4)."""

import numpy as np
import torch

from iglo.album import Album
from iglo.backbones import IMAGENET_MEAN, IMAGENET_STD, vgg_blocks
from iglo.batches import Batches, Schedule, Targets
from iglo.checkpoints import CheckpointFolder
from iglo.errors import UserError
from iglo.latents import Factor, LatentTable, RowAdam, normal_codes, pca_codes
from iglo.losses import PIXEL_DISTANCES, Distance, Perceptual
from iglo.model import Model, Shape, settle_batch_norm
from iglo.networks import initialise
from iglo.objectives import CodeRegression, Continuity, Objective, Preservation, Reconstruction
from iglo.observers import Average, Best, Previews
from iglo.params import EncoderParams, Params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime import Runtime
from iglo.training import Progress, fit

PREVIEWED = 12  # images, a third of them of the first subset


def make_distance(params: Params, runtime: Runtime) -> Distance:
    """The distance that `params.loss` names."""
    loss = params.loss
    if loss.name == "perceptual":
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
    learned_in = np.zeros(len(images), np.int32)
    return Model(shape, runtime.place(generator), table.to(runtime.device), learned_in, Album(torch.zeros(0).long()))


def learn_subset(
    model: Model,
    images: np.ndarray,
    subset: np.ndarray,
    distance: Distance,
    round_index: int,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """GLO on the first subset; on a later one, learn it while the generator keeps the earlier ones.

    min α·Σ_{S_p} ‖G(z_x), x‖ + β·Σ_{S_i} ‖G(z_x), x‖ over G and the codes of S_i; the codes of S_p are frozen.

    Args:
        subset: (M,) int64 ids, the images of this round.
        round_index: from 0.
    """
    earlier = np.flatnonzero(model.learned_in)
    terms = [(params.staged.beta, Reconstruction())]
    parts = {"current": Schedule(subset, params.staged.current_batch)}
    if len(earlier):
        terms.append((params.staged.alpha, Preservation()))
        parts["earlier"] = Schedule(earlier, params.staged.earlier_batch)
    if not len(model.album.ids):
        model.album = _empty_album(subset, len(images), params.seed)
    name, epochs = f"staged {round_index + 1}", params.rounds[round_index].epochs
    progress = _learn(model, images, distance, terms, parts, name, epochs, params, runtime, checkpoints)
    model.learned_in[subset] = round_index + 1
    return progress


def learn_all(
    model: Model,
    images: np.ndarray,
    distance: Distance,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """All codes and G: min α·Σ ‖G(z_x), x‖ + β·Σ ‖G(z_x + ε), x‖, ε ~ N(0, σ²I)."""
    beta = params.beta if params.sigma else 0.0
    terms = [(params.alpha if beta else params.alpha + params.beta, Reconstruction())]
    terms.append((beta, Continuity(params.sigma)))
    parts = {"current": Schedule(np.arange(len(images)), params.full.batch_size)}
    return _learn(model, images, distance, terms, parts, "full", params.full.epochs, params, runtime, checkpoints)


def _learn(model, images, distance, terms, parts, name, epochs, params, runtime, checkpoints) -> Progress:
    """The generator and the codes of the batch's rows under `terms`; then the average, and its batch norm settled."""
    used = np.unique(np.concatenate([schedule.ids for schedule in parts.values()]))
    average = Average(model.generator, params.generator.ema)
    previews = Previews(model.album, average.averaged.module, name, runtime)
    rates = params.optimizer
    progress = fit(
        model,
        Objective(terms, distance),
        Batches(Targets(images, used, distance, runtime, params.loss.cache_gb), parts, params.seed, name),
        [
            torch.optim.Adam(model.generator.parameters(), rates.generator_rate, betas=(0.5, 0.999), fused=True),
            RowAdam(list(model.table.factors.values()), rates.code_rate),
        ],
        epochs=epochs,
        runtime=runtime,
        schedule=rates.schedule,
        observers=[average, previews],
        checkpoints=checkpoints,
    )
    averaged = average.averaged.module  # also what the last preview shows
    settle_batch_norm(averaged, model.codes[torch.from_numpy(used)])
    model.generator.load_state_dict(averaged.state_dict())
    previews.take(model, epochs)
    model.log += [{"stage": name, **row} for row in progress.rows]
    return progress


def _empty_album(first_subset: np.ndarray, count: int, seed: int) -> Album:
    """An album of images drawn by seed, a third of them from the first subset."""
    rng = numpy_generator(seed, "album")
    first = rng.permutation(first_subset)[: PREVIEWED // 3]
    others = np.setdiff1d(rng.permutation(count), first, assume_unique=True)
    return Album(torch.from_numpy(np.concatenate([first, others[: PREVIEWED - len(first)]])))


def learn_encoder(
    model: Model,
    images: np.ndarray,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> Progress:
    """min over E of Σ λ1·‖E(x) − z_x‖₁ + λ2·‖E(x) − z_x‖₂², G and codes fixed; the best epoch on held-out images.

    Afterwards `model.encoder` is set; the log has the held-out value of every epoch.
    """
    section: EncoderParams = params.encoder
    encoder = initialise(model.shape.encoder(section.width), torch_generator(params.seed, "encoder"))
    model.encoder = runtime.place(encoder)
    order = torch.randperm(len(images), generator=torch_generator(params.seed, "encoder/held out")).numpy()
    held, kept = np.split(order, [max(1, round(section.held_out * len(images)))])
    if not len(kept):
        raise UserError(
            f"encoder.held_out: must leave at least one of the {len(images)} training images, got {section.held_out}."
        )
    targets = Targets(images, order, None, runtime)
    term = CodeRegression(section.l1, section.l2)
    best = Best(model.encoder, lambda: _mean_value(term, model, targets, held, runtime))
    progress = fit(
        model,
        Objective([(1.0, term)]),
        Batches(targets, {"current": Schedule(kept, section.batch_size)}, params.seed, "encoder"),
        [torch.optim.Adam(model.encoder.parameters(), section.rate, betas=(0.5, 0.999), fused=True)],
        epochs=section.epochs,
        runtime=runtime,
        schedule=section.schedule,
        observers=[best],
        checkpoints=checkpoints,
    )
    for row, score in zip(progress.rows, best.scores, strict=True):
        row["held_out"] = score
    best.restore()
    model.log += [{"stage": "encoder", **row} for row in progress.rows]
    return progress


@torch.no_grad()
def _mean_value(term, model: Model, targets: Targets, ids: np.ndarray, runtime: Runtime) -> float:
    """A direct term's mean over the images `ids`."""
    values = [term(model, {"current": targets.part(piece)}, None) for piece in torch.from_numpy(ids).split(256)]
    return torch.cat(values).mean().item()
