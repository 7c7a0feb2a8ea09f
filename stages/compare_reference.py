"""Measures the reference for the numbers of the comparison."""

from pathlib import Path
from types import SimpleNamespace

from iglo.comparison.real import measure_reference
from iglo.data.store import ImageStore
from iglo.files.io import read_array, whole_folder, write_json
from iglo.params.comparison import Comparison
from iglo.runtime.device import start
from stages.common import stage


@stage("images", "clusters", "subset", "out", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> int:
    """Measures real images and noise as if they were samples, and the quality of the split into subsets."""
    runtime = start(comparison.params().precision)
    store = ImageStore.open(arguments.images)
    points, labels = (read_array(Path(arguments.clusters) / f"{name}.npy") for name in ("points", "labels"))
    chosen = read_array(Path(arguments.subset) / "chosen.npy")
    with whole_folder(arguments.out) as out:
        numbers = measure_reference(out, store, (points, labels, chosen), comparison, runtime)
        write_json(out / "numbers.json", numbers)
    return len(store.images)


if __name__ == "__main__":
    main()
