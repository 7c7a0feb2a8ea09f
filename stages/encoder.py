"""The encoder: from an image to its code."""

from types import SimpleNamespace

from iglo.files import whole_folder, write_json
from iglo.images import ImageStore
from iglo.model import Model, save_network
from iglo.params import Params
from iglo.recipes import learn_encoder
from iglo.runtime import start
from stages.common import Work, stage
from stages.learning import checkpoint_folder, write_log


@stage("images", "model", "out", "curve")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns to invert the generator; the epoch that is best on held-out training images is kept."""
    runtime = start(params.precision)
    images = ImageStore.open(arguments.images).train
    model = Model.load(arguments.model, runtime)
    with checkpoint_folder("encoder", params, arguments.images, arguments.model) as checkpoints:
        progress = learn_encoder(model, images, params, runtime, checkpoints)
        write_log(arguments.curve, progress.rows)
        with whole_folder(arguments.out) as out:
            save_network(model.encoder, out / "encoder.safetensors")
            write_json(out / "encoder.json", {"width": params.encoder.width, "log": progress.rows})
    return Work(progress.presented, progress.earlier_seconds)


if __name__ == "__main__":
    main()
