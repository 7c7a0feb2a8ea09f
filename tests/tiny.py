"""A problem that trains in a blink, for the tests of the loop and of all that stands on it."""

import copy
import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import Params, RoundParams
from iglo.params.reading import load_params
from iglo.runtime.device import start
from iglo.training.glo_stages import start_model
from iglo.training.trainer import StageSpec, Trainer

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = start("fp32", distributed=True).single_process


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny_images(count: int = 12, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(N, 16, 16, C) uint8: coarse squares of random brightness."""
    squares = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, channels), dtype=np.uint8)
    return squares.repeat(4, axis=1).repeat(4, axis=2)


def tiny_params(file: str = "params.yaml", **changes) -> Params:
    """The values of a params file shrunk to tiny_images; `section__key=value` or `key=value` changes them further."""
    small = {
        "method": "incremental",
        "precision": "fp32",
        "data__image_size": 16,
        "data__channels": 1,
        "rounds": rounds_of(3),
        "latent__dimension": 6,
        "generator__width": 4,
        "generator__ema": 0.5,
        "optimizer__generator_rate": 1e-3,
        "staged__start_epochs": 2,
        "staged__earlier_batch": 2,
        "staged__current_batch": 3,
        "full__epochs": 2,
        "full__batch_size": 5,
        "encoder__mode": "joint",
        "encoder__width": 4,
        "encoder__epochs": 3,
        "encoder__batch_size": 4,
        "encoder__rate": 1e-3,
        "encoder__pairs": 1.0,
        "encoder__held_out": 0.25,
        "joint__epochs": 3,
        "joint__shift": 2,
    }
    return _changed(load_params(ROOT / file), small | changes)


def tiny_class_params(**changes) -> ClassContentParams:
    """The values of disentangle/params.yaml shrunk to tiny_images, changed as those of tiny_params."""
    small = {
        "precision": "fp32",
        "data__image_size": 16,
        "data__channels": 1,
        "latent__class_dimension": 3,
        "latent__content_dimension": 4,
        "generator__width": 4,
        "generator__ema": 0.5,
        "train__epochs": 3,
        "train__batch_size": 4,
        "encoder__width": 4,
        "encoder__epochs": 2,
        "encoder__batch_size": 4,
        "encoder__held_out": 0.25,
        "joint__epochs": 2,
        "classifier__width": 4,
        "classifier__batch_size": 8,
    }
    return _changed(load_params(ROOT / "disentangle" / "params.yaml"), small | changes)


def _changed(params, changes: dict):
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        if section:
            value = dataclasses.replace(getattr(params, section), **{name: value})
        params = dataclasses.replace(params, **{section or name: value})
    return params


def rounds_of(epochs: int) -> tuple[RoundParams, ...]:
    return tuple(RoundParams(n, n - 1, 2, None if n == 3 else 2, epochs) for n in (1, 2, 3))


def tiny_trainer(images: np.ndarray, params: Params, **options: Any) -> Trainer:
    """The trainer of an untrained model; `options` are those of Trainer."""
    model, history = start_model(images, params, RUNTIME)
    return Trainer(model, images, history, params, RUNTIME, **options)


def copied(trainer: Trainer, **changes: Any) -> Trainer:
    """A trainer with copies of the model and the history; `changes` replace arguments of Trainer."""
    model, history = copy.deepcopy((trainer.model, trainer.history))
    values = {"model": model, "images": trainer.images, "history": history, "params": trainer.params} | changes
    return Trainer(runtime=RUNTIME, **values)


def saved(trainer: Trainer, folder: Path) -> Path:
    """Writes model and history into a new folder, as the stages do."""
    folder.mkdir()
    trainer.model.save(folder)
    trainer.history.save(folder)
    return folder


def loaded(folder: Path) -> dict[str, Any]:
    """The model and the history that `saved` wrote, as changes for `copied`."""
    return {"model": GLOModel.load(folder, RUNTIME), "history": History.load(folder)}


class _ReachedError(Exception):
    pass


def stage_of(learn: Callable[[], Any], name: str) -> StageSpec:
    """Calls `learn` until the training of stage `name` would start, and returns that stage."""
    run = Trainer.run

    def stop(trainer: Trainer, stage: StageSpec) -> Any:
        if stage.name == name:
            raise _ReachedError(stage)
        return run(trainer, stage)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_ReachedError) as reached:
        patch.setattr(Trainer, "run", stop)
        learn()
    return reached.value.args[0]


def weights_of(stage: StageSpec) -> dict[str, float]:
    """The weight of every term of a stage; terms of weight 0 are left out."""
    return {term.name: weight for weight, term in stage.terms if weight}


def state_of(trainer: Trainer) -> dict[str, Any]:
    """All that a training leaves behind."""
    model, history = trainer.model, trainer.history
    record = {"log": history.log, "subset_id": history.subset_id.tolist(), "snapshots": history.snapshots.state_dict()}
    return copy.deepcopy({"config": model.config, "weights": dict(model.state_dict()), **record})


def peak_bytes(work: Callable[[], Any]) -> tuple[Any, int]:
    """What `work` returns, and the most memory that Python and NumPy held for it at a time; torch's is not counted."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def same_bits(a, b) -> bool:
    """Whether two nested states are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same_bits, a, b))
    return a == b
