"""Trains and measures one run of a study: class and content with one value params_of_run."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier
from iglo.disentangle.measure import measure
from iglo.disentangle.model import learn_class_content, start_class_content
from iglo.disentangle.renders import make_renders
from iglo.disentangle.sweep import params_of_run, save_run
from iglo.files.io import whole_folder
from iglo.params.class_content import ClassContentParams
from iglo.params.reading import parse_yaml
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from iglo.training.trainer import Trainer
from stages.common import Work, stage
from stages.learning import checkpoint_folder


@stage("study", "value", "images", "classifier", "out", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Trains codes, generator and encoder with one value params_of_run, and measures them."""
    params = params_of_run(params, arguments.study, parse_yaml(arguments.value, "--value"))
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    images, labels = store.train, store.label_ids[: store.parts.train]
    classifier = Classifier.load(arguments.classifier, params.data.image_size, params.data.channels, runtime)
    model, history = start_class_content(images, labels, store.classes, params, runtime)
    with checkpoint_folder("class-content-sweep", params, arguments.images) as checkpoints:
        trainer = Trainer(model, images, history, params, runtime, checkpoints)
        state = learn_class_content(trainer.inside("train"))
        learn_encoder(trainer.inside("encoder"))
        renders = make_renders(model, store, params, runtime)
        values = measure(renders, model, store, classifier, params, runtime)
        with whole_folder(arguments.out) as out:
            save_run(out, renders, values, state.rows)
    return Work(state.images_seen, state.earlier_seconds)


if __name__ == "__main__":
    main()
