"""Compares the training speed of several ranks with one process of as many threads, in images per second.

    python benchmarks/ranks.py [--ranks 2] [--epochs 2] [--rounds 3] [--loss perceptual | l1]
    python benchmarks/ranks.py --quality [--ranks 2] [--epochs 20]

It runs one process with one thread, one process with as many threads as ranks, and the ranks with one thread each. They
run in turn, so that a change of the machine's speed affects all of them. All train with the library's loop in bf16: a
DCGAN to 64×64 of width 64, batches of 80 images over all ranks, twelve batches in an epoch. The last line is the ratio
of the medians.

With --quality it compares how well they train: plain GLO on scikit-learn's digits at 32×32 with the values of
params.yaml, for three seeds. The result is the PSNR of the reconstructions of all 1797 images.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from iglo.backbones.networks import vgg_blocks
from iglo.evaluation.metrics import psnr
from iglo.losses.distances import L1, Distance, Perceptual
from iglo.losses.terms import Objective, Reconstruction
from iglo.models.codes import Codes, CodeTable, Shard, normal_codes
from iglo.models.geometry import Sphere
from iglo.models.glo import GLOModel, render
from iglo.models.networks import Generator, initialise
from iglo.params.reading import load_params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime import device
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.glo_stages import learn_all, start_model
from iglo.training.loop import LRSchedule, fit
from iglo.training.optimizers import RowAdam, network_optimizer
from iglo.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
IMAGES, BATCH, DIMENSION, SIDE, WIDTH = 960, 80, 100, 64, 64
WARM_UP = 3  # steps that are not timed


class Clock:
    """A callback that times every step except the first WARM_UP."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_step(self, model: nn.Module) -> None:
        self.times.append(time.perf_counter())

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass

    @property
    def seconds(self) -> float:
        """The mean time of a step."""
        timed = self.times[WARM_UP - 1 :]
        return (timed[-1] - timed[0]) / (len(timed) - 1)


def learn(epochs: int, loss: str, out: Path) -> None:
    """Trains on random images; every process runs this. The first rank writes the images per second of all ranks."""
    run = device.start("bf16", distributed=True)
    images = numpy_generator(0, "images").integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    distance: Distance = L1()
    if loss == "perceptual":
        distance = Perceptual(vgg_blocks("vgg16", "random", 4, 0), IMAGENET_MEAN, IMAGENET_STD, run.dtype)
    distance.to(run.device)
    codes, block = normal_codes(IMAGES, DIMENSION, Sphere(10.0), torch_generator(0, "codes")), run.local_slice(IMAGES)
    model = nn.Module()
    model.generator = run.to_device(initialise(Generator(DIMENSION, SIDE, 3, WIDTH), torch_generator(0, "generator")))
    table = CodeTable(codes[block].clone(), Sphere(10.0), shard=Shard(block.start, IMAGES))
    model.codes = Codes(image=table).to(run.device)
    ids, clock = np.arange(IMAGES), Clock()
    targets = Targets(images, ids[block], distance, run, cache_gb=4)
    batches = Batches(targets, {"current": IdSampler(ids, BATCH)}, 0, "steps")
    optimizers = [
        network_optimizer("adam", model.generator, 1e-3),
        RowAdam(list(model.codes.tables.values()), 5e-2),
    ]
    objective = Objective([(1.0, Reconstruction())], distance)
    fit(model, objective, batches, optimizers, LRSchedule(epochs), [clock])
    if run.is_main:
        out.write_text(json.dumps(BATCH / clock.seconds))


def quality(epochs: int, out: Path) -> None:
    """Trains on digits; every process runs this. The first rank writes the PSNR of one process and of all ranks, in dB.

    The file has a list for `one` and for `ranks`, with a value for each seed.
    """
    run, images = device.start("bf16", distributed=True), digits()
    found: dict[str, list[float]] = {"one": [], "ranks": []}
    for seed in range(3):
        params = replace(load_params(ROOT / "params.yaml"), seed=seed, method="glo")
        for name, each in (("one", run.single_process), ("ranks", run)):
            with tempfile.TemporaryDirectory() as folder:
                started, history = start_model(images, params, run.single_process)
                started.save(Path(folder))
                model = GLOModel.load(folder, each)
            learn_all(Trainer(model, images, history, params, each), epochs * len(images))
            block = each.local_slice(len(images))
            own = psnr(
                render(model.generator, model.codes.values, each.single_process), images[block] / np.float32(255)
            )
            share = (block.stop - block.start) / len(images)
            found[name].append(float(each.all_reduce(torch.tensor(own * share, dtype=torch.float64))))
    if run.is_main:
        out.write_text(json.dumps(found))


def digits() -> np.ndarray:
    """Returns scikit-learn's digits, (1797, 32, 32, 1) uint8."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return small.repeat(4, axis=1).repeat(4, axis=2)[..., None]


def rate(ranks: int, threads: int, arguments: argparse.Namespace, folder: Path) -> float:
    """Returns the images per second of `ranks` processes with `threads` threads each."""
    return launched(ranks, threads, ["--epochs", str(arguments.epochs), "--loss", arguments.loss], folder)


def launched(ranks: int, threads: int, options: list[str], folder: Path) -> Any:
    """Starts `ranks` processes of this script and returns what the first one writes."""
    out = folder / "found.json"
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *torchrun, __file__, "--out", str(out), *options]
    variables = {"OMP_NUM_THREADS": str(threads), "IGLO_THREADS": str(threads)}
    subprocess.run(command, env=os.environ | variables, check=True, stderr=subprocess.PIPE)
    return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2, help="ranks, and threads of the one process (default 2)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each run (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each setting runs (default 3)")
    parser.add_argument("--loss", choices=["perceptual", "l1"], default="perceptual")
    parser.add_argument("--quality", action="store_true", help="compare the quality, for three seeds")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out and arguments.quality:
        quality(arguments.epochs, Path(arguments.out))
    elif arguments.out:
        learn(arguments.epochs, arguments.loss, Path(arguments.out))
    elif arguments.quality:
        show_quality(arguments)
    else:
        show_rates(arguments)


def show_quality(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quality", "--epochs", str(arguments.epochs)]
        found = launched(arguments.ranks, 1, options, Path(folder))
    for name, values in (("one process", found["one"]), (f"{arguments.ranks} ranks", found["ranks"])):
        each = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name:12} {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} dB   (seeds 0, 1, 2: {each})")


def show_rates(arguments: argparse.Namespace) -> None:
    settings = {(1, 1): [], (1, arguments.ranks): [], (arguments.ranks, 1): []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for (ranks, threads), rates in settings.items():
                rates.append(rate(ranks, threads, arguments, Path(folder)))
    medians = {setting: statistics.median(rates) for setting, rates in settings.items()}
    for (ranks, threads), rates in settings.items():
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        print(f"{ranks} × {threads} threads {medians[ranks, threads]:8.1f} images/s   ({spread})")
    ratio = medians[arguments.ranks, 1] / medians[1, arguments.ranks]
    print(f"{arguments.ranks} ranks × 1 thread: {ratio:.2f} times 1 rank × {arguments.ranks} threads, {arguments.loss}")


if __name__ == "__main__":
    main()
