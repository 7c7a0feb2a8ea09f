"""The scenarios: images of the first run, and images that arrive after it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.off_codes.images import JUDGE, load_images
from iglo.data.sources import open_source
from iglo.estimator.settings import growing_rounds
from iglo.params.pipeline import Params
from iglo.params.reading import load_params
from iglo.randomness import numpy_generator

ROOT = Path(__file__).resolve().parents[2]
FIRST, LATER, ARRIVALS = 500, 250, 4  # images of the first run, of an arrival, and number of arrivals
TEST = 250  # photographs for tests


@dataclass(frozen=True)
class Group:
    """Images that come together: those for training, and test images of the same kind.

    Attributes:
        train, test: (N, H, W, C), (T, H, W, C) uint8.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Scenario:
    """The images of the first run and of the arrivals, and the params of all trainings.

    Attributes:
        groups: the first run, then the arrivals.
        counted: how many of the groups are compared with a training from scratch. Later ones are another kind of image.
        of_generated: changes to the section `arrival` for `generated`. Renders need more weight than images.
    """

    groups: tuple[Group, ...]
    params: Params
    counted: int
    of_generated: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Files:
    """Where photographs and weights are; None: not given, and the scenarios that need them are left out."""

    frogs: Path | None = None
    emoji: Path | None = None
    loss_weights: Path | None = None
    judge_weights: Path | None = None


def digits(files: Files, seed: int) -> Scenario:
    """500 digits, four arrivals of 250, and then one image."""
    params = _digit_params(seed)
    images, _ = _digits(params)
    train, test = images[: FIRST + ARRIVALS * LATER], images[-params.data.test :]
    one = Group("one image", images[len(train) : len(train) + 1], test[:0])
    return Scenario((*_in_turn(train, test), one), params, ARRIVALS + 1)


def classes(files: Files, seed: int) -> Scenario:
    """The digits 0 to 4, and then the digits 5 to 9."""
    params = _digit_params(seed)
    images, labels = _digits(params)
    count = params.data.train
    low = labels < 5
    groups = [
        Group(name, images[:count][chosen[:count]], images[-params.data.test :][chosen[-params.data.test :]])
        for name, chosen in (("digits 0 to 4", low), ("digits 5 to 9", ~low))
    ]
    return Scenario(tuple(groups), params, 2)


def frogs(files: Files, seed: int) -> Scenario:
    """500 photographs of frogs, four arrivals of 250, and then 250 emoji."""
    images = load_images(files.frogs, 32, shuffle=True)
    count = FIRST + ARRIVALS * LATER
    train, test = images[:count], images[count + 2 * TEST : count + 3 * TEST]  # those between chose the settings
    groups = _in_turn(train, test)
    if files.emoji:
        drawn = load_images(files.emoji, 32, shuffle=True)
        groups.append(Group("emoji", drawn[:LATER], drawn[LATER : 2 * LATER]))
    of_generated = {"generator_rate": 2e-3, "earlier_weight": 2.0}
    return Scenario(tuple(groups), _frog_params(files, seed), ARRIVALS + 1, of_generated)


SCENARIOS: dict[str, Callable[[Files, int], Scenario]] = {"digits": digits, "classes": classes, "frogs": frogs}
SEEDS = {"digits": (0, 1, 2), "classes": (0, 1, 2), "frogs": (0,)}


def _in_turn(train: np.ndarray, test: np.ndarray) -> list[Group]:
    ends = [FIRST + LATER * index for index in range(ARRIVALS + 1)]
    parts = np.split(train, ends[:-1])
    return [Group("first run" if not index else f"arrival {index}", part, test) for index, part in enumerate(parts)]


def _digits(params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Returns the digits as 32×32 pixels, in the order of the default run, and their classes."""
    from iglo.data.image_io import load_image

    source = open_source(params.data, "")
    order = numpy_generator(params.data.seed, "split").permutation(len(source.names))
    images = np.stack([load_image(source.items[i], params.data.image_size, 1) for i in order])
    return images, np.array(source.labels, dtype=int)[order]


def _digit_params(seed: int) -> Params:
    """Returns the preset for digits, with slower learning, which an arrival continues at half the rate."""
    changes = {
        "optimizer": {"generator_rate": 1e-3},
        "full": {"epochs": 60, "batch_size": 75},
        "encoder": {"epochs": 60, "batch_size": 75, "rate": 1e-3, "pairs": 1.0},
    }
    return _changed(load_params(ROOT / "presets" / "digits.yaml"), seed, changes)


def _frog_params(files: Files, seed: int) -> Params:
    """Returns the preset for frogs, with 32×32 pixels, fewer epochs, and clusters of pixels."""
    params = load_params(ROOT / "presets" / "cifar10-frogs.yaml")
    changes = {
        "data": {"image_size": 32},
        "features": {"network": "pixels", "weights": "random"},
        "loss": {"weights": str(files.loss_weights)},
        "full": {"epochs": 40},
        "encoder": {"epochs": 40},
        "joint": {"epochs": 8},
        "evaluate": {"network": JUDGE, "weights": str(files.judge_weights)},
    }
    return _changed(params, seed, changes)


def _changed(params: Params, seed: int, changes: Mapping[str, Mapping[str, Any]]) -> Params:
    """Returns the params with changes to sections, and with rounds for the images of a first run."""
    sections = {name: dataclasses.replace(getattr(params, name), **change) for name, change in changes.items()}
    return dataclasses.replace(params, seed=seed, rounds=growing_rounds(FIRST, 3, 20), **sections)
