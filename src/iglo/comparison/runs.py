"""Reads what the stages of the comparison measured, and gathers it over seeds.

A run is one row of the tables with one seed. The name of a metric is its place in numbers.json without the name of the
feature network, such as `train.recon.lpips`. Numbers of another judge begin with `other_judges.` and its name, such as
`other_judges.resnet18_imagenet.midpoints.kd`. The names of times begin with `timing.`, as in `timing.learn.seconds`.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iglo.errors import UserError
from iglo.files.io import read_array, read_json
from iglo.params.comparison import Comparison

TARGET = "paper_as_run"  # the row whose final PSNR is the target of all curves
LEARNING = ("learn", "encoder")  # the timed stages of every method
CURVE = ("images_seen", "seconds", "psnr")
ARRAYS = ("reconstructions", "paths", "encoder_train", "encoder_test", "samples", "prior_samples", "neighbours")
BOUNDS = {"real": "floor: real images", "noise": "ceiling: noise"}
OTHER_JUDGES = "other_judges."  # what the names of their metrics begin with
ERRORS = ".se."  # part of the names of standard errors over the images of one run
NETWORK_METRICS = (
    "lpips",
    "ppl",
    "jerkiness",
    "midpoint_realism",
    "feature_path_length",
    "feature_jerkiness",
    "kd",
    "fd",
    "precision",
    "recall",
    "density",
    "coverage",
    "novelty",
    "copy_rate",
    "recognised",
    "confidence",
    "samples",
    "midpoints",
    "graph_midpoints",
)

# --- Runs ---


@dataclass(frozen=True)
class Row:
    """A row of the tables: a method, or a method and a stage after it.

    Attributes:
        name: as in the names of its folders and in claims.
        title: a few words, for tables and figures.
        about: one clause on what it does.
        method: name of the method; it differs from `name` if the row adds a stage.
    """

    name: str
    title: str
    about: str
    method: str


def rows_of(comparison: Comparison) -> list[Row]:
    """Returns the methods in `run`, then the methods in `joint` with their joint stage."""
    methods = comparison.methods
    rows = [Row(name, methods[name].title, methods[name].about, name) for name in comparison.run]
    for name in comparison.joint:
        title = methods[name].title
        rows.append(
            Row(f"{name}_joint", f"{title}, joint", f"as {title}, then generator and encoder trained together", name)
        )
    return rows


@dataclass(frozen=True)
class Folders:
    """The folders in which the stages of the comparison leave their results.

    Attributes:
        measured: a folder `<row>-<seed>` for each run, and `reference`.
        curves: `<method>-<seed>.csv`.
        times: `<stage>/<method>-<seed>.json`, and `measure/<row>-<seed>.json`.
    """

    measured: Path
    curves: Path
    times: Path


@dataclass(frozen=True)
class Run:
    """What was measured of one row with one seed.

    Attributes:
        values: metric → number.
        prior: the prior that drew the samples.
        curve: `images_seen`, `seconds` and `psnr` (dB), each (P,), at every measuring point.
        arrays: file name → images, uint8, or ids (`neighbours`); mapped read-only.
    """

    values: Mapping[str, float]
    prior: str
    curve: Mapping[str, np.ndarray]
    arrays: Mapping[str, np.ndarray]


def load_runs(folders: Folders, rows: Sequence[Row], seeds: Sequence[int]) -> dict[str, list[Run]]:
    """Returns row → runs in the order of the seeds. Raises UserError with the name of a missing or broken file."""
    return {row.name: [_load_run(folders, row, seed) for seed in seeds] for row in rows}


def _load_run(folders: Folders, row: Row, seed: int) -> Run:
    folder = folders.measured / f"{row.name}-{seed}"
    if not folder.is_dir():
        raise UserError(f"{folder}: this row has not been measured with this seed; measure it, or remove the row.")
    stages = [*LEARNING, *(["joint"] if row.name != row.method else [])]
    files = {stage: folders.times / stage / f"{row.method}-{seed}.json" for stage in stages}
    files["measure"] = folders.times / "measure" / f"{row.name}-{seed}.json"
    timing = flat_numbers({stage: read_json(path) for stage, path in files.items()}, "timing.")
    numbers = read_json(folder / "numbers.json")
    prior = numbers.pop("prior")
    values = flat_numbers(numbers) | timing
    arrays = {name: read_array(folder / f"{name}.npy", mmap="r") for name in ARRAYS}
    return Run(values, prior, _read_curve(folders.curves / f"{row.method}-{seed}.csv"), arrays)


def _read_curve(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            points = np.array([[float(point[name]) for name in CURVE] for point in csv.DictReader(handle)])
        return dict(zip(CURVE, points.T, strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no curve of {', '.join(CURVE)} ({error}); measure again.") from None


def flat_numbers(nested: Mapping, prefix: str = "") -> dict[str, float]:
    """Returns dotted name → number, without the names of feature networks.

    If several feature networks give the same metric, the first counts. Numbers of a network that was trained on are
    left out.
    """
    flat: dict[str, float] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, f"{prefix}{key}.")
        elif not key.endswith("_trained_on"):
            flat.setdefault(prefix + _without_feature_network(key), value)
    return flat


def _without_feature_network(key: str) -> str:
    return next((name for name in NETWORK_METRICS if key.startswith(f"{name}_")), key)


@dataclass(frozen=True)
class Reference:
    """What the numbers of rows are compared with.

    Attributes:
        about: `feature_network`, `other_judges` (names), `trained_on`, `machine`, `counts` (of the parts and of the
            sets that are compared), `image_size`, `budget`.
        bounds: `real` (validation images, the floor) and `noise` (the ceiling), each metric → number. The names of
            metrics are those of samples.
        split: `coverage`, `coverage_random`, `distance`, `distance_random`.
        train, test: (12, H, W, C) uint8, the originals of the images that runs reconstruct.
    """

    about: Mapping
    bounds: Mapping[str, Mapping[str, float]]
    split: Mapping[str, float]
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """Reads the folder of the stage `compare_reference`."""
        numbers = read_json(folder / "numbers.json")
        bounds = {name: flat_numbers(numbers[name], "samples.") for name in BOUNDS if name in numbers}
        images = [read_array(folder / f"{part}.npy") for part in ("train", "test")]
        return cls(numbers, bounds, numbers["split"], *images)


# --- Numbers over seeds ---

Values = Mapping[str, Mapping[str, np.ndarray]]  # row → metric → (S,) float64 in the order of the seeds


def values_by_seed(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, np.ndarray]]:
    """Returns row → metric → (S,) values, without the metrics that some seed lacks.

    If the row TARGET is among the rows, adds `images_seen_to_target` and `seconds_to_target`: where a row's curve
    reaches the final PSNR of TARGET with the same seed, or infinity if it never does.
    """
    values = {}
    for row, of_row in runs.items():
        common = [name for name in of_row[0].values if all(name in run.values for run in of_row)]
        values[row] = {name: np.array([run.values[name] for run in of_row], np.float64) for name in common}
        for axis in ("images_seen", "seconds") if TARGET in runs else ():
            reached = [
                first_crossing(run.curve[axis], run.curve["psnr"], target.curve["psnr"][-1])
                for run, target in zip(of_row, runs[TARGET], strict=True)
            ]
            values[row][f"{axis}_to_target"] = np.array(reached)
    return values


def first_crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Returns the x at which y, linear between its points, first reaches `level`, or infinity if it never does."""
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.inf
    around = slice(max(reached[0] - 1, 0), reached[0] + 1)
    return float(np.interp(level, y[around], x[around]))


def mean_std(values: np.ndarray) -> tuple[float, float | None]:
    """Returns mean and sample standard deviation of (S,) values; the deviation of one value is None."""
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def paired_difference(left: np.ndarray, right: np.ndarray) -> tuple[float, float | None]:
    """Returns the mean difference of two rows over the seeds, and its standard error.

    Runs of one seed start from the same random numbers, and all are measured on the same images. This cancels out.

    Args:
        left, right: (S,) values in the order of the seeds.

    Returns:
        The error is the sample standard deviation of the S differences over √S; None with one seed.
    """
    mean, std = mean_std(np.subtract(left, right))
    return mean, None if std is None else std / math.sqrt(len(left))


def summary(values: Values) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns row → metric → `mean` and `std` over the seeds.

    Metrics that are infinite for a seed are left out, because JSON cannot hold them; and so are standard errors over
    the images of one run.
    """
    return {
        row: {
            name: dict(zip(("mean", "std"), mean_std(numbers), strict=True))
            for name, numbers in of_row.items()
            if np.isfinite(numbers).all() and ERRORS not in name
        }
        for row, of_row in values.items()
    }


# --- Everything ---


@dataclass(frozen=True)
class Measured:
    """All runs and the reference.

    Attributes:
        runs: row → its runs in the order of `seeds`.
    """

    rows: Sequence[Row]
    seeds: Sequence[int]
    runs: Mapping[str, Sequence[Run]]
    values: Values
    reference: Reference

    @classmethod
    def load(cls, folders: Folders, rows: Sequence[Row], seeds: Sequence[int]) -> "Measured":
        """Reads all runs. Raises UserError with the name of a missing or broken file."""
        runs = load_runs(folders, rows, seeds)
        return cls(rows, seeds, runs, values_by_seed(runs), Reference.load(folders.measured / "reference"))

    @property
    def titles(self) -> dict[str, str]:
        """Row → title."""
        return {row.name: row.title for row in self.rows}

    @property
    def priors(self) -> dict[str, str]:
        """Row → the priors that drew its samples, with the number of seeds if they differ."""
        found = {}
        for row, runs in self.runs.items():
            counts = Counter(run.prior for run in runs)
            found[row] = ", ".join(f"{name} ({n} of {len(runs)})" for name, n in counts.most_common())
            if len(counts) == 1:
                found[row] = next(iter(counts))
        return found

    def first(self, row: str, array: str) -> np.ndarray:
        """Returns an array of the row's first seed, which the figures show."""
        return self.runs[row][0].arrays[array]
