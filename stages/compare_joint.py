"""Trains generator and encoder of one run of the comparison together: one method with one seed."""

from types import SimpleNamespace

from iglo.params.comparison import Comparison
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_jointly
from stages.common import Work, stage
from stages.learning import open_trainer, save_trained


@stage("method", "seed", "images", "model", "out", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> Work:
    """Trains G(E(x)), while both networks stay near the codes."""
    params = comparison.params(arguments.method, int(arguments.seed))
    name = f"compare-joint-{arguments.method}-{arguments.seed}"
    with open_trainer(name, arguments, params, start(params.precision)) as trainer:
        return save_trained(trainer, learn_jointly(trainer), arguments.out)


if __name__ == "__main__":
    main()
