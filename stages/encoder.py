"""Trains the encoder, which computes the code of an image."""

from types import SimpleNamespace

from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from stages.common import Work, stage
from stages.learning import curve_in, open_trainer, save_trained


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Trains the encoder. The epoch that is best on held-out training images is kept."""
    with open_trainer("encoder", arguments, params, start(params.precision, distributed=True)) as trainer:
        state = learn_encoder(trainer)
        return save_trained(trainer, state, arguments.out, curve_in(arguments.curves, state))


if __name__ == "__main__":
    main()
