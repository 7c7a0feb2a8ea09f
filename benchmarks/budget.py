"""Draws PSNR against seconds of training: what more epochs bring, and what they cost.

It trains the model of `params.yaml` with several shares of its epochs (those of the rounds, of `full` and of the
encoder), one training after the other, with all threads. It prints a Markdown table: seconds, the PSNR of G(z) of the
training images, and the PSNR of G(E(x)) of the validation images; mean ± standard deviation over the seeds. The figure
shows both against the seconds. Several files of params are compared in the same table.

    python benchmarks/budget.py [--params params.yaml] [--shares 0.125 0.25 0.5 1 2] [--seeds 3]
        [--figure reports/budget.png]

It needs the prepared images and the subsets that `dvc repro` leaves in `data/`.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
from matplotlib import pyplot

from iglo.data.store import ImageStore
from iglo.evaluation.metrics import psnr
from iglo.files.io import read_array
from iglo.models.glo import encode, render
from iglo.params.pipeline import Params
from iglo.params.reading import load_params
from iglo.progress import bar, quiet
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder
from iglo.training.glo_stages import learn_all, learn_subset, start_model
from iglo.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, DIGITS = ("seconds", "train PSNR, dB", "validation PSNR, dB"), (1, 2, 2)  # digits after the point


class Result(NamedTuple):
    """Seconds of a training, and the PSNR of training and of validation images."""

    seconds: float
    train: float
    validation: float


def scaled(params: Params, share: float, seed: int) -> Params:
    """Returns the params with a share of the epochs, at least one each, and another seed."""

    def part(epochs: int) -> int:
        return max(1, round(share * epochs))

    return dataclasses.replace(
        params,
        seed=seed,
        rounds=[dataclasses.replace(each, epochs=part(each.epochs)) for each in params.rounds],
        full=dataclasses.replace(params.full, epochs=part(params.full.epochs)),
        encoder=dataclasses.replace(params.encoder, epochs=part(params.encoder.epochs)),
    )


def run(params: Params) -> Result:
    """Trains a model as the pipeline does, and measures it."""
    runtime, store = start(params.precision), ImageStore.open(ROOT / "data" / "prepared")
    subsets = [read_array(ROOT / "data" / "subsets" / str(each.id) / "chosen.npy") for each in params.rounds]
    images, begin = np.asarray(store.train), time.perf_counter()
    model, history = start_model(images, params, runtime)
    trainer = Trainer(model, images, history, params, runtime)
    for index, subset in enumerate(subsets):
        learn_subset(trainer, subset, index)
    learn_all(trainer)
    learn_encoder(trainer)
    seconds = time.perf_counter() - begin
    codes = encode(model.encoder, store.validation, model.config, runtime)
    pairs = ((model.codes.values, images), (codes, store.validation))
    return Result(seconds, *(psnr(render(model.generator, z, runtime), x / np.float32(255)) for z, x in pairs))


def measure(files: list[str], shares: list[float], seeds: int) -> dict[tuple[str, float], np.ndarray]:
    """Returns the results (seeds, 3) of every file and share."""
    todo = [(file, share, seed) for file in files for share in shares for seed in range(seeds)]
    found: dict[tuple[str, float], list[Result]] = {}
    run(scaled(load_params(files[0]), 0, 0))  # the first training of a process also loads libraries
    for file, share, seed in bar(todo, unit="training"):
        with quiet():
            found.setdefault((file, share), []).append(run(scaled(load_params(file), share, seed)))
    return {key: np.array(results) for key, results in found.items()}


def summary(results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means and the standard deviations of results (seeds, 3)."""
    return results.mean(0), results.std(0, ddof=min(1, len(results) - 1))


def table(found: dict[tuple[str, float], np.ndarray]) -> str:
    """Returns the Markdown table."""
    lines = ["| params | share of the epochs | " + " | ".join(COLUMNS) + " |", "|---|---:" + "|---:" * 3 + "|"]
    for (file, share), results in found.items():
        cells = [f"{a:.{d}f} ± {b:.{d}f}" for a, b, d in zip(*summary(results), DIGITS, strict=True)]
        lines.append(f"| `{file}` | {share:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: dict[tuple[str, float], np.ndarray], figure: str) -> None:
    """Draws both PSNR against seconds, with standard deviations. The large mark has all epochs."""
    pyplot.switch_backend("Agg")
    _, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for file in dict.fromkeys(file for file, _ in found):
        shares = sorted(share for name, share in found if name == file)
        means, spreads = np.array([summary(found[file, share]) for share in shares]).swapaxes(0, 1)
        sizes = [80 if share == 1 else 20 for share in shares]
        for column, one in enumerate(axes, 1):
            one.errorbar(means[:, 0], means[:, column], spreads[:, column], label=Path(file).name, capsize=3)
            one.scatter(means[:, 0], means[:, column], sizes)
            one.set(xlabel=COLUMNS[0], ylabel=COLUMNS[column])
    axes[0].legend()
    pyplot.savefig(figure, dpi=150)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", nargs="+", default=[str(ROOT / "params.yaml")])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.125, 0.25, 0.5, 1, 2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", default=None)
    options = parser.parse_args(argv)
    found = measure(options.params, options.shares, options.seeds)
    print(table(found))
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
