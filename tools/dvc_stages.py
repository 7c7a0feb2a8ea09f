"""Reads the stages of a dvc.yaml without DVC: its commands, dependencies and outputs, with all templates filled in.

It knows the part of DVC's format that this project uses: `foreach`, `matrix`, `vars`, `${…}` and outputs with options.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

TEMPLATE = re.compile(r"\$\{([^{}]+)\}")


@dataclass(frozen=True)
class Stage:
    """A stage of a dvc.yaml.

    Attributes:
        name: as DVC names it, such as learn@glo-0.
        command: the whole command.
        deps, outs: paths from the folder of the dvc.yaml.
    """

    name: str
    command: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]


def read_stages(file: Path, params: Mapping[str, Any]) -> list[Stage]:
    """Returns the stages of a dvc.yaml in the order of the file.

    Args:
        params: the plain values of its params.yaml.
    """
    sections = YAML(typ="safe").load(file)["stages"]
    return [stage for name, section in sections.items() for stage in _stages(name, section, params)]


def prerequisites(stages: Sequence[Stage]) -> dict[str, set[str]]:
    """Returns, by the name of each stage, the names of the stages that make its dependencies."""
    return {
        stage.name: {
            other.name
            for other in stages
            if other is not stage and any(_overlap(dep, out) for dep in stage.deps for out in other.outs)
        }
        for stage in stages
    }


def _stages(name: str, section: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[Stage]:
    own = {key: value for each in section.get("vars", ()) for key, value in each.items()}
    for suffix, item in _items(section, params):
        known = {**params, **own, **item}
        body = section.get("do", section)
        deps, outs = (
            [_filled(next(iter(each)) if isinstance(each, Mapping) else each, known) for each in body.get(key, ())]
            for key in ("deps", "outs")
        )
        yield Stage(f"{name}{suffix}", _filled(body["cmd"], known), tuple(deps), tuple(outs))


def _items(section: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the end of the name of each stage of a section, and what its templates know beside the params."""
    if "foreach" in section:
        for index, item in enumerate(_filled(section["foreach"], params)):
            yield f"@{index}", {"item": item}
    elif "matrix" in section:
        names = list(section["matrix"])
        for values in product(*(_filled(each, params) for each in section["matrix"].values())):
            key = "-".join(map(str, values))
            yield f"@{key}", {"item": dict(zip(names, values, strict=True)), "key": key}
    else:
        yield "", {}


def _filled(text: Any, known: Mapping[str, Any]) -> Any:
    """Returns the text with its templates filled in; a text that is one template becomes the value itself."""
    if whole := TEMPLATE.fullmatch(text):
        return _value(whole[1], known)
    return TEMPLATE.sub(lambda found: str(_value(found[1], known)), text)


def _value(key: str, known: Any) -> Any:
    for part in key.split("."):
        known = known[part]
    return known


def _overlap(a: str, b: str) -> bool:
    """Returns whether one path is the other or lies in it."""
    one, other = PurePosixPath(a), PurePosixPath(b)
    return one.is_relative_to(other) or other.is_relative_to(one)
