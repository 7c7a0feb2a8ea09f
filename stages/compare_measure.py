"""Measures one run of the comparison: one method with one seed."""

from pathlib import Path
from types import SimpleNamespace

from iglo.comparison.measure import ComparedRun, last_rows, measure_run
from iglo.comparison.real import load_real, make_judges
from iglo.data.store import ImageStore
from iglo.files.io import whole_folder, write_json
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.comparison import Comparison
from iglo.runtime.device import start
from stages.common import stage


@stage("method", "seed", "images", "reference", "model", "out", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> int:
    """Measures a run, and writes its numbers and the images for its figures."""
    params = comparison.params(arguments.method, int(arguments.seed))
    runtime = start(comparison.params().precision)
    store = ImageStore.open(arguments.images)
    model = GLOModel.load(arguments.model, runtime)
    judges = make_judges(comparison, runtime)
    real = load_real(Path(arguments.reference), judges)
    with whole_folder(arguments.out) as out:
        numbers = measure_run(out, ComparedRun(model, store, comparison, params, judges, real, runtime))
        images_seen = sum(row["images_seen"] for row in last_rows(History.load(arguments.model).log))
        write_json(out / "numbers.json", {"images_seen": images_seen, **numbers})
    return len(store.images)


if __name__ == "__main__":
    main()
