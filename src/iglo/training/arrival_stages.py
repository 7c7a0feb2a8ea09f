"""The stages that learn images which arrive later, while the generator keeps the earlier ones.

This is preservation as in Helman et al. 2019, section 3: the codes of earlier images are frozen, and only the generator
has to keep them. Earlier images are replayed; or, in place of them, what the earlier generator renders of their codes.

Batch norm is fixed: it uses the statistics of the first run. So an image does not depend on the batch that it is in, and
before the first step the generator renders exactly what it rendered before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

import numpy as np
import torch
from torch import Tensor

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
from iglo.models.glo import GLOModel, encode, render
from iglo.models.history import History
from iglo.models.norms import fixed_norms
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import code_optimizer, network_optimizer
from iglo.training.trainer import StageSpec, Trainer

RENDERED_AT_ONCE = 4096  # codes


@dataclass(frozen=True)
class NewImages:
    """The training images of an arrival, and those that are replayed beside them.

    Attributes:
        id: name of the arrival.
        images: (M, H, W, C) uint8.
        subsets: ids of these images, from 0, in the order in which they are learned.
        earlier: (N, H, W, C) uint8, all earlier training images; only `arrival.keep: images` needs them.
    """

    id: str
    images: np.ndarray
    subsets: Sequence[np.ndarray]
    earlier: np.ndarray | None = None


def learn_arrival(
    model: GLOModel,
    history: History,
    arrival: NewImages,
    params: Params,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
) -> tuple[GLOModel, RunState]:
    """Learns new images: each subset, and then all of them with noise. What `arrival.keep` says is replayed.

    Subset i: min β·Σ_{S_i} ‖G(z_x), x‖ + α·Σ_{S_p} ‖G(z_x), x‖ over G and the codes of S_i, which start at E(x). S_p
    are the earlier images and subsets; their codes are frozen. With `generated`, the target of an earlier image is
    G_old(z_x), and S_p has codes between those of earlier images too. With `none`, S_p is empty.

    Args:
        model: the model before the arrival, with all rows of its codes on every rank. Its generator learns.
        history: receives the log.

    Returns:
        The model, whose codes are those of earlier images and then those of the new ones; and the images seen.
    """
    rows = _rows_to_learn(model, arrival, params, runtime.single_process)
    training = _training_model(model, rows, runtime)
    trainer = Trainer(training, rows.images, history, params, runtime, checkpoints)
    total, learned = RunState(), rows.replayed
    with fixed_norms(model.generator):
        for index, subset in enumerate(arrival.subsets):
            stage = _subset_stage(trainer, f"{arrival.id} subset {index + 1}", rows.new[subset], learned)
            _add(total, trainer.inside(f"subset-{index + 1}").run(stage))
            learned = np.union1d(learned, rows.new[subset])
        if params.arrival.polish_epochs:
            stage = _polish_stage(trainer, f"{arrival.id} polish", rows)
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

    min over E of Σ ‖G(E(x)), x‖ + w·Σ ‖E(x), z_x‖ + w·pairs·Σ ‖E(G(z')), z'‖, where the sums are means over the new
    images plus means over the replayed ones. Without the images, x of an earlier image is G(z_x). With
    `encoder.mode: codes`, w is 1 and there is no G(E(x)).

    Args:
        model: the result of `learn_arrival`. Its encoder learns.
    """
    if model.encoder is None:
        raise UserError(f"{arrival.id}: the model has no encoder; run the encoder stage first.")
    codes, count = model.codes.values, len(model.codes.values) - len(arrival.images)
    parts = codes[:count], codes[count:], codes[:0]
    rows = _mixed_rows(model, arrival, parts, params, runtime.single_process)
    training = _training_model(model, rows, runtime)
    training.encoder = model.encoder
    trainer = Trainer(training, rows.images, history, params, runtime, checkpoints)
    model.generator.requires_grad_(False)
    with fixed_norms(model.generator):
        state = trainer.run(_encoder_stage(trainer, f"{arrival.id} encoder", rows))
    model.generator.requires_grad_(True)
    return state


def codes_between(model: GLOModel, count: int, rng: torch.Generator) -> Tensor:
    """Draws codes (count, d) at uniform times of the paths between random pairs of the model's codes."""
    codes = model.codes.values
    starts, ends = torch.randint(len(codes), (2, count), generator=rng)
    times = torch.rand(count, 1, generator=rng, dtype=torch.float32).to(codes)
    return model.config.geometry().interpolate(codes[starts], codes[ends], times)[:, 0]


def mixed(sizes: Sequence[int]) -> list[np.ndarray]:
    """Mixes several lists evenly into one: each part of it has about the same share of every list.

    Returns:
        For each list the places of its entries in the mixed list, in their order.
    """
    order = np.argsort(np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in sizes]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return np.split(place, list(accumulate(sizes))[:-1])


@dataclass(frozen=True)
class _Rows:
    """The images and the codes of a training, mixed so that every rank has its share of each kind.

    Attributes:
        images: (T, H, W, C) uint8, what each code shall render.
        codes: (T, d).
        kept, new, between: rows of earlier images, of new images, and of codes between earlier ones.
    """

    images: np.ndarray
    codes: Tensor
    kept: np.ndarray
    new: np.ndarray
    between: np.ndarray

    @property
    def replayed(self) -> np.ndarray:
        return np.union1d(self.kept, self.between)


def _rows_to_learn(model: GLOModel, arrival: NewImages, params: Params, runtime: Runtime) -> _Rows:
    codes = model.codes.values
    between = codes[:0]
    if params.arrival.keep == "generated":
        rng = torch_generator(params.seed, f"{arrival.id}/between")
        between = codes_between(model, round(params.arrival.between * len(codes)), rng)
    starts = encode(model.encoder, arrival.images, model.config, runtime).to(codes)
    return _mixed_rows(model, arrival, (codes, starts, between), params, runtime)


def _mixed_rows(
    model: GLOModel, arrival: NewImages, codes: tuple[Tensor, Tensor, Tensor], params: Params, runtime: Runtime
) -> _Rows:
    """Puts together earlier codes, new codes and codes between earlier ones, with the images that they shall render."""
    earlier, new, between = codes
    match params.arrival.keep:
        case "images":
            kept = arrival.earlier
        case "generated":
            kept = _rendered(model, earlier, runtime)
        case "none":
            earlier, kept = earlier[:0], arrival.images[:0]
    if kept is None or len(kept) != len(earlier):
        raise UserError(
            f"arrival.keep: images needs the {len(earlier)} earlier training images, got "
            f"{0 if kept is None else len(kept)}; put them back, or set it to generated, which needs none."
        )
    parts = [(earlier, kept), (new, arrival.images), (between, _rendered(model, between, runtime))]
    places = mixed([len(part) for part, _ in parts])
    count = sum(map(len, places))
    all_codes = new.new_empty(count, new.shape[1])
    all_images = np.empty((count, *arrival.images.shape[1:]), np.uint8)
    for place, (part, images) in zip(places, parts, strict=True):
        all_codes[torch.from_numpy(place)] = part
        all_images[place] = images
    return _Rows(all_images, all_codes, *places)


def _rendered(model: GLOModel, codes: Tensor, runtime: Runtime) -> np.ndarray:
    """Renders codes (N, d) as 8-bit images (N, H, W, C), the precision of prepared images."""
    config = model.config
    images = np.empty((len(codes), config.image_size, config.image_size, config.channels), np.uint8)
    for start in range(0, len(codes), RENDERED_AT_ONCE):
        rows = slice(start, start + RENDERED_AT_ONCE)
        images[rows] = np.rint(render(model.generator, codes[rows], runtime) * 255)
    return images


def _training_model(model: GLOModel, rows: _Rows, runtime: Runtime) -> GLOModel:
    """Returns the generator with the rows of this rank."""
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
    total.images_seen += state.images_seen
    total.earlier_seconds += state.earlier_seconds
    total.rows += state.rows


def _sources(params: Params, new: np.ndarray, earlier: np.ndarray) -> dict[str, IdSampler]:
    """Returns the images of a step. An epoch lasts until the new ones have been seen."""
    sources = {"current": IdSampler(np.sort(new), params.arrival.current_batch)}
    if len(earlier):
        sources["earlier"] = IdSampler(np.sort(earlier), params.arrival.earlier_batch, sets_length=False)
    return sources


def _schedule(params: Params, epochs: int, sources: dict[str, IdSampler]) -> LRSchedule:
    return LRSchedule(max(epochs, ceil(params.arrival.least_steps / sources["current"].steps)), "cosine")


def _subset_stage(trainer: Trainer, name: str, subset: np.ndarray, earlier: np.ndarray) -> StageSpec:
    section = trainer.params.staged
    terms = [(section.beta, Reconstruction())]
    if len(earlier):
        terms.append((section.alpha, Preservation()))
    return _generator_stage(trainer, name, terms, (subset, earlier), trainer.params.arrival.epochs)


def _polish_stage(trainer: Trainer, name: str, rows: _Rows) -> StageSpec:
    """Adds noise to the codes, as the last stage of the first run.

    Earlier codes get noise only if their targets are images. G_old(z_x) is not what G_old renders beside z_x, and the
    codes between earlier ones already hold that.
    """
    params, sigma = trainer.params, trainer.params.last_sigma
    clean, noisy = (params.alpha, params.beta) if sigma else (params.alpha + params.beta, 0.0)
    terms = [(clean, Reconstruction()), (noisy, Continuity(sigma))]
    if len(rows.kept) and params.arrival.keep == "images":
        terms += [(clean, Preservation()), (noisy, Preservation(sigma, "noisy_preservation"))]
    elif len(rows.kept):
        terms.append((params.alpha + params.beta, Preservation()))
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
            code_optimizer(params.optimizer.name, list(trainer.model.codes.tables.values()), params.optimizer.code_rate),
        ],
        _schedule(params, epochs, sources),
        ema=params.generator.ema,
        check=Reconstruction(),
        rate_key="arrival.generator_rate",
    )


def _encoder_stage(trainer: Trainer, name: str, rows: _Rows) -> StageSpec:
    params, section = trainer.params, trainer.params.encoder
    sources = _sources(params, rows.new, rows.kept)
    joint = section.mode == "joint"
    weight = params.joint.code_weight if joint else 1.0
    distance = CodeDistance(section.l1, section.l2)
    terms = []
    for source in sources:
        regression = CodeRegression(distance, f"code_regression_{source}", source)
        pairs = RenderedPairs(distance, section.pairs_sigma, f"rendered_pairs_{source}", source)
        terms += [(float(joint), Autoencoding(f"autoencoding_{source}", source))]
        terms += [(weight, regression), (weight * section.pairs, pairs)]
    return StageSpec(
        name,
        terms,
        sources,
        [network_optimizer("adam", trainer.model.encoder, params.arrival.encoder_rate)],
        _schedule(params, params.arrival.encoder_epochs, sources),
        rate_key="arrival.encoder_rate",
    )
