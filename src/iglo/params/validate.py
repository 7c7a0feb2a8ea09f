"""Makes models from plain values. A wrong value is a UserError: one sentence that begins with the dotted key."""

import difflib
import functools
import re
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from iglo.errors import UserError

# Type of pydantic's error → what the value must be.
WORDS = {
    "dataclass_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "string_unicode": "a text",
    "bool_type": "true or false",
    "greater_than_equal": "at least {ge}",
    "greater_than": "greater than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "need": "{words}",
}
UNKNOWN = ("unexpected_keyword_argument", "invalid_key")
# An unknown key is reported before a missing key, because it may be that key, misspelt.
ORDER = {**dict.fromkeys(UNKNOWN, 0), "missing": 1}

_SHORT = reprlib.Repr()
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxset = 8
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


def parse(values: Any, kind: type, prefix: str = "") -> Any:
    """Returns a dataclass of `kind` with the values of a mapping.

    Args:
        prefix: the dotted key of the mapping, for messages.

    Raises:
        UserError: a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        return _adapter(kind).validate_python(values, extra="forbid")
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=lambda one: ORDER.get(one["type"], 2))
    raise UserError(_sentence(first, kind, prefix))


_adapter = functools.cache(TypeAdapter)


def _sentence(error: dict[str, Any], kind: type, prefix: str) -> str:
    """Returns the message for one of pydantic's errors."""
    *section, last = ("", *error["loc"]) if error["loc"] else ("", "")
    dot = "".join(f"{_named(part)}." for part in (prefix, *section) if part != "")
    if error["type"] in UNKNOWN:
        last = _named(error["input"] if error["type"] == "invalid_key" else last)
        known = [field.name for field in fields(_kind_at(kind, section))]
        close = difflib.get_close_matches(last, known, n=1)
        return f"{dot}{last}: unknown key" + (f"; did you mean {dot}{close[0]}?" if close else ".")
    key = f"{dot}{_named(last)}" if last != "" else prefix or "params"
    if error["type"] == "missing":
        return f"{key}: missing; every key of params.yaml must be given."
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        words = "one of " + ", ".join(re.findall(r"'([^']*)'", context["expected"]))
    elif error["type"] in WORDS:
        words = WORDS[error["type"]].format_map({name: limit or 0 for name, limit in context.items()})  # 0, not 0.0
    else:
        words = error["msg"].removeprefix("Input should be ")
    return f"{key}: must be {words}, got {short_repr(context.get('value', error['input']))}."


def _kind_at(kind: type, place: Sequence[str | int]) -> type:
    """Returns the dataclass at a place within `kind`. Indices of lists and keys of mappings do not change it."""
    for part in place:
        hint = get_type_hints(kind).get(part)
        kind = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), kind)
    return kind


def _named(key: Any) -> str:
    """Returns a key for a message: as it is, or as Python writes it if it is not one short line."""
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 80 else short_repr(key)


def short_repr(value: Any) -> str:
    """Returns a value for a message: as Python writes it, shortened if long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return f"a value that has {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__


@contextmanager
def within(prefix: str) -> Iterator[None]:
    """Puts a prefix, such as `loss.`, before the message of a UserError in the block. The message begins with a key."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from None


def check_different(key: str, values: Sequence[Any], words: str = "values") -> None:
    """Raises UserError if a list is empty or has a value twice."""
    if not values or len(set(values)) < len(values):
        raise UserError(f"{key}: must be one or more different {words}, got {short_repr(list(values))}.")
