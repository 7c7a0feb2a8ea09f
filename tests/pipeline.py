"""The stages of a dvc.yaml as DVC resolves them."""

import os
import shlex
import shutil
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from stages.imports import ROOT
from tools import deps

FILES = deps.FILES
CELLS = "disentangle/sweep/runs"
STUDIES = [f"{CELLS}/{study}" for study in ("sigma", "decay", "loss", "content_init")]


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


def stages(file: Path = ROOT / "dvc.yaml", params: dict | None = None) -> list[Stage]:
    """Returns the stages of a dvc.yaml in an order in which they can run.

    Args:
        params: by default, those of the params.yaml beside it, or of the one that its `vars` name.
    """
    (named,) = yaml.safe_load(file.read_text(encoding="utf-8")).get("vars", ["params.yaml"])
    path = (file.parent / named.split(":")[0]).resolve()
    text = yaml.safe_dump(params, sort_keys=False) if params else path.read_text(encoding="utf-8")
    return list(_resolved(file, path, text))


@cache
def _resolved(file: Path, params: Path, text: str) -> tuple[Stage, ...]:
    """The stages of a copy of a dvc.yaml beside which a params.yaml has this text."""
    from dvc.dependency import ParamsDependency  # these imports take half a second
    from dvc.repo import Repo
    from networkx import dfs_postorder_nodes

    with TemporaryDirectory() as place:
        root = Path(place).resolve()
        folder = root / file.parent.relative_to(ROOT)
        (folder / ".dvc").mkdir(parents=True)
        (folder / ".dvc" / "config").write_text("[core]\nno_scm = True\n")
        shutil.copy(file, folder)
        (root / params.relative_to(ROOT)).write_text(text, encoding="utf-8")

        def paths(entries: list) -> list[str]:
            return [os.path.relpath(entry.fs_path, root) for entry in entries]

        with Repo(str(folder)) as repo, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # DVC's own
            found = []
            for stage in dfs_postorder_nodes(repo.index.graph):
                given = [entry for entry in stage.deps if isinstance(entry, ParamsDependency)]
                others = [entry for entry in stage.deps if entry not in given]
                keys = [key for entry in given for key in entry.params]
                found.append(Stage(stage.name, stage.cmd, paths(others), keys, paths(stage.outs)))
    return tuple(found)
