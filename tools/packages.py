"""Draws the packages of iglo and their imports: docs/packages.svg.

`python -m tools.packages` writes the picture. With `--check` it changes nothing and fails when the picture is out of
date. An arrow goes from a package down to a package that it imports. An arrow that follows from others is left out.
"""

import ast
import sys
from html import escape
from pathlib import Path

from stages.imports import ROOT, source
from tools.draw import Graph, line, reduced, svg, write_or_check

LIBRARY = ROOT / "src" / "iglo"
PICTURE = ROOT / "docs" / "packages.svg"
TOP = "top level"  # the modules that lie beside the packages
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 250, 58, 46, 44, 16  # px: size of boxes, space between them, and margin
LETTERS = 40  # most letters in a line of small text in a box


def graph() -> Graph:
    """Returns the packages that each package imports, without `iglo` and `__main__`, which only lead to others."""
    needs: Graph = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        if path.relative_to(LIBRARY).as_posix() not in ("__init__.py", "__main__.py"):
            needs.setdefault(package_of(path), set()).update(
                package_of(other)
                for other in source(path).imports
                if other.is_relative_to(LIBRARY) and other != LIBRARY / "__init__.py"
            )
    return {name: others - {name} for name, others in needs.items()}


def package_of(path: Path) -> str:
    """Returns the package of a module's file."""
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else TOP


def picture(needs: Graph) -> str:
    """Returns the picture as SVG. A package is above the packages that it imports."""
    direct = reduced(needs)
    layers = {name: depth(name, direct) for name in direct}
    rows = [sorted(name for name in direct if layers[name] == layer) for layer in range(max(layers.values()), -1, -1)]
    width = 2 * MARGIN + max(len(row) for row in rows) * (WIDTH + ACROSS) - ACROSS
    places: dict[str, tuple[int, int]] = {}
    for index, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + ACROSS) + ACROSS) // 2
        for column, name in enumerate(row):
            places[name] = left + column * (WIDTH + ACROSS), MARGIN + index * (HEIGHT + DOWN)
    height = 2 * MARGIN + len(rows) * (HEIGHT + DOWN) - DOWN
    arrows = [_arrow(places[name], places[other]) for name in sorted(direct) for other in sorted(direct[name])]
    return svg(width, height, arrows + [_box(name, *places[name]) for name in sorted(places)])


def depth(name: str, needs: Graph) -> int:
    """Returns the number of imports on the longest way from a package to one that imports nothing."""
    return max((depth(other, needs) + 1 for other in needs[name]), default=0)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Returns a curve from the lower edge of a box to the upper edge of a box below it."""
    (x, y), (to_x, to_y) = (start[0] + WIDTH // 2, start[1] + HEIGHT), (end[0] + WIDTH // 2, end[1])
    return line(f"{x} {y} C{x} {y + DOWN} {to_x} {to_y - DOWN} {to_x} {to_y}")


def _box(name: str, x: int, y: int) -> str:
    middle = x + WIDTH // 2
    lines = "".join(
        f'<text x="{middle}" y="{y + 36 + 14 * index}" text-anchor="middle" font-size="11" fill="#555">'
        f"{escape(text)}</text>\n"
        for index, text in enumerate(_wrapped(_purpose(name)))
    )
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3fa" stroke="#456"/>\n'
        f'<text x="{middle}" y="{y + 19}" text-anchor="middle">{escape(name)}</text>\n{lines}'
    ).rstrip()


def _purpose(name: str) -> str:
    """Returns the first line of a package's docstring; for the top level, the names of its modules."""
    if name == TOP:
        return ", ".join(sorted(path.stem for path in LIBRARY.glob("*.py") if not path.stem.startswith("_")))
    text = (LIBRARY / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].rstrip(".").replace("`", "")


def _wrapped(text: str) -> list[str]:
    """Returns the text in one line, or in two of about equal length."""
    if len(text) <= LETTERS:
        return [text]
    spaces = [place for place, letter in enumerate(text) if letter == " "]
    cut = min(spaces, key=lambda place: abs(place - len(text) // 2))
    return [text[:cut], text[cut + 1 :]]


def main(argv: list[str]) -> int:
    """Writes the picture, or returns 1 with `--check` when it is out of date."""
    return write_or_check(PICTURE, picture(graph()), argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
