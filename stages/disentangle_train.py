"""Class codes, content codes and their generator."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.model import learn_class_content, start_class_content
from iglo.params.run_record import RunRecord, prepared_data
from iglo.params.sections import ClassContentParams
from iglo.runtime.device import start
from iglo.training.glo_stages import make_distance
from stages.common import Work, stage
from stages.learning import checkpoint_folder, keep


@stage("images", "out", "curve", kind=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Learns one code per class and one per image, with a generator of both."""
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    images, labels = store.train, store.label_ids[: store.train_count]
    model = start_class_content(images, labels, store.classes, params, runtime)
    distance = make_distance(params, runtime)
    with checkpoint_folder("class-content", params, arguments.images) as checkpoints:
        progress = learn_class_content(model, images, distance, params, runtime, checkpoints)
        model.run = RunRecord.of(params, prepared_data(arguments.images))
        return keep(model, progress, arguments.out, arguments.curve, runtime)


if __name__ == "__main__":
    main()
