"""The pipeline of dvc.yaml with its templates filled in."""

import itertools
import os
import re
import shlex
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tools import deps
from tools.imports import ROOT

FILES = deps.FILES
CELLS = "disentangle/sweep/runs"
STUDIES = [f"{CELLS}/{study}" for study in ("sigma", "decay", "loss", "content_init")]


# --- dvc.yaml ---


@dataclass(frozen=True)
class Stage:
    """One stage with its templates filled in; paths are from the root of the repository."""

    name: str  # as DVC names it: staged@0 is the first of the stages `staged`
    cmd: str
    deps: list[str]
    params: list[str]
    outs: list[str]  # metrics and plots too

    @property
    def module(self) -> str:
        """stages.NAME of `python -m stages.NAME …`."""
        return self._words[0]

    @property
    def argv(self) -> list[str]:
        return self._words[1:]

    @property
    def _words(self) -> list[str]:
        """What follows the -m of the command that starts the stage."""
        words = shlex.split(self.cmd)
        return words[words.index("-m") + 1 :]

    @property
    def options(self) -> dict[str, str]:
        return dict(zip(self.argv[::2], self.argv[1::2], strict=True))

    @property
    def code(self) -> set[str]:
        return {path for path in self.deps if path.endswith(".py")}


def stages(file: Path = ROOT / "dvc.yaml", params: dict | None = None) -> list[Stage]:
    """The stages of a dvc.yaml in an order in which they can run.

    Args:
        params: by default, those of the params.yaml beside it, or of the one that its `vars` name.
    """
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    (values,) = written.get("vars", ["params.yaml"])
    params = params or yaml.safe_load((file.parent / values.split(":")[0]).read_text(encoding="utf-8"))
    found = []
    for name, text in written["stages"].items():
        if "foreach" in text:
            items = enumerate(filled(text["foreach"], params))
            found += [_stage(f"{name}@{i}", filled(text["do"], {**params, "item": item}), file) for i, item in items]
        elif "matrix" in text:
            axes = filled(text.pop("matrix"), params)
            runs = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
            found += [
                _stage(f"{name}@{'-'.join(map(str, run.values()))}", filled(text, {**params, "item": run}), file)
                for run in runs
            ]
        else:
            found.append(_stage(name, filled(text, params), file))
    maker = {out: stage for stage in found for out in stage.outs}
    needs = {
        stage.name: {m.name for out, m in maker.items() for path in stage.deps if f"{out}/".startswith(f"{path}/")}
        for stage in found
    }
    by_name = {stage.name: stage for stage in found}
    return [by_name[name] for name in TopologicalSorter(needs).static_order()]


def _stage(name: str, text: dict, file: Path) -> Stage:
    folder = file.parent / text.get("wdir", ".")

    def paths(*keys: str) -> list[str]:
        entries = [entry for key in keys for entry in text.get(key, [])]
        return [os.path.relpath(folder / _key(entry), ROOT) for entry in entries]

    params = [key for entry in text.get("params", []) for key in ([entry] if isinstance(entry, str) else _only(entry))]
    return Stage(name, text["cmd"], paths("deps"), params, paths("outs", "metrics", "plots"))


def _only(entry: dict[str, list[str]]) -> list[str]:
    """The keys of `path: [keys]`."""
    (keys,) = entry.values()
    return keys


def _key(entry: str | dict) -> str:
    """`path` of both `path` and `path: {cache: false}`."""
    return entry if isinstance(entry, str) else next(iter(entry))


def filled(value: Any, context: dict) -> Any:
    """A value of dvc.yaml with every ${a.b[-1].c} replaced by what the context holds, as DVC does it."""
    if isinstance(value, dict):
        return {filled(key, context): filled(inner, context) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, context) for inner in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{([^}]+)\}", value):
        return _look_up(whole[1], context)
    return re.sub(r"\$\{([^}]+)\}", lambda match: str(_look_up(match[1], context)), value)


def _look_up(path: str, value: Any) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
