"""Writes the report of all studies of class and content."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.disentangle.sweep import write_sweep_report
from iglo.files.io import whole_folder, write_json
from iglo.params.class_content import ClassContentParams
from stages.common import stage


@stage("images", "runs", "report", "figures", "metrics", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> None:
    """Writes tables and figures of all studies."""
    store = ImageStore.open(arguments.images)
    with whole_folder(arguments.figures) as figures:
        values = write_sweep_report(Path(arguments.report), figures, Path(arguments.runs), params, store)
    write_json(arguments.metrics, values)


if __name__ == "__main__":
    main()
