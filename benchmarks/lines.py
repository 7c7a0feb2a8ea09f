"""Measures what the noise of the continuity term does to interpolations, where the true interpolation is known: lines.

It learns images of lines (`presets/lines.yaml`) with every dimension of the codes, every sigma and every seed, on the
stage `full` alone. Sigma 0 trains without noise. A step with noise renders every image of its batch twice, so the
batches without noise are twice as large: all runs see the same number of images in the same number of steps. Then it
interpolates between pairs of training codes and prints a Markdown table: mean distance and smoothness (Berthelot et al.
2018; 0 is best for both), the PSNR of the training images, and the differences to sigma 0 with the same seed. Each cell
has mean ± standard deviation over the seeds.

    python benchmarks/lines.py [--dimensions 100] [--sigmas 0 0.1 0.5 1] [--seeds 3] [--images 40000]
        [--constraint sphere] [--init pca] [--figure reports/lines.png]

The table also has the true paths and crossfades of pixels between the same lines. The figure has paths of all of them.
"""

import argparse
import dataclasses
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch

from iglo.data.lines import draw_lines, random_angles
from iglo.evaluation.lines import line_values
from iglo.evaluation.metrics import psnr
from iglo.models.glo import render
from iglo.params.pipeline import Params
from iglo.params.reading import load_params
from iglo.progress import bar
from iglo.randomness import numpy_generator
from iglo.report.figures import save_grid
from iglo.runtime.device import start
from iglo.training.glo_stages import learn_all, start_model
from iglo.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
POINTS = 16  # images of a path, as in Berthelot et al.
SHOWN = 2  # paths of each kind of run in the figure
COLUMNS = {  # name, factor, digits
    "mean_distance": ("mean distance, 10⁻³", 1e3, 2),
    "smoothness": ("smoothness", 1, 3),
    "psnr": ("PSNR, dB", 1, 1),
}


class Task(NamedTuple):
    """One training."""

    params: Params
    images_seen: int


class Result(NamedTuple):
    """The numbers of a training, and its first paths (SHOWN, POINTS, H, W, 1)."""

    values: dict[str, float]
    paths: np.ndarray


def load_base() -> Params:
    """Returns the params of which every run changes some."""
    return load_params(ROOT / "presets" / "lines.yaml")


def tasks(options: argparse.Namespace) -> list[Task]:
    """Returns the trainings: for every dimension and sigma, one for each seed."""
    base, made = load_base(), []
    for dimension, sigma, seed in product(options.dimensions, options.sigmas, range(options.seeds)):
        latent = dataclasses.replace(base.latent, dimension=dimension, constraint=options.constraint, init=options.init)
        full = dataclasses.replace(base.full, batch_size=base.full.batch_size * (1 if sigma else 2))
        made.append(Task(dataclasses.replace(base, seed=seed, sigma=sigma, latent=latent, full=full), options.images))
    return made


def training_angles(params: Params) -> np.ndarray:
    """Returns the angles of the training lines, (N,) in radians."""
    return random_angles(params.data.train, params.data.seed)


def ends(params: Params) -> np.ndarray:
    """Returns the ids of the training images at both ends of the paths, (P, 2). `evaluate.seed` draws them."""
    rng = numpy_generator(params.evaluate.seed, "benchmark/lines")
    return np.stack([rng.choice(params.data.train, 2, replace=False) for _ in range(params.evaluate.pairs)])


def run(task: Task) -> Result:
    """Trains a model, and measures its reconstructions and its paths."""
    params = task.params
    runtime = start(params.precision)
    images = draw_lines(training_angles(params), params.data.image_size)[..., None]
    model, _ = start_model(images, params, runtime)
    learn_all(Trainer(model, images, None, params, runtime), task.images_seen)
    codes, pairs = model.codes.values.cpu(), ends(params)
    times = torch.linspace(0, 1, POINTS, dtype=torch.float32)
    points = model.config.geometry().interpolate(codes[pairs[:, 0]], codes[pairs[:, 1]], times)
    paths = render(model.generator, points.flatten(0, 1), runtime).reshape(*points.shape[:2], *images.shape[1:])
    values = line_values(paths) | {"psnr": psnr(render(model.generator, codes, runtime), images / np.float32(255))}
    return Result(values, paths[:SHOWN])


def run_all(todo: list[Task]) -> list[Result]:
    """Runs the trainings side by side, each on one thread, so that a result does not depend on the number of cores."""
    os.environ["IGLO_THREADS"] = "1"  # for the processes that start here
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        return list(bar(pool.map(run, todo), total=len(todo), unit="run"))


def references(params: Params) -> dict[str, np.ndarray]:
    """Returns the true paths and the crossfades of pixels, both (P, POINTS, H, W, 1) in [0, 1]."""
    size, times = params.data.image_size, np.linspace(0, 1, POINTS)
    first, last = training_angles(params)[ends(params)].T
    turns = (last - first + np.pi) % (2 * np.pi) - np.pi
    angles = first[:, None] + turns[:, None] * times
    true = draw_lines(angles.ravel(), size).reshape(*angles.shape, size, size, 1) / np.float32(255)
    times = times.astype(np.float32)[:, None, None, None]
    return {"true path": true, "crossfade": (1 - times) * true[:, :1] + times * true[:, -1:]}


def cell(values: np.ndarray, scale: float, digits: int, sign: str = "") -> str:
    """Returns mean ± standard deviation of the values of all seeds."""
    spread = f" ± {values.std(ddof=1) * scale:.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean() * scale:{sign}.{digits}f}{spread}"


def table(options: argparse.Namespace, results: list[Result]) -> str:
    """Returns the Markdown table: a row for each dimension and sigma."""
    names = [name for name, _, _ in COLUMNS.values()]
    headings = ["codes", "σ", *names, *(f"{name}: minus σ 0" for name in names[:2])]
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    shape = len(options.dimensions), len(options.sigmas), options.seeds
    values = {key: np.reshape([result.values[key] for result in results], shape) for key in COLUMNS}
    for name, paths in references(load_base()).items():
        known = line_values(paths)
        cells = [f"{known[key] * scale:.{digits}f}" for key, (_, scale, digits) in COLUMNS.items() if key in known]
        lines.append(f"| {name} | | {' | '.join(cells)} | | | |")
    for (row, dimension), (column, sigma) in product(enumerate(options.dimensions), enumerate(options.sigmas)):
        cells = [f"d = {dimension}", f"{sigma:g}"]
        cells += [cell(values[key][row, column], scale, digits) for key, (_, scale, digits) in COLUMNS.items()]
        for key, (_, scale, digits) in list(COLUMNS.items())[:2]:
            differences = values[key][row, column] - values[key][row, options.sigmas.index(0)]
            cells.append(cell(differences, scale, digits, "+") if sigma else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path, options: argparse.Namespace, todo: list[Task], results: list[Result]) -> None:
    """Draws, for the first pairs, the known paths and the path of every dimension and sigma with seed 0."""
    rows, labels = [], []
    for index in range(SHOWN):
        for name, paths in references(load_base()).items():
            rows.append(paths[index])
            labels.append(name)
        for task, result in zip(todo[:: options.seeds], results[:: options.seeds], strict=True):
            rows.append(result.paths[index])
            labels.append(f"d = {task.params.latent.dimension}, σ {task.params.sigma:g}")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_grid(path, rows, None, labels)


def main() -> None:
    """Runs the trainings, prints the table and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[100], help="dimensions of the codes")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.0, 0.1, 0.5, 1.0], help="noises; 0 is needed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--images", type=int, default=40_000, help="images that the generator sees in a run")
    parser.add_argument("--constraint", default="sphere", choices=["none", "ball", "sphere"], help="where codes lie")
    parser.add_argument("--init", default="pca", choices=["pca", "normal"], help="starting codes")
    parser.add_argument("--figure", type=Path, default=Path("reports/lines.png"), help="file of the figure")
    options = parser.parse_args()
    if 0 not in options.sigmas:
        parser.error("--sigmas: 0 must be among them, because every sigma is compared with it")
    todo = tasks(options)
    results = run_all(todo)
    print(table(options, results))
    draw(options.figure, options, todo, results)


if __name__ == "__main__":
    main()
