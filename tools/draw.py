"""Draws the stages of dvc.yaml and their dependencies: docs/pipeline.svg.

`python -m tools.draw` writes the picture. With `--check` it changes nothing and fails when the picture is out of date.
A list of stages is one box. An arrow that follows from other arrows is left out. So is the stage `modules`, which comes
before all others.
"""

import re
import sys
from collections import defaultdict
from html import escape
from pathlib import Path
from textwrap import shorten

import yaml

from iglo.params.arrivals import FIRST
from stages.imports import ROOT

PICTURE = ROOT / "docs" / "pipeline.svg"
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 300, 44, 40, 30, 50  # px: size of boxes, space between them, and margin
Graph = dict[str, set[str]]  # stage → stages that it needs


def graph(stages: dict[str, dict]) -> tuple[Graph, set[tuple[str, str]]]:
    """Returns the stages that each stage needs, and pairs (maker, user): the next item of the list needs the maker."""
    makers: dict[str, set[str]] = defaultdict(set)
    for name, stage in stages.items():
        for path in _outs(stage):
            makers[_place(path)].add(name)
    order = list(stages)
    needs: Graph = {name: set() for name in stages}
    next_item = set()
    for name, stage in stages.items():
        deps = _body(stage).get("deps", [])
        deps = [*deps, *(path.replace("${item.after}", FIRST) for path in deps)]  # what the first arrival starts from
        for maker in set().union(*(makers.get(_place(path), set()) for path in deps)):
            if order.index(maker) < order.index(name):
                needs[name].add(maker)
            else:
                next_item.add((maker, name))
    return reduced(needs), next_item


def _body(stage: dict) -> dict:
    return stage.get("do", stage)


def _outs(stage: dict) -> list[str]:
    """Returns the paths of the outputs of a stage, without times."""
    entries = [entry for key in ("outs", "metrics", "plots") for entry in _body(stage).get(key, [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [path for path in paths if not path.startswith("reports/timing") and "/timing/" not in path]


def _place(path: str) -> str:
    """Returns a path without the item of a list: models/staged/0 and models/staged/${item.id} are models/staged.

    An item within a name is ID.
    """
    path = re.sub(r"(?<=[^/])\$\{[^}]*\}|\$\{[^}]*\}(?=/)", "ID", path)
    return re.sub(r"/(\$\{[^}]*\}|\d+)$", "", path)


def reduced(needs: Graph) -> Graph:
    """Returns the graph without needs that follow from others: if a needs b and b needs c, a → c is left out."""

    def reached(name: str) -> set[str]:
        return needs[name].union(*(reached(inner) for inner in needs[name]))

    return {
        name: {each for each in direct if not any(each in reached(other) for other in direct)}
        for name, direct in needs.items()
    }


def picture(stages: dict[str, dict]) -> str:
    """Returns the picture as SVG."""
    needs, next_item = graph(stages)
    layers: dict[str, int] = {}
    for name in stages:  # a stage is listed after the stages that it needs
        layers[name] = max((layers[each] + 1 for each in needs[name]), default=0)
    columns = {name: [each for each in stages if layers[each] == layers[name]].index(name) for name in stages}
    places = {name: (MARGIN + columns[name] * (WIDTH + ACROSS), 10 + layers[name] * (HEIGHT + DOWN)) for name in stages}
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + 10
    parts = [_box(name, stages[name], *places[name]) for name in stages]
    parts += [_arrow(places[maker], places[name]) for name in stages for maker in sorted(needs[name])]
    parts += [_way_back(places[maker], places[name]) for maker, name in sorted(next_item)]
    return svg(width, height, parts)


def svg(width: int, height: int, parts: list[str]) -> str:
    """Returns an SVG of the parts on white; it defines the tip of the arrows."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="15">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _box(name: str, stage: dict, x: int, y: int) -> str:
    made = ", ".join(_shortened([_place(path) for path in _outs(stage) if not path.startswith("reports/curves")]))
    made = shorten(made, 52, placeholder=" …")  # what fits into the box
    many = f" (each {stage['foreach'][2:-2]})" if "foreach" in stage else ""  # ${rounds}: each round
    middle = x + WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3fa" stroke="#456"/>\n'
        f'<text x="{middle}" y="{y + 18}" text-anchor="middle">{escape(name + many)}</text>\n'
        f'<text x="{middle}" y="{y + 36}" text-anchor="middle" font-size="11" fill="#555">{escape(made)}</text>'
    )


def _shortened(paths: list[str]) -> list[str]:
    """Returns the paths, with a folder in place of several files in it."""
    folders = [path.rpartition("/")[0] if "." in path else "" for path in paths]
    short = [
        folder if folder and folders.count(folder) > 1 else path for path, folder in zip(paths, folders, strict=True)
    ]
    return list(dict.fromkeys(short))


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Returns an arrow straight down from the first box, and then across to the second box."""
    (x, y), (to_x, to_y) = start, end
    points = [(x + WIDTH // 2, y + HEIGHT), (x + WIDTH // 2, to_y - DOWN), (to_x + WIDTH // 2, to_y)]
    return line(" L".join(f"{a} {b}" for a, b in dict.fromkeys(points)))


def _way_back(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Returns a dashed curve at the left, from a box up to itself or an earlier one: the next round."""
    (x, y), (to_x, to_y) = start, end
    low, high = y + HEIGHT * 3 // 4, to_y + HEIGHT // 4
    return line(f"{x} {low} C{x - 40} {low} {to_x - 40} {high} {to_x} {high}", ' stroke-dasharray="4 3"')


def line(path: str, more: str = "") -> str:
    return f'<path d="M{path}" fill="none" stroke="#555"{more} marker-end="url(#tip)"/>'


def main(argv: list[str]) -> int:
    """Writes the picture, or returns 1 with `--check` when it is out of date."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    del stages["modules"]
    return write_or_check(PICTURE, picture(stages), argv)


def write_or_check(path: Path, text: str, argv: list[str]) -> int:
    """Writes the file, or returns 1 with `--check` when it is out of date."""
    if "--check" not in argv:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print(f"{path.relative_to(ROOT)} is out of date; `make deps` draws it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
