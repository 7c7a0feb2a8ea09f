"""Writes Markdown: tables, and texts of unknown origin (names of classes, folders, files)."""

import re
from collections.abc import Iterable, Sequence

from iglo.errors import shown

MARKS = re.compile(r"([\\`*_{}\[\]#|~])")  # Markdown's special characters; a backslash makes them plain


def markdown(text: object) -> str:
    """Escapes a text so that Markdown, also in a table, shows it literally; HTML is escaped too."""
    escaped = MARKS.sub(r"\\\1", shown(str(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Returns the lines of a Markdown table. Cells are not escaped: use `markdown` for texts of unknown origin."""
    head, *body = [f"| {' | '.join(map(str, cells))} |" for cells in (heads, *rows)]
    return [head, "|---" * len(heads) + "|", *body]
