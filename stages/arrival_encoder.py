"""Trains the encoder further in an arrival, for the new images and for the changed generator."""

from types import SimpleNamespace

from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.training.arrival_stages import refresh_encoder
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import RunState
from iglo.training.replay import NewImages
from stages.arriving import train_on_arrival
from stages.common import Work, stage


@stage("id", "keep", "images", "prepared", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains the encoder on the images of an arrival and on what is replayed. The generator stays as it is."""

    def learn(
        model: GLOModel, history: History, arrival: NewImages, runtime: Runtime, checkpoints: CheckpointFolder
    ) -> tuple[GLOModel, RunState]:
        return model, refresh_encoder(model, history, arrival, params, runtime, checkpoints)

    return train_on_arrival("arrival-encoder", arguments, params, learn)


if __name__ == "__main__":
    main()
