"""How fast a training step is, beside a plain one in the same process.

The plain reference: float32, contiguous tensors, target features recomputed at every step, dense Adam on all codes,
batch 75. Ours: the library's own loop body. Both: DCGAN to 64×64, VGG-16 blocks 1 to 4 (random weights, as fast as
any), L1 on pixels and features.

    python benchmarks/step.py [--steps 12] [--images 600]
    python benchmarks/step.py --precision fp32 tf32 bf16 --batch 75 300 --how library eager --seconds 60

A line for every combination, all of them timed in turn: images per second, how many times the reference's, and the
share of the bf16 matrix product that this machine reaches. How: as the library does it (on one GPU with CUDA graphs),
eager (kernel by kernel), or compiled (as the library, and the VGG's blocks by torch.compile). With --seconds, each then
goes on in the library's whole loop for as long, and from its rate follows the time of the paper's training.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from iglo.backbones.networks import IMAGENET_MEAN, IMAGENET_STD, vgg_blocks
from iglo.losses.distances import Perceptual
from iglo.losses.terms import Objective, Reconstruction
from iglo.models.codes import Codes, CodeTable, normal_codes
from iglo.models.geometry import Sphere
from iglo.models.networks import Generator, initialise
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import allow_tf32, start
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.callbacks import EMA
from iglo.training.loop import LRSchedule, fit
from iglo.training.optimizers import RowAdam

BATCH, DIMENSION, SIDE, WIDTH = 75, 100, 64, 64
PAPER = 6000 * 2000  # images, and how often each is presented


def new_generator() -> nn.Module:
    return initialise(Generator(DIMENSION, SIDE, 3, WIDTH), torch_generator(0, "generator"))


@dataclass(frozen=True)
class Variant:
    """A way to take the library's steps."""

    precision: str
    batch: int
    how: str  # library | eager | compiled

    @property
    def name(self) -> str:
        return f"{self.precision}, batch {self.batch}" + ("" if self.how == "library" else f", {self.how}")


def reference(images: np.ndarray, device: torch.device) -> Iterator[None]:
    """Plain training steps: one per `next`."""
    blocks = vgg_blocks("vgg16", "random", 4, 0).to(device)
    generator = new_generator().to(device)
    codes = nn.Parameter(normal_codes(len(images), DIMENSION, Sphere(10.0), torch_generator(0, "codes")).to(device))
    optimizer = torch.optim.Adam([*generator.parameters(), codes], lr=1e-3)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    def features(x: torch.Tensor) -> list[torch.Tensor]:
        found, x = [x], (x - mean) / std
        for block in blocks:
            found.append(x := block(x))
        return found

    rng = torch_generator(0, "order")
    while True:
        ids = torch.randint(len(images), (BATCH,), generator=rng).to(device)
        target = pixels[ids].float() / 255
        pairs = zip(features(generator(codes[ids])), features(target), strict=True)
        loss = sum(F.l1_loss(a, b) for a, b in pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


class Ours:
    """The library's training of one variant."""

    def __init__(self, images: np.ndarray, variant: Variant):
        self.variant, self.run = variant, start(variant.precision)
        blocks = vgg_blocks("vgg16", "random", 4, 0)
        distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, self.run.dtype).to(self.run.device)
        codes = normal_codes(len(images), DIMENSION, Sphere(10.0), torch_generator(0, "codes"))
        self.model = nn.Module()
        self.model.generator = self.run.place(new_generator())
        self.model.codes = Codes(image=CodeTable(codes, Sphere(10.0))).to(self.run.device)
        ids = np.arange(len(images))
        targets = Targets(images, ids, distance, self.run, cache_gb=8)
        self.batches = Batches(targets, {"current": IdSampler(ids, variant.batch)}, 0, "step")
        self.objective = Objective([(1.0, Reconstruction())], distance, None if variant.how == "eager" else self.run)
        self.optimizers = [
            torch.optim.Adam(self.model.generator.parameters(), 1e-3, fused=True),
            RowAdam(list(self.model.codes.tables.values()), 5e-2),
        ]
        if variant.how == "compiled":
            for block in distance.blocks:
                block.compile(dynamic=False)

    def steps(self) -> Iterator[None]:
        """The body of the library's loop: a step per `next`."""
        for batch in self.batches.between(0, 10**9):
            with self.run.autocast():
                loss, *_ = self.objective(self.model, batch, self.batches.noise(0))
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            yield

    def train(self, epochs: int) -> float:
        """Images per second of the whole loop, with the moving average and the log."""
        allow_tf32(self.variant.precision == "tf32")
        ema = EMA(self.model.generator, 0.99)
        synchronize()
        started = time.perf_counter()
        state = fit(self.model, self.objective, self.batches, self.optimizers, LRSchedule(epochs), [ema])
        synchronize()
        return state.images_seen / (time.perf_counter() - started)


def median_seconds(things: Sequence[Callable[[], None]], rounds: int, times: int = 1) -> list[float]:
    """Of each of several things, done `times` times in turn, so that a drift of the machine's speed hits all."""
    seconds: list[list[float]] = [[] for _ in things]
    for round_ in range(rounds + 2):
        for done, kept in zip(things, seconds, strict=True):
            synchronize()
            started = time.perf_counter()
            for _ in range(times):
                done()
            synchronize()
            if round_ >= 2:
                kept.append((time.perf_counter() - started) / times)
    return [statistics.median(kept) for kept in seconds]


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations per second of a bf16 matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, generator=torch_generator(0, "matrix")).to(device, torch.bfloat16)
    (seconds,) = median_seconds([lambda: a @ a], 20)
    return 2 * side**3 / seconds


def stepper(steps: Iterator[None], precision: str) -> Callable[[], None]:
    """Takes a step under the settings of its own precision."""

    def step() -> None:
        allow_tf32(precision == "tf32")
        next(steps)

    return step


def operations(step: Callable[[], None]) -> int:
    """Floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "tf32", "bf16"], default=["bf16"])
    parser.add_argument("--batch", nargs="+", type=int, default=[BATCH], help=f"images in a step (default {BATCH})")
    parser.add_argument("--how", nargs="+", choices=["library", "eager", "compiled"], default=["library"])
    parser.add_argument("--steps", type=int, default=12, help="timed rounds of each (default 12)")
    parser.add_argument("--images", type=int, default=600, help="images in the table (default 600)")
    parser.add_argument("--seconds", type=float, help="how long each goes on in the whole loop")
    arguments = parser.parse_args()

    images = numpy_generator(0, "images").integers(0, 256, (arguments.images, SIDE, SIDE, 3), dtype=np.uint8)
    device = start("fp32").device
    peak = matrix_rate(device)
    gflop = operations(stepper(Ours(images[:BATCH], Variant("bf16", BATCH, "eager")).steps(), "bf16")) / BATCH / 1e9
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}; {gflop:.1f} GFLOP an image; bf16 product: {peak / 1e12:.2f} TFLOP/s")

    # Many ways in one process: each network is compiled for its one size, and may be as often as there are ways.
    torch._dynamo.config.recompile_limit = 1000
    variants = [Variant(*each) for each in product(arguments.precision, arguments.batch, arguments.how)]
    trainings = [Ours(images, variant) for variant in variants]
    steps = [stepper(reference(images, device), "fp32")]
    steps += [stepper(training.steps(), training.variant.precision) for training in trainings]
    slow, *fast = median_seconds(steps, arguments.steps, 20 if device.type == "cuda" else 1)

    print(f"{'reference':36} {BATCH / slow:9.1f} images/s  {1000 * slow:8.2f} ms a step")
    rates = [variant.batch / seconds for variant, seconds in zip(variants, fast, strict=True)]
    for variant, seconds, rate in zip(variants, fast, rates, strict=True):
        print(
            f"{variant.name:36} {rate:9.1f} images/s  {1000 * seconds:8.2f} ms a step  "
            f"{rate * slow / BATCH:6.2f} times the reference  {rate * gflop * 1e9 / peak:4.0%} of the product"
        )
    if arguments.seconds:
        epochs = [math.ceil(arguments.seconds * rate / len(images)) for rate in rates]
        rates = [training.train(each) for training, each in zip(trainings, epochs, strict=True)]
        print(f"the whole loop, with the moving average and the log, for about {arguments.seconds:.0f} s each:")
    for variant, rate in zip(variants, rates, strict=True):
        minutes = PAPER / rate / 60
        print(f"{variant.name:36} {rate:9.1f} images/s: the paper's 12 million images seen in {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
