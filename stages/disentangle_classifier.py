"""Trains the classifier that predicts the class of an image."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import learn_classifier
from iglo.files.io import whole_folder
from iglo.params.class_content import ClassContentParams
from iglo.runtime.device import start
from stages.common import Work, stage
from stages.learning import checkpoint_folder


@stage("images", "out", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Trains the classifier on images that are used nowhere else in the pipeline."""
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    with checkpoint_folder("class-classifier", params, arguments.images) as checkpoints:
        classifier, state = learn_classifier(store, params, runtime, checkpoints)
        with whole_folder(arguments.out) as out:
            classifier.save(out)
    return Work(state.images_seen, state.earlier_seconds)


if __name__ == "__main__":
    main()
