"""What the stages that learn an arrival share."""

import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
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
from iglo.models.history import ArrivalRecord, History
from iglo.params.arrivals import FIRST
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime, start
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import RunState
from iglo.training.replay import NewImages, rendered
from stages.common import Work
from stages.learning import checkpoint_folder, curve_in, write_log

Learn = Callable[[GLOModel, History, NewImages, Runtime, CheckpointFolder], tuple[GLOModel, RunState]]


def train_on_arrival(name: str, arguments: SimpleNamespace, params: Params, learn: Learn) -> Work:
    """Opens the model and the images of an arrival, trains, and writes the model, its history and the curve.

    The record of arrivals in the model says where earlier images and models are. These are no dependencies of a stage,
    because `keep: generated` works without the images. If they change, then `known.csv` and the model change too, and
    these are dependencies.

    Args:
        name: name of the stage, for the folder of checkpoints.
        learn: trains on (model, history, new images), and returns the model and how far the training has come.
    """
    runtime, history = start(params.precision, distributed=True), History.load(arguments.model)
    arrival = _new_images(arguments, history, runtime.single_process)
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


def _new_images(arguments: SimpleNamespace, history: History, runtime: Runtime) -> NewImages:
    train = ImageStore.open(arguments.images, whole=False).train
    subset_id = read_array(Path(arguments.images) / "subset_id.npy", dtype=np.int32, shape=(len(train),))
    earlier, before = None, [each for each in history.arrivals if each.id != arguments.id]
    known = history.arrivals[-1].first if len(before) < len(history.arrivals) else len(history.subset_id)
    if arguments.keep == "images":
        images = Collection.open(arguments.prepared, Path(arguments.images).parent, [each.id for each in before])
        if not images.is_complete:
            raise UserError(
                f"arrivals.{arguments.id}.keep: images needs all earlier images, but some are no longer there; put "
                "them back, or set it to generated, which needs none."
            )
        earlier = images.part("train")
    if arguments.keep == "generated":
        earlier = _renders_when_learned(Path(arguments.model), before, known, runtime)
    return NewImages(arguments.id, train, subsets_of(arguments.images, subset_id), arguments.keep, earlier)


def _renders_when_learned(folder: Path, before: Sequence[ArrivalRecord], known: int, runtime: Runtime) -> np.ndarray:
    """Renders the `known` earlier codes, each by the generator that had just learned it, (N, H, W, C) uint8.

    If the model of the first run or of an arrival is no longer there, the model in `folder` takes its place.
    """
    newest = GLOModel.load(folder, runtime, "glo")
    codes = newest.codes.values
    names, ends = [FIRST, *(each.id for each in before)], [0, *(each.first for each in before), known]
    parts = []
    for name, (first, end) in zip(names, pairwise(ends), strict=True):
        place = folder.parent / name
        model = GLOModel.load(place, runtime, "glo") if place.is_dir() else newest
        parts.append(rendered(model, codes[first:end], runtime))
    return np.concatenate(parts)


def _sharing(arrival: NewImages, params: Params, runtime: Runtime) -> Runtime:
    """Returns the ranks that share the training: the first rank alone if a subset has too few images for all."""
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
