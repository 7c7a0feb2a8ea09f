"""The encoders that read class and content from an image."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.model import ClassContentModel
from iglo.files.io import whole_folder
from iglo.params.run_record import RunRecord, prepared_data
from iglo.params.sections import ClassContentParams
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from iglo.training.glo_stages import make_distance
from stages.common import Work, stage
from stages.learning import checkpoint_folder


@stage("images", "model", "out", kind=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Learns the encoders from the codes, then together with the generator."""
    runtime = start(params.precision)
    images = ImageStore.open(arguments.images).train
    model = ClassContentModel.load(arguments.model, runtime)
    distance = make_distance(params, runtime)
    inputs = arguments.images, arguments.model
    with checkpoint_folder("class-content-encoder", params, *inputs) as checkpoints:
        parts = [
            learn_encoder(model, images, params, runtime, checkpoints.part("codes")),
            learn_jointly(model, images, distance, params, runtime, checkpoints.part("joint")),
        ]
        if parts[1].images_seen:
            model.run = RunRecord.of(params, prepared_data(arguments.images))
        with whole_folder(arguments.out) as out:
            model.save(out)
    return Work(sum(part.images_seen for part in parts), sum(part.earlier_seconds for part in parts))


if __name__ == "__main__":
    main()
