"""Adds an entry to a list in the text of a params file, and keeps comments and layout."""

import json
from collections.abc import Mapping

from ruamel.yaml import YAML, MappingNode, Node, SequenceNode

from iglo.errors import UserError
from iglo.params.reading import parse_yaml


def with_entry(text: str, key: str, entry: Mapping[str, str], where: str) -> str:
    """Returns the text of a params file with one more entry at the end of a list.

    The entry is one line, `- {…}`. A list that is missing is added at the end of the file. All other lines stay.

    Args:
        text: a valid params file.
        key: of the list, at the top level.
        where: the beginning of messages.

    Raises:
        UserError: the file is written in a way that allows no such line.
    """
    values, item = parse_yaml(text, where), _written(entry)
    wanted = {**values, key: [*values.get(key, ()), dict(entry)]}
    try:
        changed = _changed(text, key, item)
        if repr(parse_yaml(changed, where)) == repr(wanted):  # repr, because .nan is not equal to itself
            return changed
    except UserError:
        pass
    raise UserError(f"{where}: cannot add a line to {key} as it is written; add it by hand: - {item}")


def _written(entry: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in entry.items()) + "}"


def _scalar(value: str) -> str:
    """Returns a text for YAML, in quotes if it would not be read as this text without them."""
    try:
        if parse_yaml(f"[{{key: {value}}}]", "") == [{"key": value}]:
            return value
    except UserError:
        pass
    return json.dumps(value, ensure_ascii=False)


def _changed(text: str, key: str, item: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    found = _list_at(text, key)
    if found is None:
        return _with_line(text, len(text), f"{key}:{newline}- {item}", newline)
    start, end = found.start_mark.index, found.end_mark.index
    if not found.value:  # [], which makes room for lines; a comment behind it stays where it is
        stop = _end_of_line(text, end)
        line = (text[:start] + " " * (end - start) + text[end:stop]).rstrip(" \t")
        return _with_line(line + text[stop:], len(line), f"- {item}", newline)
    if found.flow_style:  # [{…}, {…}]
        end = found.value[-1].end_mark.index
        return f"{text[:end]}, {item}{text[end:]}"
    dash = " " * found.start_mark.column + "- "
    return _with_line(text, _end_of_line(text, _last(found).end_mark.index), dash + item, newline)


def _list_at(text: str, key: str) -> SequenceNode | None:
    for name, value in YAML(typ="safe", pure=True).compose(text).value:
        if name.value == key and isinstance(value, SequenceNode):
            return value
    return None


def _last(node: Node) -> Node:
    """Returns the last value in a node. The node itself ends where the next key begins, behind comments."""
    while isinstance(node, (MappingNode, SequenceNode)) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def _end_of_line(text: str, start: int) -> int:
    """Returns the index of the end of the line that `start` is in, before its newline."""
    stop = text.find("\n", start)
    stop = len(text) if stop < 0 else stop
    return stop - (text[start:stop].endswith("\r"))


def _with_line(text: str, place: int, line: str, newline: str) -> str:
    """Returns the text with one more line behind the line that ends at `place`."""
    if place < len(text):
        return text[:place] + newline + line + text[place:]
    return text + (newline if text and not text.endswith("\n") else "") + line + newline
