"""Texts of unknown origin (names of classes, folders, files) in Markdown."""

import re

from iglo.errors import shown

MARKS = re.compile(r"([\\`*_{}\[\]#|~])")  # those of Markdown; after a backslash they are what they look like


def markdown(text: object) -> str:
    """The text as Markdown shows it literally, in a sentence or a cell of a table; HTML in it is no HTML."""
    escaped = MARKS.sub(r"\\\1", shown(str(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
