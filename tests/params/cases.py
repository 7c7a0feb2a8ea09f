"""Params files of the repository, and how tests change their values and ask for the message of an error."""

import copy
import re
from collections.abc import Iterable
from typing import Any

import yaml

from iglo.errors import UserError
from iglo.params.pipeline import parse_params
from tests.tiny import ROOT

FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
COMPARISONS = [ROOT / "comparison/params.yaml", *sorted((ROOT / "comparison/presets").glob("*.yaml"))]
CLASS_CONTENTS = [ROOT / "disentangle/params.yaml", *sorted((ROOT / "disentangle/presets").glob("*.yaml"))]


def values_of(path) -> dict:
    """The values of a params file, without `launch`, which no model has."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values.pop("launch", None)
    return values


def changed(values: dict, key: str, value: Any) -> dict:
    """A copy of `values` with another value at a dotted key."""
    values = copy.deepcopy(values)
    *sections, name = (int(part) if part.isdigit() else part for part in key.split("."))
    inner = values
    for section in sections:
        inner = inner[section]
    inner[name] = value
    return values


def message_of(values: Any, kind: type) -> str:
    """The message of the error for these values, which is one sentence; "accepted" if there is none."""
    try:
        parse_params(values, kind)
    except UserError as error:
        message = str(error)
        assert len(message) < 300 and re.fullmatch(r"[^\n]*[.?]", message), message
        assert not re.search(r"[.?!] [A-Z]", message), message
        return message
    return "accepted"


def check_messages(values: dict, kind: type, cases: Iterable[tuple[str, Any, str]]) -> None:
    """Checks that each change (key, value) leads to its message. A message that begins with "…" is one of the key."""
    wrong = []
    for key, value, expected in cases:
        found, expected = message_of(changed(values, key, value), kind), expected.replace("…", f"{key}: must be ", 1)
        if found != expected:
            wrong.append(f"{key} = {str(value)[:80]}\n  expected: {expected}\n  found:    {found}")
    assert not wrong, "\n" + "\n".join(wrong)
