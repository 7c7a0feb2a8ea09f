"""Measures a trained generator: at the codes, and off them."""

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.off_codes.codes import between_neighbours, between_pairs
from benchmarks.off_codes.images import Judged, load_images, load_judge, split
from benchmarks.off_codes.options import Options
from benchmarks.off_codes.training import Trained, train
from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from iglo.backbones.networks import vgg_blocks
from iglo.evaluation import metrics
from iglo.losses.distances import Perceptual
from iglo.models.glo import render
from iglo.runtime.device import Runtime, start

INVERTED, STEPS, RATE = 64, 100, 5e-2  # test images that are inverted; steps of Adam; its rate
RENDERED = 250  # images of a batch


class Made:
    """What a trained generator makes. All random draws have the seed 0.

    Attributes:
        reconstructions: (N, H, W, 3) float in [0, 1], of all training images.
        sets: name → images (`options.measured`, H, W, 3), at the codes and off them.
        ends: two such sets, the reconstructions at both ends of the paths of `midpoints`.
    """

    def __init__(self, trained: Trained, options: Options, runtime: Runtime):
        codes, geometry, count = trained.codes, trained.geometry, options.measured
        rng = torch.Generator().manual_seed(0)
        first = torch.randint(len(codes), (count,), generator=rng)
        second = (first + torch.randint(1, len(codes), (count,), generator=rng)) % len(codes)
        middle = geometry.interpolate(codes[first], codes[second], torch.tensor([0.5], dtype=torch.float32))[:, 0]
        rows = torch.randperm(len(codes), generator=rng)[:count]

        def images(points: torch.Tensor) -> np.ndarray:
            return render(trained.generator, trained.padded(points), runtime, RENDERED)

        self.reconstructions = images(codes)
        self.ends = self.reconstructions[first.numpy()], self.reconstructions[second.numpy()]
        self.sets = {
            "reconstructions": self.reconstructions[rows],
            "normal": images(geometry.sample(count, options.dimension, rng)),
            "gaussian": images(_gaussian(trained, count, rng)),
            "neighbours": images(between_neighbours(geometry, codes, count, rng)),
            "pairs": images(between_pairs(geometry, codes, count, rng)),
            "midpoints": images(middle),
        }


class Laboratory:
    """Trains variants and measures them. It reads a folder of images, and looks at real images, once.

    Args:
        folders: name of a data set → folder.
        loss_weights, judge_weights: .safetensors files of VGG-16 and EfficientNet-Lite0.
    """

    def __init__(self, folders: dict[str, Path], loss_weights: Path, judge_weights: Path):
        self.folders, self.loss_weights = folders, loss_weights
        self.runtime = start("bf16")
        self.judge = load_judge(judge_weights, self.runtime)
        self._judged: dict[tuple, Judged] = {}

    def result(self, options: Options) -> dict:
        """Trains and measures, and returns the numbers."""
        judged = self._images(options)
        started = time.perf_counter()
        trained = self._trained(judged, options)
        seconds = time.perf_counter() - started
        return {"seconds": round(seconds, 1), "steps": trained.steps} | measured(trained, judged, options, self.runtime)

    def shown(self, options: Options) -> tuple[Made, Judged]:
        """Trains, and returns what the generator makes, and the real images."""
        judged = self._images(options)
        return Made(self._trained(judged, options), options, self.runtime), judged

    def _trained(self, judged: Judged, options: Options) -> Trained:
        blocks = vgg_blocks("vgg16", str(self.loss_weights), 4, 0)
        distance = Perceptual(blocks, IMAGENET_MEAN, IMAGENET_STD, self.runtime.dtype, options.pixel_weight)
        return train(judged.training, options, distance, self.runtime)

    def _images(self, options: Options) -> Judged:
        key = (options.data, options.size, options.images)
        if key not in self._judged:
            images = load_images(self.folders[options.data], options.size, shuffle=options.data != "frogs")
            self._judged[key] = Judged(*split(images, options.images), self.judge)
        return self._judged[key]


def measured(trained: Trained, judged: Judged, options: Options, runtime: Runtime) -> dict:
    """Returns the numbers of a trained generator; all random draws have the seed 0.

    Keys: `psnr` of training images, `inverted_psnr` of test images, `ghost` (the mean ghost index of midpoints),
    `real` (the validation images) and the sets of generated images, the last two as `Judged.numbers`.
    """
    made = Made(trained, options, runtime)
    sets, (first, second) = made.sets, made.ends
    ghosts = metrics.ghost_index(sets["midpoints"], first, second)
    return {
        "psnr": metrics.psnr(made.reconstructions, judged.training.astype(np.float32) / 255),
        "inverted_psnr": inverted_psnr(trained, judged),
        "ghost": float(ghosts.mean()),
        "real": judged.real,
        **{name: judged.numbers(each) for name, each in sets.items()},
    }


def _gaussian(trained: Trained, count: int, rng: torch.Generator) -> torch.Tensor:
    """Draws codes (count, d) of a Gaussian that is fitted to the codes, and projects them."""
    codes, dimension = trained.codes, trained.codes.shape[1]
    covariance = torch.cov(codes.T) + 1e-4 * torch.eye(dimension, dtype=torch.float32)
    normal = torch.randn(count, dimension, generator=rng, dtype=torch.float32)
    return trained.geometry.project(codes.mean(0) + normal @ torch.linalg.cholesky(covariance).T)


def inverted_psnr(trained: Trained, judged: Judged) -> float:
    """Fits codes to the first test images by their pixels, from the codes of the nearest training images, in dB."""
    test, training = (
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        for images in (judged.test[:INVERTED], judged.training)
    )
    small = [F.avg_pool2d(images, 2).flatten(1) for images in (test, training)]
    codes = trained.codes[torch.cdist(*small).argmin(1)].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([codes], RATE)

    def rendered() -> torch.Tensor:
        return trained.generator(trained.padded(trained.geometry.project(codes)))

    for _ in range(STEPS):
        optimizer.zero_grad()
        (rendered() - test).square().mean((1, 2, 3)).sum().backward()
        optimizer.step()
    with torch.no_grad():
        images = rendered().permute(0, 2, 3, 1).numpy()
    return metrics.psnr(images, judged.test[:INVERTED].astype(np.float32) / 255)
