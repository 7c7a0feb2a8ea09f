"""Writes the report of the comparison: claims, tables and figures."""

from pathlib import Path
from types import SimpleNamespace

from iglo.comparison.claims import CLAIMS
from iglo.comparison.report import write_report
from iglo.comparison.runs import Folders, Measured, rows_of
from iglo.data.store import ImageStore
from iglo.files.io import whole_folder, write_json
from iglo.params.comparison import Comparison
from stages.common import stage


@stage("images", "measured", "curves", "times", "discussion", "report", "figures", "metrics", params_type=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> None:
    """Writes the report of all methods and seeds."""
    folders = Folders(Path(arguments.measured), Path(arguments.curves), Path(arguments.times))
    discussion = Path(arguments.discussion)
    text = discussion.read_text(encoding="utf-8") if discussion.exists() else ""
    measured = Measured.load(folders, rows_of(comparison), comparison.seeds)
    images = ImageStore.open(arguments.images).train
    with whole_folder(arguments.figures) as figures:
        values = write_report(Path(arguments.report), figures, measured, images, CLAIMS, text)
    write_json(arguments.metrics, values)


if __name__ == "__main__":
    main()
