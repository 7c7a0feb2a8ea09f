"""Runs the stages of the pipeline in one process and without files: a first run, and arrivals after it."""

from typing import Any

import numpy as np
import torch

from iglo.models.glo import GLOModel
from iglo.models.history import ArrivalRecord, History
from iglo.models.snapshots import Snapshots
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.subsets.rounds import subsets_of
from iglo.training.arrival_stages import learn_arrival, refresh_encoder
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all, learn_subset, start_model
from iglo.training.loop import RunState
from iglo.training.replay import NewImages
from iglo.training.trainer import Trainer


def learn_model(
    images: np.ndarray, params: Params, runtime: Runtime, verbose: bool = False
) -> tuple[GLOModel, History]:
    """Learns codes, generator and encoder: all stages from the features to the joint training.

    Args:
        images: (N, H, W, C) uint8, the training images.
        verbose: print the losses at the end of every stage.
    """
    model, history = start_model(images, params, runtime)
    trainer = Trainer(model, images, history, params, runtime)

    def tell(state: RunState) -> None:
        if verbose and state.rows:
            _print_losses(history.log[-1])

    for index, subset in enumerate(subsets_of(images, params, runtime)):
        tell(learn_subset(trainer, subset, index))
    tell(learn_all(trainer))
    tell(learn_encoder(trainer))
    tell(learn_jointly(trainer))
    return model, history


def learn_more(
    model: GLOModel,
    name: str,
    images: np.ndarray,
    renders: np.ndarray,
    params: Params,
    runtime: Runtime,
    verbose: bool = False,
) -> tuple[GLOModel, History]:
    """Learns images that arrive later, and trains the encoder further.

    Args:
        model: its generator and encoder are trained.
        name: id of the arrival.
        images: (M, H, W, C) uint8, the new images.
        renders: (N, H, W, C) uint8, what is replayed for the earlier codes.
        params: its rounds are those of the new images.
        verbose: print the losses at the end of every stage.

    Returns:
        The model, with the codes of the new images after the earlier codes; and the history of this arrival alone.
    """
    first = len(model.codes.values)
    history = History(Snapshots(torch.zeros(0, dtype=torch.int64)), np.zeros(len(images), np.int32))
    subsets = list(subsets_of(images, params, runtime)) if len(params.rounds) > 1 else [np.arange(len(images))]
    for index, subset in enumerate(subsets):
        history.subset_id[subset] = index + 1
    arrival = NewImages(name, images, subsets, "generated", renders)
    model, state = learn_arrival(model, history, arrival, params, runtime)
    refresh_encoder(model, history, arrival, params, runtime)
    if verbose:
        for row in {row["stage"]: row for row in history.log}.values():
            _print_losses(row)
    record = ArrivalRecord(name, first, len(images), 0, 0, 0, arrival.keep, state.images_seen)
    history.arrivals.append(record)
    return model, history


def _print_losses(row: dict[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float))
    print(f"[IncrementalGLO] {row['stage']}, epoch {row['epoch']}: {losses}")
