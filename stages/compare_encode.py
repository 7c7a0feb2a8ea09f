"""The encoder of one method of the comparison with one seed."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.files.io import whole_folder
from iglo.models.glo import Model
from iglo.params.sections import Comparison
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from stages.common import Work, stage
from stages.learning import checkpoint_folder


@stage("method", "seed", "images", "model", "out", kind=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> Work | None:
    """Learns to invert the generator; a model that has its encoder already passes through."""
    params = comparison.params(arguments.method, int(arguments.seed))
    runtime = start(params.precision)
    images = ImageStore.open(arguments.images).train
    model = Model.load(arguments.model, runtime)
    inputs = arguments.images, arguments.model
    with checkpoint_folder(f"compare-encode-{arguments.method}-{arguments.seed}", params, *inputs) as checkpoints:
        progress = learn_encoder(model, images, params, runtime, checkpoints) if model.encoder is None else None
        with whole_folder(arguments.out) as out:
            model.save(out)
    return Work(progress.images_seen, progress.earlier_seconds) if progress else None


if __name__ == "__main__":
    main()
