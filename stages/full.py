"""Trains the generator and all codes on all images, with the noise term that makes the generator continuous."""

from types import SimpleNamespace

from iglo.params.pipeline import Params
from iglo.params.run_record import RunRecord, prepared_data
from iglo.runtime.device import start
from iglo.training.glo_stages import learn_all
from stages.common import Work, stage
from stages.learning import curve_in, open_trainer, save_trained


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains the generator and all codes, from clean and from noisy codes."""
    with open_trainer("full", arguments, params, start(params.precision, distributed=True)) as trainer:
        state = learn_all(trainer)
        trainer.history.run = RunRecord.of(params, prepared_data(arguments.images))
        return save_trained(trainer, state, arguments.out, curve_in(arguments.curves, state))


if __name__ == "__main__":
    main()
