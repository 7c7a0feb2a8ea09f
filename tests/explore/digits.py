"""Small models of real digits, trained by the stages of the pipeline. Some names are HTML that attacks a page."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from iglo.explore.maps import Embedding, neighbour_embedding
from iglo.export.writing import export_model, fit_model_prior
from iglo.files.io import write_array
from iglo.files.locks import BusyError, hold
from iglo.latent.priors import PRIORS, PriorChoice
from iglo.models.glo import GLOModel
from iglo.params.run_record import folder_digest
from tests import chain, pipeline
from tests.disentangle.tiny import FILE as CLASS_FILE
from tests.disentangle.tiny import values as class_values
from tests.tiny import RUNTIME

TRAIN, HELD_OUT = 240, 20
ATTACK = "<img src=x onerror=hacked=1>"  # sets window.hacked where it is taken for HTML
BACKWARDS = "שמונה \u202e8"  # Hebrew, and a character that turns the direction of what follows
LABELS = {7: ATTACK, 8: BACKWARDS}  # the other digits have their own names
CHANGES = {
    "arrivals": [],
    "data.train": TRAIN,
    "data.validation": HELD_OUT,
    "latent.dimension": 32,
    "generator.width": 16,
    "generator.ema": 0.9,
    "sigma": 0.5,
    "staged.start": "own",
    "staged.current_batch": 32,
    "staged.earlier_batch": 24,
    "full.epochs": 40,
    "full.batch_size": 32,
    "encoder.width": 16,
    "encoder.epochs": 10,
    "encoder.batch_size": 50,
    "joint.epochs": 4,
    "rounds": [
        {"id": 1, "after": 0, "clusters": 16, "per_cluster": 4, "epochs": 40},
        {"id": 2, "after": 1, "clusters": 1, "per_cluster": None, "epochs": 20},
    ],
}
CLASS_CHANGES = {
    "data": {"image_size": 16, "train": 300, "validation": 90, "test": 60, "shuffle": True},
    "latent": {"class_dimension": 10, "content_dimension": 10},
    "generator": {"width": 16, "ema": 0.9},
    "train": {"epochs": 15, "batch_size": 32},
    "encoder": {"width": 8, "epochs": 8, "batch_size": 50},
}


class Run(NamedTuple):
    """A working folder as `dvc repro` leaves it, and the model in it exported."""

    folder: Path
    export: Path


def train_digits(folder: Path) -> None:
    """Writes images, models, priors and a neighbour embedding of 240 digits; about five seconds on one core."""
    _write_images(folder / chain.IMAGES)
    values = chain.params(**CHANGES)
    chain.write_params(folder, values)
    for stage in pipeline.stages(params=values):
        if stage.name not in ("priors", "evaluate"):
            chain.run(folder, stage)
    model = folder / "models" / "joint"
    _write_priors(folder / "models" / "priors", model)
    export_model(folder / "models" / "export", model, folder / "models" / "priors")
    embedding = Embedding(GLOModel.load(model, RUNTIME).codes.values, folder / "maps")
    embedding.path.parent.mkdir()
    write_array(embedding.path, neighbour_embedding(embedding.codes.numpy()))


def train_classes(folder: Path) -> None:
    """Writes the images and the model of class and content of 300 digits, and the export."""
    values = class_values(**CLASS_CHANGES)
    (folder / "disentangle").mkdir()
    (folder / "disentangle" / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for stage in pipeline.stages(CLASS_FILE, values):
        if stage.name in ("check", "fetch", "prepare", "train", "encode"):
            chain.run(folder, stage)
    export_model(folder / "models" / "export", folder / "disentangle" / "work" / "encoded", None)


def trained_once(factory: pytest.TempPathFactory, train: Callable[[Path], None]) -> Run:
    """What `train` writes. If several processes run the tests, one trains, and the others wait."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / f"explore-{train.__name__}"
    for _ in range(600):
        if folder.is_dir():
            break
        try:
            lock = hold(base / f"{folder.name}.lock")
        except BusyError:
            time.sleep(0.1)
            continue
        if not folder.is_dir():
            made = factory.mktemp(folder.name)
            train(made)
            made.rename(folder)
        lock.release()
    return Run(folder, folder / "models" / "export")


def picture(digit: int = 5) -> np.ndarray:
    """(8, 8) uint8: a digit that the models have not seen."""
    data = load_digits()
    row = TRAIN + 3 * HELD_OUT + int(np.flatnonzero(data.target[TRAIN + 3 * HELD_OUT :] == digit)[0])
    return np.round(data.images[row] * (255 / 16)).astype(np.uint8)


def _write_images(folder: Path) -> None:
    """A sub-folder for each digit. The names of some folders and files attack a page that shows them."""
    data, count = load_digits(), TRAIN + 2 * HELD_OUT
    for index, (image, digit) in enumerate(zip(data.images[:count], data.target[:count], strict=True)):
        name = {1: f'"{ATTACK}', 2: "\u202egnp.digit"}.get(index % 8, f"digit-{index}") + f" {index}.png"
        place = folder / LABELS.get(digit, str(digit))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(place / name)


def _write_priors(folder: Path, model_folder: Path) -> None:
    """All priors, as the stage writes them. Only `imle` trains for a shorter time."""
    model = GLOModel.load(model_folder, RUNTIME, "glo")
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iglo.latent.imle.IMLE_ROUNDS", 3)
        priors = {name: fit_model_prior(name, model, 0) for name in PRIORS}
    distances = {name: 0.1 * place for place, name in enumerate(reversed(PRIORS))}
    PriorChoice(priors, "neighbours", distances, about={"model": folder_digest(model_folder)}).save(folder)
