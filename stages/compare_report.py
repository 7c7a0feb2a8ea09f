"""The comparison as one report: tables, claims and figures."""

from pathlib import Path
from types import SimpleNamespace

from iglo.comparison.claims import CLAIMS
from iglo.comparison.report import write_report
from iglo.comparison.runs import Folders, Row
from iglo.data.store import ImageStore
from iglo.files.io import whole_folder, write_json
from iglo.params.sections import Comparison
from stages.common import stage


@stage("images", "measured", "curves", "times", "discussion", "report", "figures", "metrics", kind=Comparison)
def main(arguments: SimpleNamespace, comparison: Comparison) -> None:
    """Writes the report of all methods and seeds."""
    rows = [Row(name, comparison.methods[name].title, comparison.methods[name].about, name) for name in comparison.run]
    for name in comparison.joint:
        title = f"{comparison.methods[name].title}, joint"
        rows.append(Row(f"{name}_joint", title, "… and then generator and encoder together", name))
    folders = Folders(Path(arguments.measured), Path(arguments.curves), Path(arguments.times))
    discussion = Path(arguments.discussion).read_text(encoding="utf-8")
    images, seeds = ImageStore.open(arguments.images).train, comparison.seeds
    with whole_folder(arguments.figures) as figures:
        values = write_report(Path(arguments.report), figures, folders, rows, seeds, images, CLAIMS, discussion)
    write_json(arguments.metrics, values)


if __name__ == "__main__":
    main()
