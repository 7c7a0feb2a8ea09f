"""Trains the encoder of one run of the comparison: one method with one seed."""

from types import SimpleNamespace

from iglo.params.comparison import Comparison
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from iglo.training.loop import RunState
from stages.common import Work, stage
from stages.learning import open_trainer, save_trained


@stage("method", "seed", "images", "model", "out", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> Work | None:
    """Trains the encoder. A model that already has an encoder is written unchanged."""
    params = comparison.params(arguments.method, int(arguments.seed))
    name = f"compare-encode-{arguments.method}-{arguments.seed}"
    with open_trainer(name, arguments, params, start(params.precision)) as trainer:
        has_encoder = trainer.model.encoder is not None
        work = save_trained(trainer, RunState() if has_encoder else learn_encoder(trainer), arguments.out)
    return None if has_encoder else work


if __name__ == "__main__":
    main()
