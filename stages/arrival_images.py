"""Prepares the images of an arrival, and splits them into subsets."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.arrival_images import arrival_source, write_arrival
from iglo.data.known import KNOWN, read_known
from iglo.data.store import ImageStore
from iglo.files.io import whole_folder, write_array
from iglo.models.base import check_model, first_run_parts
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.subsets.rounds import subset_ids
from stages.common import stage


@stage("id", "path", "known", "model", "out")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Decodes the new images of an arrival, splits them as in the first run, and clusters them into subsets."""
    source, runtime = arrival_source(arguments.path, arguments.id), start("fp32")
    check_model(GLOModel.load(arguments.model, runtime, "glo"), arguments.model, params)
    history = History.load(arguments.model)
    known = read_known(Path(arguments.model) / KNOWN if history.arrivals else arguments.known)
    first_run = first_run_parts(history, arguments.model)
    with whole_folder(arguments.out) as folder:
        parts = write_arrival(folder, source, arguments.id, params.data, first_run, known)
        images = ImageStore.open(folder, whole=False).train
        write_array(folder / "subset_id.npy", subset_ids(images, params, runtime))
    return sum(parts)


if __name__ == "__main__":
    main()
