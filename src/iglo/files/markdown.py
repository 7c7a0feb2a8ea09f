"""Escapes texts from users (names of classes, folders, files) for Markdown."""

import re

from iglo.errors import shown

MARKS = re.compile(r"([\\`*_{}\[\]#|~])")  # Markdown's special characters; a backslash makes them plain


def markdown(text: object) -> str:
    """Escapes a text so that Markdown, also in a table, shows it literally; HTML is escaped too."""
    escaped = MARKS.sub(r"\\\1", shown(str(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
