"""Plain values, as YAML gives them, into frozen dataclasses; a value that does not fit is named by its dotted key.

Ranges are written as `Annotated[type, check]` beside each field.
"""

import dataclasses
import difflib
import math
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from iglo.errors import UserError


@dataclass(frozen=True)
class Check:
    """A requirement in words and as a predicate."""

    words: str
    holds: Any


def at_least(low: float) -> Check:
    return Check(f"at least {low}", lambda value: value >= low)


def above(low: float) -> Check:
    return Check(f"greater than {low}", lambda value: value > low)


def between(low: float, high: float) -> Check:
    return Check(f"from {low} to {high}", lambda value: low <= value <= high)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int, at_least(0)]
Rate = Annotated[float, above(0)]
Weight = Annotated[float, at_least(0)]
Share = Annotated[float, between(0, 1)]
Channels = Annotated[int, Check("1 or 3", lambda v: v in (1, 3))]
ImageSize = Annotated[int, Check("a power of two from 16 to 128", lambda v: _is_power_of_two(v) and 16 <= v <= 128)]


def read_yaml(path: str | Path) -> Any:
    """The values in the YAML file at `path`.

    Raises:
        UserError: no such file, or no YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the params file ({error.strerror}).") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None


def parse(values: Any, kind: type, prefix: str = "") -> Any:
    """A dataclass of `kind` from a mapping.

    Raises:
        UserError: a key is unknown, missing, of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise UserError(f"{prefix or 'params'}: must be a mapping of keys to values, got {values!r}.")
    hints = get_type_hints(kind, include_extras=True)
    dot = f"{prefix}." if prefix else ""
    for key in values:
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            raise UserError(f"{dot}{key}: unknown key" + (f"; did you mean {dot}{close[0]}?" if close else "."))
    for key in hints:
        if key not in values:
            raise UserError(f"{dot}{key}: missing; every key of params.yaml must be given.")
    return kind(**{key: _value(values[key], hint, dot + key) for key, hint in hints.items()})


def _value(value: Any, hint: Any, key: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return parse(value, hint, key)
    if origin in (Union, types.UnionType):  # only `X | None` is used
        return None if value is None else _value(value, get_args(hint)[0], key)
    if origin is Annotated:
        base, check = get_args(hint)
        value = _value(value, base, key)
        if not check.holds(value):
            raise UserError(f"{key}: must be {check.words}, got {value!r}.")
        return value
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise UserError(f"{key}: must be one of {', '.join(map(str, get_args(hint)))}, got {value!r}.")
        return value
    if origin is dict:
        return _mapping(value, get_args(hint)[1], key)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{key}: must be a list, got {value!r}.")
        return tuple(_value(item, get_args(hint)[0], f"{key}.{index}") for index, item in enumerate(value))
    return _scalar(value, hint, key)


def _mapping(values: Any, inner: Any, key: str) -> dict:
    if not isinstance(values, dict):
        raise UserError(f"{key}: must be a mapping of keys to values, got {values!r}.")
    return values if inner is Any else {name: _value(value, inner, f"{key}.{name}") for name, value in values.items()}


def _scalar(value: Any, kind: type, key: str) -> Any:
    words = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}[kind]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a text
        value = _float_or_text(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UserError(f"{key}: must be {words}, got {value!r}.")
    return value


def _float_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
