"""What class and content have been told apart: numbers, and images to be shown."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier
from iglo.disentangle.renders import measure, renders
from iglo.disentangle.report import save_renders
from iglo.files.io import whole_folder, write_json
from iglo.models.glo import GLOModel
from iglo.params.run_record import OF, folder_digest
from iglo.params.sections import ClassContentParams
from iglo.runtime.device import start
from stages.common import stage


@stage("images", "model", "classifier", "out", "metrics", kind=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> int:
    """Converts, draws from scratch, and measures."""
    runtime = start(params.precision)
    store = ImageStore.open(arguments.images)
    model = GLOModel.load(arguments.model, runtime)
    classifier = Classifier.load(arguments.classifier, params.data.image_size, params.data.channels, runtime)
    drawn = renders(model, store, params, runtime)
    values = measure(drawn, model, store, classifier, params, runtime)
    with whole_folder(arguments.out) as out:
        save_renders(out, drawn)
        write_json(out / "metrics.json", {**values, OF: {"model": folder_digest(arguments.model)}})
    write_json(arguments.metrics, values)
    return len(store.images)


if __name__ == "__main__":
    main()
