"""The stages that learn new images, which arrive later, while the generator keeps the earlier ones.

This is preservation as in Helman et al. 2019, section 3: the codes of earlier images are frozen, and only the generator
has to keep them. Earlier images are replayed, or renders of their codes in place of them.

Batch norm is fixed: it uses the statistics of the first run. So an image does not depend on its batch, and before the
first step the generator renders exactly what it rendered before.
"""

from dataclasses import replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.terms import (
    Autoencoding,
    CodeDistance,
    CodeRegression,
    Continuity,
    Preservation,
    Reconstruction,
    RenderedPairs,
)
from iglo.models.codes import Codes, CodeTable, Shard
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.models.norms import fixed_norms
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.glo_stages import learn_all, start_model
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import code_optimizer, network_optimizer
from iglo.training.replay import NewImages, Rows, rows_to_learn, rows_to_refresh
from iglo.training.trainer import StageSpec, Trainer


def learn_arrival(
    model: GLOModel,
    history: History,
    arrival: NewImages,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> tuple[GLOModel, RunState]:
    """Learns new images: each subset, and then all of them with noise.

    Subset i: min v·Σ_{S_i} ‖G(z_x), x‖ + w·Σ_{S_p} ‖G(z_x), x‖ over G and the codes of S_i, which start at E(x). Each
    sum is a mean over the images. S_p are the subsets before S_i and the earlier images; their codes are frozen. w is
    `arrival.earlier_weight` of the params; v is 1, or less if there are fewer new images than `arrival.current_batch`.
    `keep` of the arrival says what stands for the earlier images in S_p. images: these images. generated: renders of
    their codes, and of codes between them. none: nothing.

    Args:
        model: the model before the arrival, with all rows of its codes on every rank. Its generator learns.
        history: receives the log.
        arrival: the new images, and what is replayed.

    Returns:
        The model, whose codes are those of the earlier images and then those of the new ones; and how far the training
        has come.
    """
    rows = rows_to_learn(model, arrival, params, runtime.single_process)
    training = _training_model(model, rows, runtime)
    trainer = Trainer(training, rows.images, history, params, runtime, checkpoints)
    total, learned = RunState(), rows.replayed
    with fixed_norms(model.generator):
        for index, subset in enumerate(arrival.subsets):
            stage = _subset_stage(trainer, f"{arrival.id} subset {index + 1}", rows.new[subset], learned)
            _add(total, trainer.inside(f"subset-{index + 1}").run(stage))
            learned = np.union1d(learned, rows.new[subset])
        if params.arrival.polish_epochs:
            stage = _polish_stage(trainer, f"{arrival.id} polish", rows, arrival.keep)
            _add(total, trainer.inside("polish").run(stage))
    new = _all_codes(training.codes.tables["image"], runtime)[torch.from_numpy(rows.new)]
    codes = torch.cat([model.codes.values, new.to(model.codes.values)])
    table = CodeTable(codes, model.config.geometry())
    return GLOModel(model.config, model.generator, Codes(image=table), model.encoder), total


def refresh_encoder(
    model: GLOModel,
    history: History,
    arrival: NewImages,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> RunState:
    """Trains the encoder further, for new images and for what is replayed. Generator and codes stay fixed.

    min over E of Σ ‖G(E(x)), x‖ + w·Σ ‖E(x), z_x‖ + w·pairs·Σ ‖E(G(z')), z'‖, where each sum is a mean over the new
    images plus a mean over the replayed ones. w is `joint.code_weight`, and pairs is `encoder.pairs`. The images of the
    first term are augmented, as in the joint training of the first run. With `keep: generated`, x of an earlier image
    is a render of its code. With `encoder.mode: codes`, w is 1 and there is no first term.

    Args:
        model: the result of `learn_arrival`. Its encoder learns.
    """
    if model.encoder is None:
        raise UserError(f"{arrival.id}: the model has no encoder; run the encoder stage first.")
    rows = rows_to_refresh(model, arrival, params, runtime.single_process)
    training = _training_model(model, rows, runtime)
    training.encoder = model.encoder
    trainer = Trainer(training, rows.images, history, params, runtime, checkpoints)
    model.generator.requires_grad_(False)
    with fixed_norms(model.generator):
        state = trainer.run(_encoder_stage(trainer, f"{arrival.id} encoder", rows))
    model.generator.requires_grad_(True)
    return state


def learn_from_scratch(
    images: np.ndarray,
    budget: int,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> tuple[GLOModel, RunState]:
    """Learns all images from scratch, all at once, with noise as in the last stage of the first run.

    Args:
        images: (N, H, W, C) uint8, earlier images and new ones.
        budget: how many images the generator sees, rounded to whole epochs.
    """
    model, _ = start_model(images, params, runtime)
    trainer = Trainer(model, images, None, params, runtime, checkpoints)
    return model, learn_all(trainer, budget)


def _training_model(model: GLOModel, rows: Rows, runtime: Runtime) -> GLOModel:
    """Returns a model of the same generator, whose codes are the rows of this rank."""
    block = runtime.local_slice(len(rows.codes))
    shard = Shard(block.start, len(rows.codes))
    table = CodeTable(rows.codes[block].clone(), model.config.geometry(), shard=shard)
    return GLOModel(model.config, model.generator, Codes(image=table).to(runtime.device))


def _all_codes(table: CodeTable, runtime: Runtime) -> Tensor:
    """Gathers the rows of all ranks, (T, d) on the CPU."""
    whole = torch.zeros(table.shard.count, table.weight.shape[1], dtype=torch.float32)
    whole[table.shard.first : table.shard.first + len(table.weight)] = table.weight.detach().cpu()
    return runtime.all_reduce(whole)


def _add(total: RunState, state: RunState) -> None:
    """Adds a training to the total. The rows of the total count the images seen from its start."""
    total.rows += [row | {"images_seen": row["images_seen"] + total.images_seen} for row in state.rows]
    total.images_seen += state.images_seen
    total.earlier_seconds += state.earlier_seconds


def _sources(params: Params, new: np.ndarray, earlier: np.ndarray) -> dict[str, IdSampler]:
    """Returns where the images of a step come from. An epoch lasts until all new images have been seen."""
    sources = {"current": IdSampler(np.sort(new), params.arrival.current_batch)}
    if len(earlier):
        sources["earlier"] = IdSampler(np.sort(earlier), params.arrival.earlier_batch, sets_length=False)
    return sources


def _schedule(params: Params, epochs: int, sources: dict[str, IdSampler]) -> LRSchedule:
    return LRSchedule(max(epochs, ceil(params.arrival.least_steps / sources["current"].steps)), "cosine")


def _weight(params: Params, new: np.ndarray) -> float:
    """Returns the weight of new images: their share of a full batch, so that few images do not outweigh the others.

    Their codes still learn as fast as ever, because Adam does not depend on the scale of a loss.
    """
    return min(1.0, len(new) / params.arrival.current_batch)


def _subset_stage(trainer: Trainer, name: str, subset: np.ndarray, earlier: np.ndarray) -> StageSpec:
    terms = [(_weight(trainer.params, subset), Reconstruction())]
    if len(earlier):
        terms.append((trainer.params.arrival.earlier_weight, Preservation()))
    return _generator_stage(trainer, name, terms, (subset, earlier), trainer.params.arrival.epochs)


def _polish_stage(trainer: Trainer, name: str, rows: Rows, keep: str) -> StageSpec:
    """Returns the stage that learns all new images with noise on the codes, as the last stage of the first run.

    Earlier codes get noise only with `keep: images`. With `keep: generated`, the target is the render of z_x itself,
    and the earlier generator renders another image at z_x + ε. Codes between earlier ones are replayed in place of
    noisy ones.
    """
    params, sigma = trainer.params, trainer.params.last_sigma
    clean, noisy = (params.alpha, params.beta) if sigma else (params.alpha + params.beta, 0.0)
    of_new = _weight(params, rows.new)
    terms = [(of_new * clean, Reconstruction()), (of_new * noisy, Continuity(sigma))]
    weight = params.arrival.earlier_weight
    if len(rows.kept) and keep == "images":
        terms += [(weight * clean, Preservation()), (weight * noisy, Preservation(sigma, "noisy_preservation"))]
    elif len(rows.kept):
        terms.append((weight * (params.alpha + params.beta), Preservation()))
    return _generator_stage(trainer, name, terms, (rows.new, rows.replayed), params.arrival.polish_epochs)


def _generator_stage(
    trainer: Trainer, name: str, terms: list, ids: tuple[np.ndarray, np.ndarray], epochs: int
) -> StageSpec:
    """Returns a stage that learns the generator and the codes of new images.

    Args:
        ids: rows of the new images, and of the replayed ones.
    """
    params, sources = trainer.params, _sources(trainer.params, *ids)
    return StageSpec(
        name,
        terms,
        sources,
        [
            network_optimizer(params.optimizer.name, trainer.model.generator, params.arrival.generator_rate),
            code_optimizer(
                params.optimizer.name, list(trainer.model.codes.tables.values()), params.optimizer.code_rate
            ),
        ],
        _schedule(params, epochs, sources),
        ema=params.generator.ema,
        check=Reconstruction(),
        rate_key="arrival.generator_rate",
    )


def _encoder_stage(trainer: Trainer, name: str, rows: Rows) -> StageSpec:
    params, section = trainer.params, trainer.params.encoder
    sources = _sources(params, rows.new, rows.kept)
    joint = section.mode == "joint"
    weight = params.joint.code_weight if joint else 1.0
    distance = CodeDistance(section.l1, section.l2)
    terms = []
    for source in list(sources):
        regression = CodeRegression(distance, f"code_regression_{source}", source)
        pairs = RenderedPairs(distance, section.pairs_sigma, f"rendered_pairs_{source}", source)
        terms += [(weight, regression), (weight * section.pairs, pairs)]
        if joint:  # on augmented images, as in the joint training of the first run
            augment = Augment(params.joint.flip, params.joint.shift, params.joint.gain)
            sources[f"varied_{source}"] = replace(sources[source], augment=augment)
            terms.append((1.0, Autoencoding(f"autoencoding_{source}", f"varied_{source}")))
    return StageSpec(
        name,
        terms,
        sources,
        [network_optimizer("adam", trainer.model.encoder, params.arrival.encoder_rate)],
        _schedule(params, params.arrival.encoder_epochs, sources),
        rate_key="arrival.encoder_rate",
    )
