"""Trains generator and codes of one run of the comparison: one method with one seed."""

from pathlib import Path
from types import SimpleNamespace

from iglo.comparison.learning import learn_run
from iglo.data.store import ImageStore
from iglo.files.io import read_array, whole_folder
from iglo.params.comparison import Comparison
from iglo.runtime.device import start
from stages.common import Work, stage
from stages.learning import checkpoint_folder, write_log


@stage("method", "seed", "images", "subsets", "out", "curve", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> Work:
    """Trains generator and codes. The generator sees as many images as in every other run."""
    method, seed = arguments.method, int(arguments.seed)
    params = comparison.params(method, seed)
    runtime = start(params.precision)
    images = ImageStore.open(arguments.images).train
    folders = [Path(arguments.subsets) / str(item.id) for item in params.rounds]
    subsets = [read_array(folder / "chosen.npy") for folder in folders]
    inputs = arguments.images, *map(str, folders)
    with checkpoint_folder(f"compare-{method}-{seed}", comparison, *inputs) as checkpoints:
        model, history, curve = learn_run(images, subsets, comparison, method, seed, runtime, checkpoints)
        write_log(arguments.curve, curve.rows)
        with whole_folder(arguments.out) as out:
            model.save(out)
            history.save(out)
    return Work(curve.images_seen, curve.earlier_seconds)


if __name__ == "__main__":
    main()
