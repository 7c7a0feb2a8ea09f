"""The stages that learn the generator and the codes: GLO on each subset, then on all images (Helman et al. 2019)."""

from collections.abc import Sequence

import numpy as np
import torch

from iglo.losses.terms import CodeDistance, CodeRegression, Continuity, Preservation, Reconstruction
from iglo.models.codes import Codes, CodeTable, normal_codes, pca_codes
from iglo.models.config import GLOConfig
from iglo.models.glo import GLOModel, encode
from iglo.models.history import History
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import code_optimizer, network_optimizer
from iglo.training.trainer import StageSpec, Trainer, images_per_epoch

START_RATE = 1e-3  # learning rate of the encoder in `start_codes`; it falls with a cosine

Terms = list[tuple[float, Reconstruction | Preservation | Continuity]]


def start_model(images: np.ndarray, params: Params, runtime: Runtime) -> tuple[GLOModel, History]:
    """Makes an untrained generator with starting codes for all training images, and an empty history.

    Args:
        images: (N, H, W, C) uint8, the training images.
    """
    latent = params.latent
    config = GLOConfig(
        latent.dimension,
        params.data.image_size,
        params.data.channels,
        params.generator.width,
        latent.constraint,
        latent.radius,
        params.generator.network,
    )
    generator = initialise(config.generator(), torch_generator(params.seed, "generator"))
    rng = torch_generator(params.seed, "codes")
    if latent.init == "pca":
        starts = pca_codes(images, latent.dimension, config.geometry(), rng)
    else:
        starts = normal_codes(len(images), latent.dimension, config.geometry(), rng)
    codes = Codes(image=CodeTable(starts, config.geometry()))
    model = GLOModel(config, runtime.to_device(generator), codes.to(runtime.device))
    return model, History(Snapshots(torch.zeros(0, dtype=torch.int64)), np.zeros(len(images), np.int32))


def learn_subset(trainer: Trainer, subset: np.ndarray, round_index: int) -> RunState:
    """Learns the images of one subset while the generator keeps those of the earlier subsets.

    min β·Σ_{S_i} ‖G(z_x), x‖ + α·Σ_{S_p} ‖G(z_x), x‖ over G and the codes of S_i; the codes of the earlier subsets S_p
    are frozen. With `staged.start: encoder`, an encoder that was trained on S_p computes the starting codes of S_i. In
    plain GLO, the stage records the subset and learns nothing.

    Args:
        subset: (M,) int64 ids, the images of this round.
        round_index: number of the round, from 0.
    """
    params, history = trainer.params, trainer.history
    if not len(history.snapshots.ids):
        history.snapshots = Snapshots.of_random_images(subset, len(trainer.images), params.seed)
    earlier = np.flatnonzero(history.subset_id)
    history.subset_id[subset] = round_index + 1
    epochs = params.rounds[round_index].epochs
    if params.method == "glo" or not epochs:
        return RunState()
    name = f"staged {round_index + 1}"
    if params.staged.start == "encoder" and len(earlier):
        start_codes(trainer.inside("start"), subset, earlier, f"{name} start")
    terms, sources = _subset_objective(subset, earlier, params)
    return trainer.run(_glo_stage(trainer, name, terms, sources, epochs))


def learn_all(trainer: Trainer, budget: int | None = None) -> RunState:
    """Learns all images: min α·Σ ‖G(z_x), x‖ + β·Σ ‖G(z_x + ε), x‖ over G and all codes, ε ~ N(0, σ²I).

    σ changes from `sigma` to `sigma_end` over the stage. Plain GLO has no noise: min Σ ‖G(z_x), x‖. Its generator sees
    as many images as that of the incremental method sees in all its stages.

    Args:
        budget: number of images that the generator sees, rounded to whole epochs. None: `full.epochs` of `params`.
    """
    params = trainer.params
    terms, sources = _full_objective(np.arange(len(trainer.images)), params, params.method)
    epochs = params.full.epochs
    if params.method == "glo" and budget is None:
        budget = images_seen_in_all_stages(np.bincount(trainer.history.subset_id)[1:], params)
    if budget is not None:
        epochs = max(1, round(budget / images_per_epoch(terms, sources)))
    return trainer.run(_glo_stage(trainer, "full", terms, sources, epochs))


def start_codes(trainer: Trainer, subset: np.ndarray, learned: np.ndarray, name: str) -> None:
    """Sets the codes of a subset to E(x). E is trained on the images that are learned already, and is not kept.

    min over E of Σ ‖E(x) − z_x‖₁ + ‖E(x) − z_x‖₂². E is as wide as the generator.

    Args:
        subset, learned: (M,), (L,) int64 ids of the new images and of those that are learned already.
        name: name of the training of E.
    """
    model, params, runtime = trainer.model, trainer.params, trainer.runtime
    encoder = initialise(model.config.encoder(params.generator.width), torch_generator(params.seed, name))
    model.encoder = runtime.to_device(encoder)
    stage = StageSpec(
        name,
        [(1.0, CodeRegression(CodeDistance(1.0, 1.0)))],
        {"current": IdSampler(learned, params.full.batch_size)},
        [network_optimizer("adam", model.encoder, START_RATE)],
        LRSchedule(params.staged.start_epochs, "cosine"),
        logged=False,
    )
    trainer.run(stage)
    own = runtime.local_ids(subset, len(trainer.images))
    if len(own):
        table = model.codes.tables["image"]
        starts = encode(model.encoder, trainer.images[own], model.config, runtime.single_process)
        table.weight.data[table.rows(torch.from_numpy(own))] = starts.to(runtime.device)
    model.encoder = None


def images_seen_in_all_stages(subset_sizes: Sequence[int], params: Params) -> int:
    """Counts the images that the generator sees in all stages of the incremental method."""
    ends = np.cumsum(subset_sizes)
    ids = np.arange(ends[-1])
    total = params.full.epochs * images_per_epoch(*_full_objective(ids, params, "incremental"))
    for item, size, end in zip(params.rounds, subset_sizes, ends, strict=True):
        objective = _subset_objective(ids[end - size : end], ids[: end - size], params)
        total += item.epochs * images_per_epoch(*objective)
    return total


def _subset_objective(subset: np.ndarray, earlier: np.ndarray, params: Params) -> tuple[Terms, dict[str, IdSampler]]:
    section = params.staged
    terms: Terms = [(section.beta, Reconstruction())]
    sources = {"current": IdSampler(subset, section.current_batch)}
    if len(earlier):
        terms.append((section.alpha, Preservation()))
        sources["earlier"] = IdSampler(earlier, section.earlier_batch)
    return terms, sources


def _full_objective(ids: np.ndarray, params: Params, method: str) -> tuple[Terms, dict[str, IdSampler]]:
    sources = {"current": IdSampler(ids, params.full.batch_size)}
    if method == "glo":
        return [(1.0, Reconstruction())], sources
    noisy = params.sigma and params.beta
    clean = params.alpha if noisy else params.alpha + params.beta
    noise = Continuity(params.sigma, params.sigma_end)
    return [(clean, Reconstruction()), (params.beta if noisy else 0.0, noise)], sources


def _glo_stage(trainer: Trainer, name: str, terms: Terms, sources: dict[str, IdSampler], epochs: int) -> StageSpec:
    params, rates = trainer.params, trainer.params.optimizer
    tables = list(trainer.model.codes.tables.values())
    return StageSpec(
        name,
        terms,
        sources,
        [
            network_optimizer(rates.name, trainer.model.generator, rates.generator_rate),
            code_optimizer(rates.name, tables, rates.code_rate),
        ],
        LRSchedule(epochs, rates.schedule),
        rates.reshuffle,
        ema=params.generator.ema,
        snapshots=True,
        check=Reconstruction(),
        rate_key="optimizer.generator_rate",
    )
