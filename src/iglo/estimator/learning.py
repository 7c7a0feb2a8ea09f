"""Runs the stages of the pipeline in one process and without files."""

import numpy as np

from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.subsets.rounds import subsets_of
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all, learn_subset, start_model
from iglo.training.loop import RunState
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
            row = history.log[-1]
            losses = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float))
            print(f"[IncrementalGLO] {row['stage']}, epoch {row['epoch']}: {losses}")

    for index, subset in enumerate(subsets_of(images, params, runtime)):
        tell(learn_subset(trainer, subset, index))
    tell(learn_all(trainer))
    tell(learn_encoder(trainer))
    tell(learn_jointly(trainer))
    return model, history
