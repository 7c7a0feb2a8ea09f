"""The stages that train an encoder: on the learned codes, together with the generator, or as an autoencoder."""

import numpy as np
import torch
from torch import nn

from iglo.data.augment import Augment
from iglo.errors import UserError
from iglo.losses.terms import (
    Autoencoding,
    CodeDistance,
    CodePenalty,
    CodeRegression,
    Preservation,
    RenderedPairs,
)
from iglo.models.glo import encode, recalibrate_bn
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.loop import LRSchedule, RunState, require_finite
from iglo.training.optimizers import network_optimizer
from iglo.training.sanity import warn_if_useless
from iglo.training.trainer import StageSpec, Trainer, Validation


def learn_encoder(trainer: Trainer) -> RunState:
    """Learns an encoder of the learned codes: min over E of Σ λ1·‖E(x) − z_x‖₁ + λ2·‖E(x) − z_x‖₂².

    The generator and the codes are fixed. The same distance is also minimised for rendered pairs (G(z'), z'). The epoch
    with the smallest distance on held-out images is kept. The stage sets `model.encoder`, and logs the held-out
    distance of every epoch.
    """
    model, params, runtime = trainer.model, trainer.params, trainer.runtime
    section = params.encoder
    encoder = initialise(model.config.encoder(section.width), torch_generator(params.seed, "encoder"))
    model.encoder = runtime.to_device(encoder)
    held_out, kept = _split_held_out(len(trainer.images), params)
    distance = CodeDistance(section.l1, section.l2)
    regression = CodeRegression(distance)
    stage = StageSpec(
        "encoder",
        [(1.0, regression), (section.pairs, RenderedPairs(distance, section.pairs_sigma))],
        {"current": IdSampler(kept, section.batch_size)},
        [network_optimizer("adam", model.encoder, section.rate)],
        LRSchedule(section.epochs, section.schedule),
        validation=Validation(regression, held_out, model.encoder),
    )
    state = trainer.run(stage)
    codes = model.codes.of(runtime.local_ids(held_out, len(trainer.images)))
    of_mean = _distance_to_the_mean(codes, len(held_out), distance, runtime)
    if runtime.is_main:
        best = min(row["held_out"] for row in state.rows)
        warn_if_useless("encoder", state, best, of_mean, "codes", "encoder.rate")
    return state


def learn_jointly(trainer: Trainer) -> RunState:
    """Trains E and G further, together (Gabbay & Hoshen 2019, section 3.3). The codes stay fixed.

    min over G and E of Σ ‖G(E(x)), x‖ + keep·Σ ‖G(z_x + ε), x‖ + w·Σ ‖E(x), z_x‖ + w·pairs·Σ ‖E(G(z')), z'‖. The images
    x of the first term are augmented (mirrored, shifted, brightened); otherwise E and G would overfit. The epoch that
    reconstructs held-out images best is kept. The start is not a candidate, because its G has learned the held-out
    images. With `encoder.mode: codes` nothing is trained.
    """
    model, params = trainer.model, trainer.params
    section, codes = params.joint, params.encoder
    if codes.mode == "codes" or not section.epochs:
        return RunState()
    if model.encoder is None:
        raise UserError("joint: the model has no encoder yet; run the encoder stage first.")
    held_out, kept = _split_held_out(len(trainer.images), params)
    # The source "varied" has the augmented images; its name is in a random stream.
    both = nn.ModuleList([model.generator, model.encoder])
    distance = CodeDistance(codes.l1, codes.l2)
    augment = Augment(section.flip, section.shift, section.gain)
    stage = StageSpec(
        "joint",
        [
            (1.0, Autoencoding(source="varied")),
            (section.keep_weight, Preservation(params.last_sigma, source="current")),
            (section.code_weight, CodeRegression(distance)),
            (section.code_weight * codes.pairs, RenderedPairs(distance, codes.pairs_sigma)),
        ],
        {"current": IdSampler(kept, codes.batch_size), "varied": IdSampler(kept, codes.batch_size, augment)},
        [network_optimizer("adam", both, section.rate)],
        LRSchedule(section.epochs, section.schedule),
        validation=Validation(Autoencoding(), held_out, both),
        check=Autoencoding(),
        rate_key="joint.rate",
    )
    return trainer.run(stage)


def learn_autoencoder(trainer: Trainer, budget: int, penalty: float) -> RunState:
    """Learns a regularised autoencoder: min over G and E of Σ ‖G(E(x)), x‖ + penalty·‖E(x)‖² (Ghosh et al. 2020).

    It is a baseline for GLO: the same generator, but an encoder computes the codes. Afterwards E(x) are the codes of
    the model.

    Args:
        budget: number of images that the generator sees, rounded to whole epochs.
        penalty: weight of the mean square of the codes.
    """
    model, params, runtime = trainer.model, trainer.params, trainer.runtime
    encoder = initialise(model.config.encoder(params.encoder.width), torch_generator(params.seed, "encoder"))
    model.encoder = runtime.to_device(encoder)
    ids = np.arange(len(trainer.images))
    trainer.history.snapshots = Snapshots.of_random_images(ids, len(ids), params.seed)
    sampler = IdSampler(ids, params.full.batch_size)
    both = nn.ModuleList([model.generator, model.encoder])
    stage = StageSpec(
        "autoencoder",
        [(1.0, Autoencoding()), (penalty, CodePenalty())],
        {"current": sampler},
        [network_optimizer("adam", both, params.optimizer.generator_rate)],
        LRSchedule(max(1, round(budget / (sampler.steps * sampler.size))), params.optimizer.schedule),
        check=Autoencoding(),
        rate_key="optimizer.generator_rate",
    )
    state = trainer.run(stage)
    model.codes.tables["image"].weight.data.copy_(encode(model.encoder, trainer.images, model.config, runtime))
    recalibrate_bn(model.generator, model.codes.values)
    require_finite(model, "autoencoder", runtime)
    return state


def _split_held_out(count: int, params: Params | ClassContentParams) -> tuple[np.ndarray, np.ndarray]:
    """Splits the ids of the training images: those that choose the epoch, and those that the encoder learns from."""
    share = params.encoder.held_out
    order = torch.randperm(count, generator=torch_generator(params.seed, "encoder/held out")).numpy()
    held_out, kept = np.split(order, [max(1, round(share * count))])
    if not len(kept):
        raise UserError(
            f"encoder.held_out: must leave at least one of the {count} training images, got {share}; lower it."
        )
    return held_out, kept


def _distance_to_the_mean(codes: torch.Tensor, count: int, distance: CodeDistance, runtime: Runtime) -> float:
    """Computes the mean distance of all `count` codes to their mean. Each rank has its own codes (B, d)."""
    mean = runtime.all_reduce(codes.sum(0)) / count
    of_own = distance(codes, mean.expand_as(codes)).sum() if len(codes) else codes.new_zeros(())
    return float(runtime.all_reduce(of_own)) / count
