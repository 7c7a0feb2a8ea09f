"""Measures how well class and content are separated, and writes the images for the figures."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier
from iglo.disentangle.measure import measure
from iglo.disentangle.renders import make_renders
from iglo.files.io import whole_folder, write_json
from iglo.models.glo import GLOModel
from iglo.params.class_content import ClassContentParams
from iglo.params.run_record import OF, folder_digest
from iglo.runtime.device import start
from stages.common import stage


@stage("images", "model", "classifier", "out", "metrics", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> int:
    """Renders reconstructions, conversions and random content, and measures them."""
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    model = GLOModel.load(arguments.model, runtime, "class_content")
    classifier = Classifier.load(arguments.classifier, params.data.image_size, params.data.channels, runtime)
    renders = make_renders(model, store, params, runtime)
    values = measure(renders, model, store, classifier, params, runtime)
    with whole_folder(arguments.out) as out:
        renders.save(out)
        write_json(out / "metrics.json", {**values, OF: {"model": folder_digest(arguments.model)}})
    write_json(arguments.metrics, values)
    return len(store.images)


if __name__ == "__main__":
    main()
