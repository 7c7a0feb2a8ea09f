"""The committed reports: the code writes the same text, and the same numbers from the committed metrics."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from iglo.comparison.claims import CLAIMS
from iglo.comparison.figures import CAPTIONS
from iglo.comparison.report import report_text
from iglo.comparison.runs import TARGET, Measured, Reference, rows_of
from iglo.comparison.tables import TABLES, table_lines
from iglo.params.comparison import Comparison
from iglo.params.reading import load_params
from tests import pipeline

FOLDER = pipeline.ROOT / "comparison"
NUMBER_OR_VERDICT = re.compile(r"-?\d[\d,.]*\d|\d|\*\*(holds|does not hold)\*\*[^:]*")
OF_SETS = ("kd", "fd", "precision", "recall", "density", "coverage", "novelty", "copy_rate")
TO_TARGET = ("images_seen_to_target", "seconds_to_target")  # infinite where a row never reaches it


def at_64() -> Comparison:
    """The preset without the methods that its committed report leaves out."""
    every = load_params(FOLDER / "presets" / "frogs-64.yaml", Comparison)
    return replace(
        every,
        run=["glo", "incremental", "continuity"],
        joint=[],
        measure=replace(every.measure, other_judges=[]),
    )


@pytest.fixture(scope="module", params=["", "frogs-64"])
def committed(request) -> tuple[Path, Comparison]:
    """The folder of a report, and what it compares."""
    return FOLDER / request.param, at_64() if request.param else load_params(FOLDER / "params.yaml", Comparison)


def metrics_in(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def without_numbers(text: str) -> list[str]:
    """The lines of a report with # for numbers, verdicts and the cells of tables; heads and titles stay."""
    lines, heads = [], True
    for line in text.splitlines():
        cells = line.split(" | ")
        lines.append(" | ".join([cells[0], *["#"] * (len(cells) - 1)]) if cells[1:] and not heads else line)
        heads = not line.startswith("|")
    return [NUMBER_OR_VERDICT.sub("#", line) for line in lines]


def measured_like(folder: Path, comparison: Comparison) -> Measured:
    """Runs with the metrics of a committed report, and other numbers."""
    text, metrics = (folder / "report.md").read_text(), metrics_in(folder)
    rows, any_number = rows_of(comparison), np.array([1.0, 2.0, 3.0])
    unsaved = {"samples.se.kd", "midpoints.se.kd", *(TO_TARGET if TARGET in metrics else ())}
    values = {row.name: dict.fromkeys({*metrics[row.name], *unsaved}, any_number) for row in rows}
    judge, trained_on = re.search(r"\*judge\*: (\S+)\. .* another network, (\S+)\.", text).groups()
    about = {"feature_network": judge, "trained_on": trained_on, "image_size": 4, "budget": 1}
    about["machine"] = re.search(r"Machine: (.*)\.$", text, re.MULTILINE)[1]
    about["counts"] = dict.fromkeys(("train", "validation", "test", "samples", "midpoints", "reconstructions"), 1)
    about["other_judges"] = re.findall(r"; other judge: (\S+)\)", text)
    recognised = {"samples.recognised"} & metrics["glo"].keys()
    bound = dict.fromkeys([*(f"samples.{name}" for name in OF_SETS), *recognised], 1.0)
    split = dict.fromkeys(("coverage", "coverage_random", "distance", "distance_random"), 1.0)
    reference = Reference(about, {"real": bound, "noise": bound}, split, None, None)
    runs = {row.name: [SimpleNamespace(prior="imle")] for row in rows}
    return Measured(rows, comparison.seeds, runs, values, reference)


def test_the_committed_report_is_what_the_code_writes_but_for_its_numbers(committed):
    folder, comparison = committed
    discussion = (folder / "discussion.md").read_text()
    written = report_text(measured_like(folder, comparison), CLAIMS, list(CAPTIONS), discussion)
    assert without_numbers((folder / "report.md").read_text()) == without_numbers(written)
    assert {path.stem for path in (folder / "figures").iterdir()} == set(CAPTIONS)


def test_the_committed_tables_show_the_committed_metrics(committed):
    folder, comparison = committed
    text = (folder / "report.md").read_text()
    assert len(comparison.seeds) == 3  # mean and deviation of m - s, m, m + s are m and s
    values = {
        row: {name: number["mean"] + number["std"] * np.array([-1, 0, 1]) for name, number in of_row.items()}
        for row, of_row in metrics_in(folder).items()
    }
    titles = {row.name: row.title for row in rows_of(comparison)}
    assert list(values) == list(titles)
    for table in TABLES:
        if not (lines := table_lines(table, values, titles, {})):
            assert f"### {table.title}\n" not in text
            continue
        shown = columns(text.split(f"### {table.title}\n\n")[1].split("\n\n")[0].splitlines())
        for head, cells in columns(lines).items():
            known = [cell if cell != "–" else never(shown[head][index]) for index, cell in enumerate(cells)]
            assert shown[head][: len(cells)] == known, (table.title, head)


def never(cell: str) -> str:
    """The cell of a number that metrics.json lacks: not measured, or infinite for at least one seed."""
    return cell if cell == "never" or cell.endswith(" of 3 seeds)") else "–"


def columns(lines: list[str]) -> dict[str, list[str]]:
    """The cells below each head of a Markdown table; the head of the first column is empty."""
    head, _, *body = [line[2:-2].split(" | ") for line in lines]
    return {cells[0]: [*cells[1:]] for cells in zip(head, *body, strict=True)}
