"""Writes the numbers, the figures and the page of a run."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.evaluation.image_sets import EvaluationNetworks
from iglo.evaluation.run import Run, Split
from iglo.files.io import read_array, read_json, whole_folder, write_json
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.params.run_record import OF, folder_digest
from iglo.report.headline import headline
from iglo.report.page import write_page
from iglo.report.report import write_report
from iglo.runtime.device import start
from stages.common import stage, times_of_stages


@stage("images", "features", "clusters", "model", "priors", "headline", "metrics", "figures", "page", "times")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Measures reconstruction, inversion, continuity, samples, memorisation and the split, and draws them."""
    runtime = start(params.precision, distributed=True)
    store = ImageStore.open(arguments.images)
    model = GLOModel.load(arguments.model, runtime.single_process, "glo")
    known = read_json(Path(arguments.features) / "features.json")
    points, labels = (read_array(Path(arguments.clusters) / f"{name}.npy") for name in ("points", "labels"))
    choice = PriorChoice.load(arguments.priors, model.config.geometry())
    run = Run(params, model, History.load(arguments.model), store, Split(points, labels, known["name"]), choice)
    with whole_folder(arguments.figures, runtime) as folder:
        values = write_report(folder, run, EvaluationNetworks.make(params.evaluate, params.loss, runtime), runtime)
    if runtime.is_main:
        write_json(arguments.headline, headline(values))
        clustered_in = {key: known[key] for key in ("network", "weights")}
        about = {"model": folder_digest(arguments.model), "features": clustered_in}
        write_json(arguments.metrics, {**values, OF: about})
        times = times_of_stages(Path(arguments.times), len(params.rounds))
        write_page(arguments.page, Path(arguments.figures), values, params, times)
    return len(store.images)


if __name__ == "__main__":
    main()
