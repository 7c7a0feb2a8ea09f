"""The tasks of the processes that train side by side.

They are not in __main__, because a process that starts anew cannot find them there.
"""

import dataclasses
from pathlib import Path

from benchmarks.arrivals.scenarios import SCENARIOS, Files

Task = tuple[str, int]  # scenario and seed


def train_first(files: Files, models: Path, task: Task) -> None:
    """Trains the model of the first run, unless it is there."""
    _laboratory(files, models, task).first_model()


def run(files: Files, models: Path, task: Task, method: str) -> dict:
    """Runs one method."""
    return _laboratory(files, models, task).result(method)


def _laboratory(files: Files, models: Path, task: Task):
    from benchmarks.arrivals.measure import Laboratory  # late: --report needs no torch
    from iglo.runtime.device import start
    from iglo.training.checkpoints import fingerprint

    name, seed = task
    scenario = SCENARIOS[name](files, seed)
    first = dataclasses.replace(scenario.params, arrival=None)  # the first run does not depend on it
    key = fingerprint(first, [])
    return Laboratory(scenario, models / f"{name}-{seed}-{key}", start(scenario.params.precision))
