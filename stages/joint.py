"""Trains generator and encoder together."""

import shutil
from pathlib import Path
from types import SimpleNamespace

from iglo.files.io import read_json, whole_folder
from iglo.params.pipeline import Params
from iglo.params.run_record import RunRecord, prepared_data
from stages.common import IS_MAIN, Work, stage


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains G(E(x)), while both networks stay near the codes. `encoder.mode: codes` leaves the model unchanged."""
    if params.encoder.mode == "codes" or not params.joint.epochs:
        return copy_model(arguments)
    from iglo.runtime.device import start  # here, because torch takes longer to load than a model to copy
    from iglo.training.encoder_stages import learn_jointly
    from stages.learning import curve_in, open_trainer, save_trained

    with open_trainer("joint", arguments, params, start(params.precision, distributed=True)) as trainer:
        state = learn_jointly(trainer)
        trainer.history.run = RunRecord.of(params, prepared_data(arguments.images))
        return save_trained(trainer, state, arguments.out, curve_in(arguments.curves, state))


def copy_model(arguments: SimpleNamespace) -> Work:
    """Copies the model; the folder of curves stays empty."""
    read_json(Path(arguments.model) / "model.json")  # a missing or damaged model is a user's error
    if IS_MAIN:
        with whole_folder(arguments.out) as folder:
            shutil.copytree(arguments.model, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
        with whole_folder(arguments.curves):
            pass
    return Work(0)


if __name__ == "__main__":
    main()
