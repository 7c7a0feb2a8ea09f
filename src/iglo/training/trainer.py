"""A stage of training as data, and the trainer that runs every stage."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from iglo.losses.distances import PIXEL_DISTANCES, Distance, Perceptual
from iglo.losses.terms import DirectTerm, Objective, RenderedTerm
from iglo.models.glo import recalibrate_bn
from iglo.models.history import History
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import Params
from iglo.params.validate import within
from iglo.runtime.device import Runtime
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.callbacks import EMA, Best, Callback, MakeCallback, SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import LRSchedule, RunState, fit, not_finite_error, require_finite
from iglo.training.sanity import warn_of_useless_images

VALIDATION_BATCH = 256


@dataclass(frozen=True)
class Validation:
    """Held-out training images. The epoch with the best score on them is kept.

    Attributes:
        term: the mean of this term over the held-out images is the score; lower is better.
        ids: (V,) int64 ids of the held-out images.
        network: the network that gets the weights of the best epoch.
    """

    term: RenderedTerm | DirectTerm
    ids: np.ndarray
    network: nn.Module


@dataclass(frozen=True)
class StageSpec:
    """A stage of training, as data.

    Attributes:
        name: name in the progress bar, in messages, in the log and in the snapshots.
        terms: (weight, term) pairs of the objective; a term of weight 0 is left out.
        sources: the ids that fill each sub-batch. The keys are the `source` of the terms.
        optimizers: all of them step after every batch.
        schedule: the number of epochs, and the factor of the learning rates.
        reshuffle: False keeps the order of the first epoch.
        ema: decay of the EMA of the generator's weights, in [0, 1). At the end, the generator gets the average, and its
            batch-norm statistics are computed anew on the codes. None: no EMA.
        snapshots: whether to add to the snapshots of the history.
        logged: whether to add the rows of this stage to the log of the history.
        validation: chooses the epoch; None: the last epoch.
        check: warns if the renders of this term's codes are useless; None: no check.
        rate_key: key of the learning rate in params.yaml, for that warning.
        stream: name of the random streams; empty: the name of the stage.
        seed: of the random streams; None: the seed of the params.
    """

    name: str
    terms: Sequence[tuple[float, RenderedTerm | DirectTerm]]
    sources: Mapping[str, IdSampler]
    optimizers: Sequence[torch.optim.Optimizer]
    schedule: LRSchedule
    reshuffle: bool = True
    ema: float | None = None
    snapshots: bool = False
    logged: bool = True
    validation: Validation | None = None
    check: RenderedTerm | None = None
    rate_key: str = ""
    stream: str = ""
    seed: int | None = None

    @property
    def ids(self) -> np.ndarray:
        """(M,) int64, the sorted ids of all training images that the stage uses."""
        ids = [sampler.ids for sampler in self.sources.values()]
        return np.unique(np.concatenate([*ids, *([self.validation.ids] if self.validation else [])]))

    @property
    def renders(self) -> bool:
        """Whether a term renders images."""
        return any(weight and hasattr(term, "codes") for weight, term in self.terms)

    @property
    def images_per_epoch(self) -> int:
        """Images that the generator renders in an epoch."""
        return images_per_epoch(self.terms, self.sources)


def images_per_epoch(terms: Sequence[tuple[float, RenderedTerm | DirectTerm]], sources: Mapping[str, IdSampler]) -> int:
    """Counts the images that the generator renders in an epoch: for each rendered term, its sub-batch at every step."""
    steps = max(sampler.steps for sampler in sources.values())
    return steps * sum(sources[term.source].size for weight, term in terms if weight and hasattr(term, "codes"))


class Trainer:
    """Runs stages of training on one model. It holds what all stages share.

    Args:
        model: a GLOModel, or another network that the terms of the stages know.
        images: (N, H, W, C) uint8, the training images.
        history: receives log rows and snapshots; None: they are not kept.
        params: the seed and the section `loss` are used.
        checkpoints: where a stage saves its state; None: it is not saved.
        make_callback: makes one more callback for each stage, from the generator that renders (the EMA, if there is
            one) and the number of images that it renders in an epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        images: np.ndarray,
        history: History | None,
        params: Params | ClassContentParams,
        runtime: Runtime,
        checkpoints: CheckpointFolder | None = None,
        make_callback: MakeCallback | None = None,
    ):
        self.model, self.images, self.history = model, images, history
        self.params, self.runtime = params, runtime
        self.checkpoints, self.make_callback = checkpoints, make_callback

    @cached_property
    def distance(self) -> Distance:
        """The distance between images that the params name. It is made when a stage first needs it."""
        return make_distance(self.params, self.runtime)

    def inside(self, folder: str) -> "Trainer":
        """Returns this trainer with its checkpoints in a folder inside its own."""
        inner = copy.copy(self)
        inner.checkpoints = self.checkpoints and self.checkpoints.inside(folder)
        return inner

    def run(self, stage: StageSpec) -> RunState:
        """Runs a stage of training to its end.

        Raises:
            UserError: a loss, a weight or a statistic of batch norm is no longer finite.
        """
        model, runtime = self.model, self.runtime
        ids = runtime.local_ids(stage.ids, len(self.images))
        distance = self.distance if stage.renders else None
        cache_gb = self.params.loss.cache_gb if stage.renders else 0.0
        targets = Targets(self.images, ids, distance, runtime, cache_gb)
        ema = None if stage.ema is None else EMA(model.generator, stage.ema)
        generator = ema.network if ema else getattr(model, "generator", None)
        snapshots = self._snapshots(stage, generator)
        best = self._best(stage, targets)
        seed = self.params.seed if stage.seed is None else stage.seed
        state = fit(
            model,
            Objective(stage.terms, distance, runtime),
            Batches(targets, stage.sources, seed, stage.name, stage.reshuffle, stage.stream),
            stage.optimizers,
            stage.schedule,
            [each for each in (ema, snapshots, best, self._callback(stage, generator)) if each is not None],
            self.checkpoints,
        )
        if best:
            _restore_best(stage.name, state, best)
        if ema:
            recalibrate_bn(ema.network, model.codes.of(ids), runtime)
            model.generator.load_state_dict(ema.network.state_dict())
        require_finite(model, stage.name, runtime)
        if stage.check:
            shown = ids if stage.validation is None else runtime.local_ids(stage.validation.ids, len(self.images))
            warn_of_useless_images(stage.name, state, model, stage.check, targets, shown, stage.rate_key)
        if snapshots:
            snapshots.take(model, stage.schedule.epochs)
        if self.history and stage.logged:
            self.history.log += [{"stage": stage.name, **row} for row in state.rows]
        return state

    def _snapshots(self, stage: StageSpec, generator: nn.Module | None) -> SnapshotCallback | None:
        if not stage.snapshots or self.history is None:
            return None
        return SnapshotCallback(self.history.snapshots, generator, stage.name, self.runtime, len(self.images))

    def _best(self, stage: StageSpec, targets: Targets) -> Best | None:
        if stage.validation is None:
            return None
        objective = Objective([(1.0, stage.validation.term)], targets.distance)
        return Best(stage.validation.network, lambda: _mean_loss(objective, self.model, targets, stage.validation.ids))

    def _callback(self, stage: StageSpec, generator: nn.Module | None) -> Callback | None:
        if self.make_callback is None:
            return None
        return self.make_callback(generator, stage.images_per_epoch)


def make_distance(params: Params | ClassContentParams, runtime: Runtime) -> Distance:
    """Makes the distance between images that `params.loss` names.

    Raises:
        UserError: its network or weights cannot be loaded.
    """
    loss = params.loss
    if loss.name == "perceptual":
        from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD  # here, because torchvision takes a second
        from iglo.backbones.networks import vgg_blocks

        with within("loss."):
            blocks = vgg_blocks(loss.network, loss.weights, loss.blocks, params.seed)
        distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, runtime.dtype, loss.pixel_weight)
    else:
        distance = PIXEL_DISTANCES[loss.name]()
    return distance.to(runtime.device)


def _restore_best(name: str, state: RunState, best: Best) -> None:
    """Restores the best epoch, and adds the score of every epoch to its row of the log."""
    for row, score in zip(state.rows, best.scores, strict=True):
        if not math.isfinite(score):
            raise not_finite_error(name, f"the loss on held-out images is no longer finite in epoch {row['epoch']}")
        row["held_out"] = score
    best.restore()


@torch.no_grad()
def _mean_loss(objective: Objective, model: nn.Module, targets: Targets, ids: np.ndarray) -> float:
    """Computes the mean of the objective over the images `ids` of all ranks. Each rank computes its own images."""
    runtime = targets.runtime
    pieces = torch.from_numpy(runtime.local_ids(ids, len(targets.images))).split(VALIDATION_BATCH)
    losses = [
        objective(model, {"current": targets.sub_batch(piece)}, None)[0].item() * len(piece)
        for piece in pieces
        if len(piece)
    ]
    return float(runtime.all_reduce(torch.tensor(sum(losses), dtype=torch.float64))) / len(ids)
