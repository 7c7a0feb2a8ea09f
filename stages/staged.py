"""Trains generator and codes on one subset, while the generator keeps the earlier subsets."""

from pathlib import Path
from types import SimpleNamespace

from iglo.files.io import read_array
from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.training.glo_stages import learn_subset
from stages.common import Work, stage
from stages.learning import curve_in, open_trainer, save_trained


@stage("round", "images", "subset", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains the generator and the codes of one round's subset. The codes of earlier subsets are frozen."""
    runtime, index = start(params.precision, distributed=True), int(arguments.round) - 1
    subset = read_array(Path(arguments.subset) / "chosen.npy")
    with open_trainer(f"staged-{index + 1}", arguments, params, runtime, arguments.subset) as trainer:
        state = learn_subset(trainer, subset, index)
        return save_trained(trainer, state, arguments.out, curve_in(arguments.curves, state))


if __name__ == "__main__":
    main()
