"""Writes the numbers and the figures of an arrival: what was forgotten, and how well the new images were learned."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.arrivals import Collection
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.evaluation.arrivals import ArrivedRun
from iglo.evaluation.image_sets import EvaluationNetworks
from iglo.files.io import whole_folder, write_json
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.params.run_record import OF, folder_digest
from iglo.report.arrivals import write_arrival_report
from iglo.report.headline import OF_ARRIVAL, headline
from iglo.runtime.device import Runtime, start
from stages.common import stage


@stage("id", "prepared", "images", "first", "before", "model", "priors", "reference", "headline", "metrics", "figures")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Measures earlier and new images with the models before and after an arrival, and draws them."""
    runtime = start(params.precision)
    run = _opened(arguments, params, runtime)
    networks = EvaluationNetworks.make(params.evaluate, params.loss, runtime)
    with whole_folder(arguments.figures) as folder:
        values = write_arrival_report(folder, run, networks, runtime)
    write_json(arguments.headline, headline(values, OF_ARRIVAL))
    write_json(arguments.metrics, {**values, OF: {"model": folder_digest(arguments.model)}})
    return sum(len(run.everything.part(part)) for part in ("train", "test"))


def _opened(arguments: SimpleNamespace, params: Params, runtime: Runtime) -> ArrivedRun:
    """Opens the models and the images that are there. `--first` need not be there.

    Raises:
        UserError: they do not belong together.
    """
    history = History.load(arguments.model)
    ids = [each.id for each in history.arrivals]
    if ids[-1:] != [arguments.id]:
        raise UserError(f"{arguments.model}: is not the model after the arrival {arguments.id}; name its model.")
    record, sizes = history.arrivals[-1], [history.arrivals[0].first, *(each.count for each in history.arrivals[:-1])]
    before = _model(arguments.before, record.first, runtime)
    after = _model(arguments.model, record.first + record.count, runtime)
    first = _model(arguments.first, sizes[0], runtime) if Path(arguments.first).is_dir() else None
    arrived = Path(arguments.images).parent
    earlier = Collection.open(arguments.prepared, arrived, ids[:-1])
    new = ImageStore.open(arguments.images, whole=False)
    folders = [arguments.prepared, *(arrived / each for each in ids)]
    for folder, store, size in zip(folders, (*earlier.stores, new), (*sizes, record.count), strict=True):
        if store is not None and store.parts.train != size:
            raise UserError(
                f"{folder}: has {store.parts.train} training images, but {arguments.model} has learned {size} of them; "
                "run `dvc repro` to learn them again."
            )
    choice = PriorChoice.load(arguments.priors, after.config.geometry())
    reference = None
    if (Path(arguments.reference) / "model.json").is_file():
        reference = GLOModel.load(arguments.reference, runtime, "glo")
    return ArrivedRun(params, before, after, first, history, earlier, new, choice, reference)


def _model(folder: str, count: int, runtime: Runtime) -> GLOModel:
    """Loads a model with an encoder that has learned `count` images."""
    model = GLOModel.load(folder, runtime, "glo")
    learned = len(model.codes.values)
    if learned != count:
        raise UserError(f"{folder}: has learned {learned} images, not {count}; run `dvc repro` to make it again.")
    if model.encoder is None:
        raise UserError(f"{folder}: has no encoder, and an arrival needs one; name the model of a later stage.")
    return model


if __name__ == "__main__":
    main()
