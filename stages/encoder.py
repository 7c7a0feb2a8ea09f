"""The encoder: from an image to its code."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.models.glo import Model
from iglo.params.sections import Params
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from stages.common import Work, stage
from stages.learning import checkpoint_folder, curve_in, keep


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns to invert the generator; the epoch that is best on held-out training images is kept."""
    runtime = start(params.precision, distributed=True)
    images = ImageStore.open(arguments.images).train
    model = Model.load(arguments.model, runtime)
    with checkpoint_folder("encoder", params, arguments.images, arguments.model, runtime=runtime) as checkpoints:
        progress = learn_encoder(model, images, params, runtime, checkpoints)
        return keep(model, progress, arguments.out, curve_in(arguments.curves, progress), runtime)


if __name__ == "__main__":
    main()
