"""Reads params files: YAML 1.2 as DVC reads it, and the params that a file holds."""

import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, MappingNode, Node, SafeConstructor, ScalarNode
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from iglo.errors import UserError
from iglo.params.class_content import ClassContentParams
from iglo.params.comparison import Comparison
from iglo.params.pipeline import Params, parse_params
from iglo.params.sections import part_sizes
from iglo.params.validate import short_repr, within

LONGEST_FILE = 2**17  # characters of a params file; the reader takes a minute for a million
DEEPEST = 100  # levels of a params file; the reader takes minutes for thousands
MOST_VALUES = 100_000  # in a params file, with every alias counted in full

AnyParams = Params | ClassContentParams | Comparison


def load_params(path: str | Path, kind: type | None = None) -> Any:
    """Returns the validated params in the YAML file at `path`.

    Args:
        kind: Params, Comparison or ClassContentParams; object: the kind that the file holds; None: the same, but of a
            comparison only its base.

    Raises:
        UserError: the file is missing or not YAML, or a key is unknown, missing, of the wrong type or out of range.
    """
    values = read_yaml(path)
    params = parse_params(values, _kind_of(values) if kind in (None, object) else kind)
    return params.params() if kind is None and isinstance(params, Comparison) else params


def _kind_of(values: Any) -> type:
    """Returns the kind that shares most keys with the file, so that a misspelt or missing key is reported as such."""
    keys = values.keys() if isinstance(values, dict) else ()
    kinds = (Params, Comparison, ClassContentParams)
    return max(kinds, key=lambda kind: len({field.name for field in fields(kind)}.intersection(keys)))


def runs(params: AnyParams) -> dict[str, Params | ClassContentParams]:
    """Returns the runs of a params file, by the prefix of their keys in messages: "methods.NAME.changes: " or none."""
    if isinstance(params, Comparison):
        return {f"methods.{method}.changes: ": params.params(method) for method in params.run}
    return {"": params}


def check_image_count(path: str | Path, images: int) -> None:
    """Runs `check_parts` for every run of the params file at `path`, for this number of images."""
    for prefix, params in runs(load_params(path, object)).items():
        with within(prefix):
            params.check_parts(part_sizes(params.data, images))


def read_yaml(path: str | Path) -> Any:
    """Returns the values in the YAML file at `path`.

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
    """Returns the value of a text in YAML 1.2, as DVC reads it.

    Args:
        where: the beginning of messages.

    Raises:
        UserError: it is not YAML, a key is given twice, or aliases stand for too many values.
    """
    reader = YAML(typ="safe", pure=True)  # the parser in C would not stop at what is nested too deep
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
    except (YAMLError, ValueError, OverflowError) as error:  # the last two: "\\UFFFFFFFF" is no character
        raise UserError(f"{where}: not valid YAML ({_in_one_line(error)}).") from None


class _Composer(Composer):
    """Stops at a value that is nested too deep, before it reads the rest."""

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
            problem = f"{short_repr(node.value)} cannot be read as a value: {error}"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def _values_in(node: Node | None, known: dict[int, float]) -> float:
    """Returns how many values a node stands for, with every alias in full. RecursionError: it contains itself."""
    if node is None or isinstance(node, ScalarNode):
        return 1
    if id(node) not in known:
        pairs = node.value
        inner = [one for pair in pairs for one in pair] if isinstance(node, MappingNode) else pairs
        known[id(node)] = 1 + sum(_values_in(one, known) for one in inner)
    return known[id(node)]


def _in_one_line(message: object) -> str:
    return textwrap.shorten(str(message), 160, placeholder="…").rstrip(".")
