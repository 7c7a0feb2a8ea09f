"""What the stages that learn an arrival share."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from iglo.data.arrivals import Collection, subsets_of
from iglo.data.known import KNOWN
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.files.io import read_array, whole_folder
from iglo.models.base import check_model
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime, start
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import RunState
from iglo.training.replay import NewImages
from stages.common import Work
from stages.learning import checkpoint_folder, curve_in, write_log

Learn = Callable[[GLOModel, History, NewImages, Runtime, CheckpointFolder], tuple[GLOModel, RunState]]


def train_on_arrival(name: str, arguments: SimpleNamespace, params: Params, learn: Learn) -> Work:
    """Opens the model and the images of an arrival, trains, and writes the model, its history and the curve.

    The earlier images are found by the record of arrivals in the model. They are no dependency of a stage, because
    `arrival.keep: generated` works without them; the digests in `known.csv` depend on them.

    Args:
        name: name of the stage, for the folder of checkpoints.
        learn: trains on (model, history, new images), and returns the model and how far the training has come.
    """
    runtime, history = start(params.precision, distributed=True), History.load(arguments.model)
    arrival = _new_images(arguments, params, history)
    ranks = _sharing(arrival, params, runtime)
    with checkpoint_folder(
        f"{name}-{arguments.id}", params, arguments.images, arguments.model, runtime=runtime
    ) as kept:
        if not (ranks.ranks == runtime.ranks or runtime.is_main):
            return Work(0)
        model = GLOModel.load(arguments.model, runtime.single_process, "glo")
        check_model(model, arguments.model, params)
        model, state = learn(model, history, arrival, ranks, kept)
        if runtime.is_main:
            _save(arguments, model, history, state)
    return Work(state.images_seen, state.earlier_seconds)


def _new_images(arguments: SimpleNamespace, params: Params, history: History) -> NewImages:
    train = ImageStore.open(arguments.images, whole=False).train
    subset_id = read_array(Path(arguments.images) / "subset_id.npy", dtype=np.int32, shape=(len(train),))
    earlier = None
    if params.arrival.keep == "images":
        ids = [each.id for each in history.arrivals if each.id != arguments.id]
        images = Collection.open(arguments.prepared, Path(arguments.images).parent, ids)
        if not images.is_complete:
            raise UserError(
                "arrival.keep: images needs all earlier images, but some are no longer there; put them back, or set it "
                "to generated, which needs none."
            )
        earlier = images.part("train")
    return NewImages(arguments.id, train, subsets_of(arguments.images, subset_id), earlier)


def _sharing(arrival: NewImages, params: Params, runtime: Runtime) -> Runtime:
    """Returns the ranks that share the training: the first one alone if a subset has too few images to share."""
    fewest = min(map(len, arrival.subsets))
    return runtime.single_process if fewest < runtime.ranks * params.arrival.current_batch else runtime


def _save(arguments: SimpleNamespace, model: GLOModel, history: History, state: RunState) -> None:
    if curve := curve_in(arguments.curves, state):
        write_log(curve, state.rows)
    with whole_folder(arguments.out) as folder:
        model.save(folder)
        history.save(folder)
        # beside the model, so that the folder of images may be deleted
        shutil.copyfile(Path(arguments.images) / KNOWN, folder / KNOWN)
