"""Generator and encoder, polished together."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.models.glo import Model
from iglo.params.run_record import RunRecord, prepared_data
from iglo.params.sections import Params
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_jointly
from iglo.training.glo_stages import make_distance
from stages.common import Work, stage
from stages.learning import checkpoint_folder, curve_in, keep


@stage("images", "model", "out", "curves")
def main(arguments: SimpleNamespace, params: Params) -> Work:
    """Learns G(E(x)) while both keep to the codes; with `encoder.mode: codes` the model passes through."""
    runtime = start(params.precision, distributed=True)
    images = ImageStore.open(arguments.images).train
    model = Model.load(arguments.model, runtime)
    distance = make_distance(params, runtime)
    with checkpoint_folder("joint", params, arguments.images, arguments.model, runtime=runtime) as checkpoints:
        progress = learn_jointly(model, images, distance, params, runtime, checkpoints)
        if progress.images_seen:
            model.run = RunRecord.of(params, prepared_data(arguments.images))
        return keep(model, progress, arguments.out, curve_in(arguments.curves, progress), runtime)


if __name__ == "__main__":
    main()
