"""Compares the speed of the library's training step with a plain step in the same process.

The plain step, called the reference, uses float32, contiguous tensors, dense Adam on all codes and batches of 75, and
computes the features of the targets at every step. The library's step is the body of its loop. Both use a DCGAN to
64×64, the blocks 1 to 4 of VGG-16 (with random weights, because weights do not change the speed), and L1 on pixels and
features.

    python benchmarks/step.py [--steps 12] [--images 600]
    python benchmarks/step.py --precision fp32 tf32 bf16 --batch 75 300 --how library eager --seconds 60

It prints a line for every combination of the options: images per second, their ratio to the reference, and their share
of the machine's bf16 matrix product. All combinations are timed in turn. --how chooses between the library's way (on
one GPU with CUDA graphs), eager (kernel by kernel), and compiled (the library's way, with VGG's blocks by
torch.compile). With --seconds, each combination then runs the library's whole loop for that long. From its rate follows
the time for the training of the paper.
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

from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from iglo.backbones.networks import vgg_blocks
from iglo.losses.distances import Perceptual
from iglo.losses.terms import Objective, Reconstruction
from iglo.models.codes import Codes, CodeTable, normal_codes
from iglo.models.geometry import Sphere
from iglo.models.networks import Generator, initialise
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import start
from iglo.runtime.process import allow_tf32
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.callbacks import EMA
from iglo.training.loop import LRSchedule, fit
from iglo.training.optimizers import RowAdam

BATCH, DIMENSION, SIDE, WIDTH = 75, 100, 64, 64
PAPER = 6000 * 2000  # images seen in the training of the paper: 6000 images, each 2000 times


def new_generator() -> nn.Module:
    return initialise(Generator(DIMENSION, SIDE, 3, WIDTH), torch_generator(0, "generator"))


@dataclass(frozen=True)
class Variant:
    """A combination of options."""

    precision: str
    batch: int
    how: str  # library | eager | compiled

    @property
    def name(self) -> str:
        return f"{self.precision}, batch {self.batch}" + ("" if self.how == "library" else f", {self.how}")


def reference(images: np.ndarray, device: torch.device) -> Iterator[None]:
    """Takes plain training steps, one for each `next`."""
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


class Library:
    """The library's training with one combination of options."""

    def __init__(self, images: np.ndarray, variant: Variant):
        self.variant, self.run = variant, start(variant.precision)
        blocks = vgg_blocks("vgg16", "random", 4, 0)
        distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, self.run.dtype).to(self.run.device)
        codes = normal_codes(len(images), DIMENSION, Sphere(10.0), torch_generator(0, "codes"))
        self.model = nn.Module()
        self.model.generator = self.run.to_device(new_generator())
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
        """Takes steps as the body of the library's loop does, one for each `next`."""
        for batch in self.batches.between(0, 10**9):
            with self.run.autocast():
                loss, *_ = self.objective(self.model, batch, self.batches.noise(0))
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            yield

    def train(self, epochs: int) -> float:
        """Runs the whole loop, with EMA and log; returns its images per second."""
        allow_tf32(self.variant.precision == "tf32")
        ema = EMA(self.model.generator, 0.99)
        synchronize()
        started = time.perf_counter()
        state = fit(self.model, self.objective, self.batches, self.optimizers, LRSchedule(epochs), [ema])
        synchronize()
        return state.images_seen / (time.perf_counter() - started)


def median_seconds(functions: Sequence[Callable[[], None]], rounds: int, times: int = 1) -> list[float]:
    """Returns the median seconds of each of several functions, which are called in turn, `times` times each.

    They take turns, so that a change of the machine's speed affects all of them.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for round_ in range(rounds + 2):
        for function, kept in zip(functions, seconds, strict=True):
            synchronize()
            started = time.perf_counter()
            for _ in range(times):
                function()
            synchronize()
            if round_ >= 2:
                kept.append((time.perf_counter() - started) / times)
    return [statistics.median(kept) for kept in seconds]


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(device: torch.device) -> float:
    """Returns the floating-point operations per second of a bf16 matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, generator=torch_generator(0, "matrix")).to(device, torch.bfloat16)
    (seconds,) = median_seconds([lambda: a @ a], 20)
    return 2 * side**3 / seconds


def stepper(steps: Iterator[None], precision: str) -> Callable[[], None]:
    """Returns a function that takes a step with the settings of its precision."""

    def step() -> None:
        allow_tf32(precision == "tf32")
        next(steps)

    return step


def operations(step: Callable[[], None]) -> int:
    """Returns the number of floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "tf32", "bf16"], default=["bf16"])
    parser.add_argument("--batch", nargs="+", type=int, default=[BATCH], help=f"images in a step (default {BATCH})")
    parser.add_argument("--how", nargs="+", choices=["library", "eager", "compiled"], default=["library"])
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each combination (default 12)")
    parser.add_argument("--images", type=int, default=600, help="number of training images (default 600)")
    parser.add_argument("--seconds", type=float, help="also run the whole loop of each combination for so many seconds")
    arguments = parser.parse_args()

    images = numpy_generator(0, "images").integers(0, 256, (arguments.images, SIDE, SIDE, 3), dtype=np.uint8)
    device = start("fp32").device
    peak = matrix_rate(device)
    gflop = operations(stepper(Library(images[:BATCH], Variant("bf16", BATCH, "eager")).steps(), "bf16")) / BATCH / 1e9
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}; {gflop:.1f} GFLOP an image; bf16 product: {peak / 1e12:.2f} TFLOP/s")

    # each combination compiles its network again
    torch._dynamo.config.recompile_limit = 1000
    variants = [Variant(*each) for each in product(arguments.precision, arguments.batch, arguments.how)]
    trainings = [Library(images, variant) for variant in variants]
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
        print(f"the whole loop, with EMA and log, for about {arguments.seconds:.0f} s each:")
    for variant, rate in zip(variants, rates, strict=True):
        minutes = PAPER / rate / 60
        print(f"{variant.name:36} {rate:9.1f} images/s: the paper's 12 million images seen in {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
