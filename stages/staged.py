"""GLO on one subset, while the generator keeps the subsets before it."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.files.io import read_array
from iglo.models.glo import Model
from iglo.params.sections import Params
from iglo.runtime.device import start
from iglo.training.glo_stages import learn_subset, make_distance
from stages.common import Work, stage
from stages.learning import checkpoint_folder, curve_in, keep


@stage("round", "images", "subset", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns the codes of one round's subset; the codes of earlier subsets are frozen."""
    runtime, index = start(params.precision, distributed=True), int(arguments.round) - 1
    images = ImageStore.open(arguments.images).train
    model = Model.load(arguments.model, runtime)
    subset = read_array(Path(arguments.subset) / "chosen.npy")
    distance = make_distance(params, runtime)
    inputs = arguments.images, arguments.subset, arguments.model
    with checkpoint_folder(f"staged-{index + 1}", params, *inputs, runtime=runtime) as checkpoints:
        progress = learn_subset(model, images, subset, distance, index, params, runtime, checkpoints)
        return keep(model, progress, arguments.out, curve_in(arguments.curves, progress), runtime)


if __name__ == "__main__":
    main()
