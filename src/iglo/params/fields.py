"""Plain values, as YAML gives them, into frozen dataclasses; a value that does not fit is named by its dotted key.

Ranges are written as `Annotated[type, check]` beside each field.
"""

import dataclasses
import difflib
import math
import reprlib
import textwrap
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML, MappingNode, Node, SafeConstructor, ScalarNode
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from iglo.errors import UserError

LONGEST_FILE = 2**17  # characters of a params file; the reader takes a minute for a million
DEEPEST = 100  # levels of a params file; the reader takes minutes for thousands
MOST_VALUES = 100_000  # in a params file, with every alias counted in full
LARGEST_INT = 2**63 - 1


@dataclass(frozen=True)
class Check:
    """A requirement in words and as a predicate."""

    words: str
    holds: Any


def at_least(low: float) -> Check:
    return Check(f"at least {low}", lambda value: value >= low)


def at_most(high: float) -> Check:
    return Check(f"at most {high}", lambda value: value <= high)


def above(low: float) -> Check:
    return Check(f"greater than {low}", lambda value: value > low)


def between(low: float, high: float) -> Check:
    return Check(f"from {low} to {high}", lambda value: low <= value <= high)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


PositiveInt = Annotated[int, at_least(1)]
NonNegativeInt = Annotated[int, at_least(0)]
Rate = Annotated[float, above(0)]
Weight = Annotated[float, at_least(0), at_most(1e6)]  # far beyond, 32-bit losses and codes are infinite
Share = Annotated[float, between(0, 1)]
Channels = Annotated[int, Check("1 or 3", lambda v: v in (1, 3))]
ImageSize = Annotated[int, Check("a power of two from 16 to 128", lambda v: _is_power_of_two(v) and 16 <= v <= 128)]


def read_yaml(path: str | Path) -> Any:
    """The values in the YAML file at `path`.

    Raises:
        UserError: no such file, or no YAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read the params file ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML (byte {error.start} is not UTF-8).") from None
    if len(text) > LONGEST_FILE:
        raise UserError(f"{path}: must be a params file of at most {LONGEST_FILE} characters, got a longer one.")
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a text in YAML 1.2, read as DVC reads it.

    Args:
        where: the beginning of messages.

    Raises:
        UserError: it is not YAML, a key is given twice, or aliases stand for too many values.
    """
    reader = YAML(typ="safe")
    reader.Constructor = _Constructor
    reader.Composer = _Composer
    try:
        if "&" in text and _values_in(reader.compose(text), {}) > MOST_VALUES:
            raise UserError(f"{where}: aliases must stand for at most {MOST_VALUES} values together, got more.")
        return reader.load(text)
    except RecursionError:
        raise UserError(f"{where}: not valid YAML (nested too deep, or an alias within what it names).") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(
            f"{where}: not valid YAML (line {mark.line + 1}, column {mark.column + 1}: {_in_one_line(error.problem)})."
        ) from None
    except (YAMLError, ValueError, OverflowError) as error:  # the last two of "\\UFFFFFFFF", which is no character
        raise UserError(f"{where}: not valid YAML ({_in_one_line(error)}).") from None


class _Composer(Composer):
    """Stops at what is nested too deep, instead of reading all of it."""

    level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.level == DEEPEST:
            raise RecursionError
        self.level += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.level -= 1


class _Constructor(SafeConstructor):
    """Adds the position to errors for values that cannot be converted, such as 2001-99-99 or 0x_."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            problem = f"{shown(node.value)} cannot be read as a value: {error}"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def _values_in(node: Node | None, known: dict[int, float]) -> float:
    """How many values a node stands for, with every alias counted in full; RecursionError if it contains itself."""
    if node is None or isinstance(node, ScalarNode):
        return 1
    if id(node) not in known:
        pairs = node.value
        inner = [one for pair in pairs for one in pair] if isinstance(node, MappingNode) else pairs
        known[id(node)] = 1 + sum(_values_in(one, known) for one in inner)
    return known[id(node)]


def _in_one_line(message: object) -> str:
    return textwrap.shorten(str(message), 160, placeholder="…").rstrip(".")


@contextmanager
def within(prefix: str) -> Iterator[None]:
    """Puts a prefix, such as `loss.`, before the messages of UserErrors in the block, which begin with a key."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from None


def shown(value: Any) -> str:
    """A value for a message: as Python writes it, shortened if long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return f"a value that has {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__


_SHORT = reprlib.Repr()
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxset = 8
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


def parse(values: Any, kind: type, prefix: str = "") -> Any:
    """A dataclass of `kind` from a mapping.

    Raises:
        UserError: a key is unknown, missing, of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise UserError(f"{prefix or 'params'}: must be a mapping of keys to values, got {shown(values)}.")
    types_of_all = get_type_hints(kind, include_extras=True)  # class variables too
    hints = {field.name: types_of_all[field.name] for field in dataclasses.fields(kind)}
    dot = f"{prefix}." if prefix else ""
    for key in values:
        if key not in hints:
            name = _named(key)
            close = difflib.get_close_matches(name, hints, n=1)
            raise UserError(f"{dot}{name}: unknown key" + (f"; did you mean {dot}{close[0]}?" if close else "."))
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
        base, *checks = get_args(hint)
        value = _value(value, base, key)
        for check in checks:
            if not check.holds(value):
                raise UserError(f"{key}: must be {check.words}, got {shown(value)}.")
        return value
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise UserError(f"{key}: must be one of {', '.join(map(str, get_args(hint)))}, got {shown(value)}.")
        return value
    if origin is dict:
        return _mapping(value, get_args(hint)[1], key)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{key}: must be a list, got {shown(value)}.")
        return tuple(_value(item, get_args(hint)[0], f"{key}.{index}") for index, item in enumerate(value))
    return _scalar(value, hint, key)


def _mapping(values: Any, inner: Any, key: str) -> dict:
    if not isinstance(values, dict):
        raise UserError(f"{key}: must be a mapping of keys to values, got {shown(values)}.")
    if inner is Any:
        return values
    return {name: _value(value, inner, f"{key}.{_named(name)}") for name, value in values.items()}


def _named(key: Any) -> str:
    """A key for a message: as it is, or as Python writes it if it is not one short line."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 80 else shown(key)


def _scalar(value: Any, kind: type, key: str) -> Any:
    words = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}[kind]
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        value = _float_or_same(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UserError(f"{key}: must be {words}, got {shown(value)}.")
    if kind is int and abs(value) > LARGEST_INT:
        words = "at most " if value > 0 else "at least -"
        raise UserError(f"{key}: must be {words}{LARGEST_INT}, got {shown(value)}.")
    return value


def _float_or_same(value: int | str) -> Any:
    """Converts a whole number, or a number in quotes, to float; anything else does not change."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value
