"""Learns all images from scratch, to compare, with as many images seen as in the first run and all arrivals."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.arrivals import Collection
from iglo.errors import UserError
from iglo.files.io import whole_folder, write_json
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.training.arrival_stages import learn_from_scratch
from stages.common import Work, stage
from stages.learning import checkpoint_folder


@stage("prepared", "images", "model", "out")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns all images from scratch if `arrival.reference` says so. The folder says how many images were seen."""
    if not params.arrival.reference:
        with whole_folder(arguments.out) as folder:
            write_json(folder / "reference.json", {"images_seen": 0})
        return Work(0)
    history, runtime = History.load(arguments.model), start(params.precision)
    ids = [each.id for each in history.arrivals]
    images = Collection.open(arguments.prepared, Path(arguments.images).parent, ids)
    if not images.is_complete:
        raise UserError(
            "arrival.reference: needs all images, but earlier ones are no longer there; put them back, or set it to "
            "false."
        )
    read = arguments.images, arguments.model
    with checkpoint_folder(f"arrival-reference-{ids[-1]}", params, *read, runtime=runtime) as checkpoints:
        budget = history.generator_images_seen
        model, state = learn_from_scratch(images.part("train"), budget, params, runtime, checkpoints)
        with whole_folder(arguments.out) as folder:
            model.save(folder)
            write_json(folder / "reference.json", {"images_seen": state.images_seen})
    return Work(state.images_seen, state.earlier_seconds)


if __name__ == "__main__":
    main()
