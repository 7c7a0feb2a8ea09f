"""The committed report: the code writes the same text, and the same numbers from the committed metrics."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from iglo.comparison.claims import CLAIMS, by_judge
from iglo.comparison.figures import CAPTIONS
from iglo.comparison.report import report_text
from iglo.comparison.runs import Measured, Reference, rows_of
from iglo.comparison.tables import PRIORS, TABLES, table_lines
from iglo.params.comparison import Comparison
from iglo.params.reading import load_params
from tests import pipeline

COMMITTED = pipeline.ROOT / "comparison"
NUMBER_OR_VERDICT = re.compile(r"-?\d[\d,.]*\d|\d|\*\*(holds|does not hold)\*\*[^:]*")


@pytest.fixture(scope="module")
def committed() -> tuple[str, Comparison]:
    return (COMMITTED / "report.md").read_text(), load_params(COMMITTED / "params.yaml", Comparison)


def without_numbers(text: str) -> list[str]:
    """The lines of a report with # for numbers, verdicts and the cells of tables; heads and titles stay."""
    lines, heads = [], True
    for line in text.splitlines():
        cells = line.split(" | ")
        lines.append(" | ".join([cells[0], *["#"] * (len(cells) - 1)]) if cells[1:] and not heads else line)
        heads = not line.startswith("|")
    return [NUMBER_OR_VERDICT.sub("#", line) for line in lines]


OTHER = "resnet18_tiny-imagenet_32px"
ABOUT = {"feature_network": "timm_tf_efficientnet_lite0_imagenet", "trained_on": "vgg16_imagenet", "image_size": 4}
PARTS = ("train", "validation", "test", "samples", "midpoints", "reconstructions")
IN_FEATURES = (".kd", ".recognised", ".samples", ".midpoints", ".ppl", ".jerkiness", ".midpoint_realism")
OF_SETS = ("kd", "fd", "precision", "recall", "density", "coverage", "novelty", "copy_rate", "recognised")


def names_of_all_numbers() -> set[str]:
    """Returns the metrics that the text of the report needs."""
    every = [*CLAIMS, *(by_judge(claim, OTHER) for claim in CLAIMS)]
    sides = [side for claim in every for side in (claim.left, claim.right) if isinstance(side, tuple)]
    names = {name for table in TABLES for name in table.columns if name != "prior"} | {side[1] for side in sides}
    names |= {"samples.se.kd", "midpoints.se.kd", *(f"other_judges.{OTHER}.priors.{name}.kd" for name in PRIORS)}
    # another judge measures no pixels and no encoder
    return {name for name in names if OTHER not in name or name.endswith(IN_FEATURES)}


def test_the_committed_report_is_what_the_code_writes_but_for_its_numbers(committed):
    text, comparison = committed
    rows, any_number = rows_of(comparison), np.array([1.0, 2.0, 3.0])
    values = {row.name: dict.fromkeys(names_of_all_numbers(), any_number) for row in rows}
    about = ABOUT | {"machine": re.search("Machine: (.*)\\.$", text, re.MULTILINE)[1], "other_judges": [OTHER]}
    about |= {"budget": 1, "counts": dict.fromkeys(PARTS, 1)}
    bound = {f"samples.{name}": 1.0 for name in OF_SETS}
    split = dict.fromkeys(("coverage", "coverage_random", "distance", "distance_random"), 1.0)
    reference = Reference(about, {"real": bound, "noise": bound}, split, None, None)
    runs = {row.name: [SimpleNamespace(prior="imle")] for row in rows}
    measured = Measured(rows, comparison.seeds, runs, values, reference)
    written = report_text(measured, CLAIMS, list(CAPTIONS), (COMMITTED / "discussion.md").read_text())
    assert without_numbers(text) == without_numbers(written)
    assert {path.stem for path in (COMMITTED / "figures").iterdir()} == set(CAPTIONS)


def test_the_committed_tables_show_the_committed_metrics(committed):
    text, comparison = committed
    metrics = json.loads((COMMITTED / "metrics.json").read_text())
    assert len(comparison.seeds) == 3  # mean and deviation of m - s, m, m + s are m and s
    values = {
        row: {name: number["mean"] + number["std"] * np.array([-1, 0, 1]) for name, number in of_row.items()}
        for row, of_row in metrics.items()
    }
    titles = {row.name: row.title for row in rows_of(comparison)}
    assert list(values) == list(titles)
    for table in TABLES:
        section = text.split(f"### {table.title}\n\n")[1].split("\n\n")[0]
        shown = columns(section.splitlines())
        for head, cells in columns(table_lines(table, values, titles, {})).items():
            assert shown[head][: len(cells)] == cells, (table.title, head)


def columns(lines: list[str]) -> dict[str, list[str]]:
    """The cells below each head of a Markdown table; the head of the first column is empty."""
    head, _, *body = [line[2:-2].split(" | ") for line in lines]
    return {cells[0]: [*cells[1:]] for cells in zip(head, *body, strict=True)}
