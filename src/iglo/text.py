"""Texts of unknown origin (names of classes, folders, files) made safe to show."""

import re

MARKS = re.compile(r"([\\`*_{}\[\]#|~])")  # of Markdown; text becomes what it looks like


def printable(text: object) -> str:
    """The text with an escape for each character that is no letter, sign or space, such as `\\n` and `\\x1b`.

    A terminal would obey some of these characters, and others, such as those of a name that is not UTF-8, cannot be
    written.
    """
    return "".join(each if each.isprintable() else _escape(each) for each in str(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def markdown(text: object) -> str:
    """The text as Markdown shows it literally, in a sentence or a cell of a table; HTML in it is no HTML."""
    escaped = MARKS.sub(r"\\\1", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
