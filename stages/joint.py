"""Trains generator and encoder together."""

from types import SimpleNamespace

from iglo.params.pipeline import Params
from iglo.params.run_record import RunRecord, prepared_data
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_jointly
from stages.common import Work, stage
from stages.learning import curve_in, open_trainer, save_trained


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains G(E(x)), while both networks stay near the codes. `encoder.mode: codes` leaves the model unchanged."""
    with open_trainer("joint", arguments, params, start(params.precision, distributed=True)) as trainer:
        state = learn_jointly(trainer)
        if state.images_seen:
            trainer.history.run = RunRecord.of(params, prepared_data(arguments.images))
        return save_trained(trainer, state, arguments.out, curve_in(arguments.curves, state))


if __name__ == "__main__":
    main()
