"""Trains class codes, content codes and their generator."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.model import learn_class_content, start_class_content
from iglo.params.class_content import ClassContentParams
from iglo.params.run_record import RunRecord, prepared_data
from iglo.runtime.device import start
from iglo.training.trainer import Trainer
from stages.common import Work, stage
from stages.learning import checkpoint_folder, save_trained


@stage("images", "out", "curve", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Trains one code per class, one code per image, and a generator of both."""
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    images, labels = store.train, store.label_ids[: store.parts.train]
    model, history = start_class_content(images, labels, store.classes, params, runtime)
    with checkpoint_folder("class-content", params, arguments.images) as checkpoints:
        trainer = Trainer(model, images, history, params, runtime, checkpoints)
        state = learn_class_content(trainer)
        history.run = RunRecord.of(params, prepared_data(arguments.images))
        return save_trained(trainer, state, arguments.out, arguments.curve)


if __name__ == "__main__":
    main()
