"""The pictures of class and content."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.report import draw_figures, load_renders
from iglo.files.io import whole_folder
from iglo.models.history import History
from iglo.params.sections import ClassContentParams
from stages.common import stage


@stage("images", "model", "renders", "out", kind=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> None:
    """Draws every figure."""
    store = ImageStore.open(arguments.images)
    history = History.load(arguments.model)
    drawn = load_renders(Path(arguments.renders))
    with whole_folder(arguments.out) as out:
        weights = {"decay": params.decay}
        draw_figures(out, drawn, store.images, store.classes, history.snapshots, history.log, weights)


if __name__ == "__main__":
    main()
