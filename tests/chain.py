"""The whole pipeline on sixty tiny images: seconds, not minutes. Runs the commands of dvc.yaml without DVC."""

import copy
import dataclasses
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from iglo.disentangle.sweep import params_of_run
from iglo.params.reading import load_params
from tests import pipeline

IMAGES, LATER = "data/my-images", "data/later images"
CHANGES = {
    "data": {
        "source": "folder",
        "path": IMAGES,
        "image_size": 16,
        "channels": 1,
        "train": 48,
        "validation": 6,
        "test": None,
    },
    "features": {"network": "pixels"},
    "rounds": [
        {"id": 1, "after": 0, "clusters": 4, "per_cluster": 4, "epochs": 2},
        {"id": 2, "after": 1, "clusters": 1, "per_cluster": None, "epochs": 2},
    ],
    "latent": {"dimension": 8},
    "generator": {"width": 4},
    "loss": {"name": "l1"},
    "staged": {"start": "encoder", "start_epochs": 1, "earlier_batch": 8, "current_batch": 8},
    "full": {"epochs": 2, "batch_size": 16},
    "encoder": {"mode": "joint", "width": 4, "epochs": 2, "batch_size": 16},
    "joint": {"epochs": 2},
    "evaluate": {"network": "squeeze", "weights": "random", "pairs": 4, "steps": 2, "samples": 16},
    "arrivals": [{"id": "late", "after": "joint", "keep": "images", "path": LATER}],
    "arrival": {
        "epochs": 2,
        "polish_epochs": 1,
        "encoder_epochs": 1,
        "least_steps": 2,
        "earlier_batch": 8,
        "current_batch": 8,
    },
}


def params(**changes: Any) -> dict:
    """The root params.yaml made tiny, then changed at dotted keys."""
    values = yaml.safe_load((pipeline.ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, change in copy.deepcopy(CHANGES).items():
        values[key] = {**values[key], **change} if isinstance(change, dict) else change
    for key, change in changes.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place[int(section)] if isinstance(place, list) else place[section]
        assert last in place, f"no key {key} in params.yaml"
        place[last] = change
    return values


def write_params(folder: Path, values: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def write_images(folder: Path, first: int = 0, last: int = 60) -> None:
    """Digits of scikit-learn as files, 8×8 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(load_digits().images[first:last], first):
        Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(folder / f"digit-{index}.png")


def run(folder: Path, stage: pipeline.Stage) -> None:
    """Runs a stage in this process, as its command does in `folder`; torch's settings are as before afterwards."""
    deterministic, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            importlib.import_module(stage.module).main(stage.argv)
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextmanager
def few_rounds() -> Iterator[None]:
    """Priors that are trained for less than a second. Those of a stage in its own process are trained longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iglo.latent.imle.IMLE_ROUNDS", 5)
        patch.setattr("iglo.latent.flow.FLOW_STEPS", (5, 5))
        yield


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    """A running `python …` in `folder` that finds the stages."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (pipeline.ROOT / "src", pipeline.ROOT))),
        "OMP_NUM_THREADS": "1",
        "IGLO_THREADS": "1",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment | variables, text=True, **pipes)


def contents(path: Path, root: Path) -> dict[str, bytes]:
    """Every file under a folder, or the file itself, by its path from `root`."""
    files = [path, *sorted(path.rglob("*"))] if path.exists() else []
    return {str(file.relative_to(root)): file.read_bytes() for file in files if file.is_file()}


class Recorder:
    """Stands in for params and notes the dotted keys that are read; to pass a section on is not to read it."""

    def __init__(self, section: Any, note: Callable[[str], None], prefix: str = ""):
        self._section, self._note, self._prefix = section, note, prefix

    @property
    def __class__(self) -> type:
        """What isinstance sees."""
        return type(self._section)

    def __getattr__(self, name: str) -> Any:
        computed = getattr(type(self._section), name, None)
        if isinstance(computed, property):  # from keys, which it is to read through this
            return computed.fget(self)
        return self._wrapped(getattr(self._section, name), self._prefix + name)

    def _wrapped(self, value: Any, key: str) -> Any:
        if dataclasses.is_dataclass(value):
            return Recorder(value, self._note, f"{key}.")
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            return tuple(self._wrapped(item, f"{key}.{index}") for index, item in enumerate(value))
        self._note(key)
        return value


def keys_read(folder: Path, stage: pipeline.Stage) -> set[str]:
    """Runs a stage and returns the dotted keys of params.yaml that it reads.

    The key of the checkpoint folder is a hash of all params, which is not to depend on them: here it is a constant,
    and the folder is removed, so that the next run learns again.
    """
    read: set[str] = set()

    def recorded(path: str, kind: type | None) -> Any:
        return Recorder(load_params(path, kind), read.add)

    def params_of_run_unread(params: Recorder, *change: Any) -> Any:
        return Recorder(params_of_run(params._section, *change), read.add)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.common.load_params", recorded)
        patch.setattr("stages.learning.fingerprint", lambda values, files: "recorded")
        patch.setattr("stages.learning.weight_files", lambda params: {})
        patch.setattr("stages.disentangle_sweep.params_of_run", params_of_run_unread)
        run(folder, stage)
    shutil.rmtree(folder / ".scratch", ignore_errors=True)
    return read


def covers(listed: str, key: str) -> bool:
    """Whether a dotted key is the listed one or within it."""
    return f"{key}.".startswith(f"{listed}.")


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder in which every stage has run, in this process; the stages in their order, and what each has read."""

    folder: Path
    stages: list[pipeline.Stage]
    keys: dict[str, set[str]]

    @classmethod
    def make(cls, folder: Path) -> "Run":
        write_images(folder / IMAGES)
        write_images(folder / LATER, 60, 80)
        write_params(folder, params())
        stages = pipeline.stages(params=params())
        return cls(folder, stages, {stage.name: keys_read(folder, stage) for stage in stages})

    def copy(self, folder: Path, **changes: Any) -> "Run":
        """The same run in a folder of its own, with changed params; no stage is run again."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        write_params(folder, params(**changes))
        return dataclasses.replace(self, folder=folder)

    def stage(self, name: str) -> pipeline.Stage:
        return next(stage for stage in self.stages if stage.name == name)
