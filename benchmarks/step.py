"""How fast a training step is, beside a plain one in the same process.

The plain reference: float32, contiguous tensors, target features recomputed at every step, dense Adam on all codes.
Ours: the library's own loop body in bf16. Both: DCGAN to 64×64, VGG-16 blocks 1 to 4 (random weights, as fast as any),
L1 on pixels and features, batch 75.

    python benchmarks/step.py [--steps 12] [--images 600]

The last line is the ratio. The line before it compares the arithmetic done with the machine's own bf16 matrix product.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from iglo import runtime
from iglo.backbones import IMAGENET_MEAN, IMAGENET_STD, vgg_blocks
from iglo.batches import Batches, Schedule, Targets
from iglo.geometry import Sphere
from iglo.latents import Factor, LatentTable, normal_codes
from iglo.losses import Perceptual
from iglo.networks import Generator, initialise
from iglo.objectives import Objective, Reconstruction
from iglo.optimizers import RowAdam
from iglo.randomness import numpy_generator, torch_generator

BATCH, DIMENSION, SIDE, WIDTH = 75, 100, 64, 64


def new_generator() -> nn.Module:
    return initialise(Generator(DIMENSION, SIDE, 3, WIDTH), torch_generator(0, "generator"))


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


def ours(images: np.ndarray, run: runtime.Runtime) -> Iterator[None]:
    """The library's steps: one per `next`."""
    blocks = vgg_blocks("vgg16", "random", 4, 0)
    distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, run.dtype).to(run.device)
    codes = normal_codes(len(images), DIMENSION, Sphere(10.0), torch_generator(0, "codes"))
    model = nn.Module()
    model.generator = run.place(new_generator())
    model.table = LatentTable(image=Factor(codes, Sphere(10.0))).to(run.device)
    ids = np.arange(len(images))
    batches = Batches(Targets(images, ids, distance, run, cache_gb=8), {"current": Schedule(ids, BATCH)}, 0, "bench")
    objective = Objective([(1.0, Reconstruction())], distance)
    optimizers = [
        torch.optim.Adam(model.generator.parameters(), 1e-3, fused=True),
        RowAdam(list(model.table.factors.values()), 5e-2),
    ]
    rng = torch_generator(0, "noise")
    for batch in batches.between(0, 10**9):
        with run.autocast():
            loss, *_ = objective(model, batch, rng)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield


def median_seconds(one: Callable[[], None], other: Callable[[], None], rounds: int, device) -> tuple[float, float]:
    """Of two things done in turn, so that a drift of the machine's speed hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds + 2):
        for done, kept in zip((one, other), times, strict=True):
            synchronize(device)
            started = time.perf_counter()
            done()
            synchronize(device)
            if round_ >= 2:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_rate(device: torch.device, side: int = 2048) -> float:
    """Floating-point operations per second of a bf16 matrix product."""
    a = torch.randn(side, side, generator=torch_generator(0, "matrix")).to(device, torch.bfloat16)
    seconds, _ = median_seconds(lambda: a @ a, lambda: None, 20, device)
    return 2 * side**3 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each (default 12)")
    parser.add_argument("--images", type=int, default=600, help="images in the table (default 600)")
    arguments = parser.parse_args()

    run = runtime.start("bf16")
    images = numpy_generator(0, "images").integers(0, 256, (arguments.images, SIDE, SIDE, 3), dtype=np.uint8)
    plain, fast = reference(images, run.device), ours(images, run)
    next(fast)  # builds the cache of target features
    with FlopCounterMode(display=False) as counter:
        next(fast)
    operations = counter.get_total_flops()
    slow_seconds, fast_seconds = median_seconds(lambda: next(plain), lambda: next(fast), arguments.steps, run.device)
    rate, peak = operations / fast_seconds, matrix_rate(run.device)

    print(f"{run.device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"reference {BATCH / slow_seconds:8.1f} images/s   ({1000 * slow_seconds:.0f} ms a step)")
    print(f"iglo      {BATCH / fast_seconds:8.1f} images/s   ({1000 * fast_seconds:.0f} ms a step)")
    hours = 6000 * 2000 / (BATCH / fast_seconds) / 3600
    print(f"12 million presentations, the paper's whole training, would take {hours:.1f} hours")
    print(
        f"{operations / 1e9:.0f} GFLOP a step: {rate / peak:.0%} of the measured bf16 rate, {peak / 1e12:.2f} TFLOP/s"
    )
    print(f"{slow_seconds / fast_seconds:.2f} times the reference")


if __name__ == "__main__":
    main()
