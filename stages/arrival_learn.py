"""Trains the generator and the codes of new images, while the generator keeps the earlier images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from iglo.data.store import ImageStore
from iglo.files.io import read_array, read_json
from iglo.models.glo import GLOModel
from iglo.models.history import ArrivalRecord, History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.training.arrival_stages import learn_arrival
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import RunState
from iglo.training.replay import NewImages
from stages.arriving import train_on_arrival
from stages.common import Work, stage


@stage("id", "keep", "images", "prepared", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns each subset of an arrival, and then all its images. `--keep` says what is replayed."""

    def learn(
        model: GLOModel, history: History, arrival: NewImages, runtime: Runtime, checkpoints: CheckpointFolder
    ) -> tuple[GLOModel, RunState]:
        model, state = learn_arrival(model, history, arrival, params, runtime, checkpoints)
        _record(history, arguments, params, state.images_seen)
        return model, state

    return train_on_arrival("arrival-learn", arguments, params, learn)


def _record(history: History, arguments: SimpleNamespace, params: Params, images_seen: int) -> None:
    """Adds the arrival to the history: its rows, its subsets, and how it was learned."""
    parts = ImageStore.open(arguments.images, whole=False).parts
    report = read_json(Path(arguments.images) / "report.json")
    subset_id = read_array(Path(arguments.images) / "subset_id.npy")
    record = ArrivalRecord(
        id=arguments.id,
        first=len(history.subset_id),
        count=parts.train,
        validation=parts.validation,
        test=parts.test,
        known=report["known"]["count"],
        keep=arguments.keep,
        images_seen=images_seen,
    )
    history.arrivals.append(record)
    history.subset_id = np.concatenate([history.subset_id, history.subset_id.max() + subset_id]).astype(np.int32)


if __name__ == "__main__":
    main()
