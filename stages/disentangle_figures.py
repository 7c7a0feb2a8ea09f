"""Draws the figures of class and content."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.figures import draw_figures
from iglo.disentangle.renders import Renders
from iglo.files.io import whole_folder
from iglo.models.history import History
from iglo.params.class_content import ClassContentParams
from stages.common import stage


@stage("images", "model", "renders", "out", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> None:
    """Draws every figure."""
    store = ImageStore.open(arguments.images)
    history = History.load(arguments.model)
    renders = Renders.load(Path(arguments.renders))
    with whole_folder(arguments.out) as out:
        weights = {"decay": params.decay}
        draw_figures(out, renders, store.images, store.classes, history.snapshots, history.log, weights)


if __name__ == "__main__":
    main()
