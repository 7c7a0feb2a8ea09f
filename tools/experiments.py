"""Prints a table of the experiments on the current commit: what they changed, and their main numbers.

The table of `python -m tools.experiments` is at most 120 columns wide. It names the numbers that do not fit.
"""

import json
import re
import signal
import subprocess
import sys
from fnmatch import fnmatchcase
from itertools import groupby, zip_longest
from textwrap import fill
from typing import Any, NamedTuple

from iglo.report.headline import HEADLINE

WIDTH = 120
GAP = "  "


class Row(NamedTuple):
    """One experiment."""

    name: str
    params: dict[str, Any]  # by dotted key
    numbers: dict[str, float]


class Column(NamedTuple):
    """A column: the first part of its key, the other lines of its heading, and a cell for each row."""

    section: str
    heading: list[str]
    cells: list[str]

    @property
    def width(self) -> int:
        return max(map(len, self.heading + self.cells))


def rows(shown: list[dict]) -> list[Row]:
    """Returns the rows in the output of `dvc exp show --json`: the workspace, then each commit and its experiments."""
    found = []
    for commit in shown:
        found.append(_row(commit.get("name") or commit["rev"], commit))
        for experiment in commit.get("experiments") or []:
            last = experiment["revs"][0]
            state = (experiment.get("executor") or {}).get("state", "success")
            name = experiment.get("name") or last["rev"][:7]
            found.append(_row(f"- {name}" + ("" if state == "success" else f" ({state})"), last))
    return found


def _row(name: str, state: dict) -> Row:
    data = state.get("data") or {}
    sections = [{}, {}]
    for values, kind in zip(sections, ("params", "metrics"), strict=True):
        for file in (data.get(kind) or {}).values():
            values |= _flat(file.get("data") or {})
    return Row(name, *sections)


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Returns every leaf of nested dicts by its dotted key."""
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, inner in value.items() for k, v in _flat(inner, f"{key}.{name}".lstrip(".")).items()}


def table(found: list[Row], width: int = WIDTH) -> str:
    """Returns the table: names, params that differ between rows, then as many numbers as fit into `width`."""
    keys = {key: None for row in found for key in row.params}
    changed = [key for key in keys if len({repr(row.params.get(key)) for row in found if row.params}) > 1]
    columns = [Column("", ["experiment"], [row.name for row in found])]
    for key in changed:
        section, _, name = key.rpartition(".")
        columns.append(Column(section, [name], [_text(row.params.get(key)) for row in found]))
    left_out = []
    for pattern in HEADLINE:
        section, *heading = re.split("[._]", pattern.removesuffix("_*"))
        column = Column(section, heading, [_number(row, pattern) for row in found])
        fits = not left_out and max(map(len, _lines([*columns, column]))) <= width
        (columns.append(column) if fits else left_out.append(pattern.removesuffix("_*")))
    text = "\n".join(line.rstrip() for line in _lines(columns))
    if left_out:
        text += "\n" + fill(
            f"Not shown, because there is no room: {', '.join(left_out)}; `dvc metrics diff A B` has them.", width
        )
    return text


def _number(row: Row, pattern: str) -> str:
    values = [value for key, value in row.numbers.items() if fnmatchcase(key, pattern)]
    return f"{values[0]:#.3g}" if values and isinstance(values[0], int | float) else "-"


def _text(value: Any) -> str:
    """Returns a value of params in at most 16 characters."""
    text = "-" if value is None else str(value)
    return text if len(text) <= 16 else f"{text[:15]}…"


def _lines(columns: list[Column]) -> list[str]:
    """Returns the lines of the table: the sections above their columns, the headings, and the rows."""
    widths = [column.width for column in columns]
    sections, place = [], 0
    for section, group in groupby(columns, key=lambda column: column.section):
        last = place + len(list(group)) - 1
        missing = len(section) - sum(widths[place : last + 1]) - len(GAP) * (last - place)
        widths[last] += max(missing, 0)
        sections.append(section.ljust(sum(widths[place : last + 1]) + len(GAP) * (last - place)))
        place = last + 1
    height = max(len(column.heading) for column in columns)
    headings = zip(*([""] * (height - len(column.heading)) + column.heading for column in columns), strict=True)
    cells = zip_longest(*(column.cells for column in columns))
    rule = ["-" * width for width in widths]
    body = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in [*headings, rule, *cells]]
    return [GAP.join(line) for line in [sections, *body]]


def main() -> None:
    """Asks DVC and prints the table."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader such as `head` may stop early
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        sys.exit(result.returncode)
    print(table(rows(json.loads(result.stdout))))


if __name__ == "__main__":
    main()
