"""Trains plain GLO, all images at once, with the options of a variant."""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.off_codes.codes import NEIGHBOURS, between_pairs, nearest_codes, starting_codes
from benchmarks.off_codes.options import Options
from benchmarks.off_codes.realism import Realism
from iglo.losses.distances import Perceptual
from iglo.models.codes import CodeTable
from iglo.models.geometry import Sphere
from iglo.models.glo import recalibrate_bn
from iglo.models.networks import Generator, initialise
from iglo.models.style import StyleGenerator
from iglo.runtime.device import Runtime
from iglo.training.optimizers import code_optimizer, network_optimizer

GENERATORS = {"dcgan": Generator, "style": StyleGenerator}
DRAWN, EMA = 25, 0.99  # codes for realism; decay of the mean weights
REFRESH = 50  # steps until neighbours are found anew
AUGMENTS, SHIFT = 4, 2  # inputs that tell an augmentation: flip, two shifts in pixels (at most SHIFT), gain


class Trained(NamedTuple):
    """The mean generator of a training, for codes with `inputs` zeros after them, and the codes (N, d)."""

    generator: nn.Module
    codes: Tensor
    geometry: Sphere
    inputs: int
    steps: int

    def padded(self, codes: Tensor) -> Tensor:
        """Puts the zeros after codes."""
        return _padded(codes, self.inputs)


def train(images: np.ndarray, options: Options, distance: Perceptual, runtime: Runtime) -> Trained:
    """Trains on images (N, H, W, 3) uint8."""
    training = Training(images, options, distance, runtime)
    rendered = options.batch * (1 + (options.noise_weight > 0) + (options.neighbour_weight > 0))
    steps = options.budget // (rendered + DRAWN * (options.realism_weight > 0))
    for step in range(steps):
        training.step(step, step / steps)
    trained = Trained(training.mean, training.table.values, training.geometry, training.inputs, steps)
    recalibrate_bn(trained.generator, trained.padded(trained.codes))
    trained.generator.eval().requires_grad_(False)
    return trained


class Training:
    """The networks, the codes and the generator of random numbers of a training, whose steps it takes."""

    def __init__(self, images: np.ndarray, options: Options, distance: Perceptual, runtime: Runtime):
        self.options, self.distance, self.runtime = options, distance, runtime
        self.rng = torch.Generator().manual_seed(options.seed)
        self.geometry = Sphere(math.sqrt(options.dimension))
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        self.targets = [torch.cat(parts) for parts in zip(*map(self._seen, self.images.split(100)), strict=True)]
        codes = starting_codes(options.start, images, self.targets[-1], options.dimension, self.geometry, self.rng)
        self.table = CodeTable(codes, self.geometry)
        self.inputs = AUGMENTS if options.augmented else 0
        network = GENERATORS[options.generator](options.dimension + self.inputs, options.size, 3, options.width)
        self.generator = initialise(network, self.rng).to(memory_format=torch.channels_last)
        self.mean = copy.deepcopy(self.generator)
        self.optimizers = [
            network_optimizer("adam", self.generator, options.network_rate),
            code_optimizer("adam", [self.table], options.code_rate),
        ]
        self.realism = Realism(options.realism, options.levels, self.targets) if options.realism_weight else None
        self.order = torch.zeros(0, dtype=torch.long)

    @torch.no_grad()
    def _seen(self, images: Tensor) -> list[Tensor]:
        with self.runtime.autocast():
            return self.distance.represent(images)

    def step(self, number: int, progress: float) -> None:
        """Takes a step.

        Args:
            progress: share of the training before this step, in [0, 1).
        """
        if self.options.neighbour_weight and number % REFRESH == 0:
            self.nearest = nearest_codes(self.table.values)
        factor = min(1.0, 4 * (1 - progress) + 0.02) if self.options.schedule == "tail" else 1.0
        rates = (self.options.network_rate, self.options.code_rate)
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.zero_grad()
        ids = self._next_ids()
        self._loss(ids, progress).backward()
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():  # a second time; it changes the last bits only, and the logged numbers were made so
            self.table.weight[ids] = self.geometry.project(self.table.weight[ids])
            decay = min(EMA, (1 + number) / (10 + number))
            for mean, weights in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(weights, 1 - decay)

    def _next_ids(self) -> Tensor:
        """Returns the images of the next batch. A batch may contain the end of an epoch and the begin of the next."""
        if len(self.order) < self.options.batch:
            self.order = torch.cat([self.order, torch.randperm(len(self.images), generator=self.rng)])
        ids, self.order = self.order[: self.options.batch], self.order[self.options.batch :]
        return ids

    def _loss(self, ids: Tensor, progress: float) -> Tensor:
        options, count = self.options, len(ids)
        targets, told = self._targets(ids)
        weights, codes = self._codes(ids, progress)
        codes = [torch.cat([each, told], 1) for each in codes]
        if self.realism:
            codes.append(_padded(self._drawn(), self.inputs))
        last = count * len(weights)
        with self.runtime.autocast():
            levels = self.distance.represent(self.generator(torch.cat(codes)))
            errors = self.distance.compare([level[:last] for level in levels], *[targets] * len(weights))
            means = errors.view(-1, count).mean(1)
        loss = sum(weight * error for weight, error in zip(weights, means, strict=True)) / sum(weights)
        if self.realism:
            loss = loss + options.realism_weight * self.realism([level[last:] for level in levels], self.rng)
        return loss

    def _codes(self, ids: Tensor, progress: float) -> tuple[list[float], list[Tensor]]:
        """Returns weights, and for each weight codes (B, d) whose images are compared with the images of `ids`."""
        options, codes = self.options, self.table(ids)
        weights, made = [1.0], [codes]
        if options.noise_weight:
            noise = torch.randn(codes.shape, generator=self.rng, dtype=torch.float32)
            made.append(codes + (options.noise + (0.0 - options.noise) * progress) * noise)
            weights.append(options.noise_weight)
        if options.neighbour_weight:
            chosen = torch.randint(NEIGHBOURS, (len(ids),), generator=self.rng)
            goals = self.table.values[self.nearest[ids, chosen]]
            times = torch.rand(len(ids), 1, generator=self.rng, dtype=torch.float32) * 0.5
            made.append(self.geometry.project(codes + times * (goals - codes)))
            weights.append(options.neighbour_weight)
        return weights, made

    def _drawn(self) -> Tensor:
        """Draws the codes whose images shall be realistic."""
        kind, rng = self.options.drawn, self.rng
        if kind == "mixed":
            kind = "normal" if torch.rand(1, generator=rng, dtype=torch.float32) < 0.5 else "pairs"
        if kind == "normal":
            return self.geometry.sample(DRAWN, self.options.dimension, rng)
        return between_pairs(self.geometry, self.table.values, DRAWN, rng)

    def _targets(self, ids: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the representation of the images, some of them augmented, and what the generator is told, (B, 4)."""
        if not self.inputs:
            return [target[ids] for target in self.targets], torch.zeros(len(ids), 0, dtype=torch.float32)
        images, told = augmented(self.images[ids], self.options.augmented, self.rng)
        return self._seen(images), told


def augmented(images: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augments a share of images (B, C, H, W); returns them, and a row for each that says how, (B, 4).

    An augmented image is mirrored with probability 1/2, shifted by at most 2 pixels and brightened or darkened by at
    most 20 %.
    """
    count, size = len(images), images.shape[-1]
    on = torch.rand(count, generator=rng, dtype=torch.float32) < share
    flip = (torch.rand(count, generator=rng, dtype=torch.float32) < 0.5) & on
    shift = torch.randint(-SHIFT, SHIFT + 1, (count, 2), generator=rng) * on[:, None]
    gain = (torch.rand(count, generator=rng, dtype=torch.float32) * 0.4 - 0.2) * on
    told = torch.stack([flip.float(), shift[:, 0] / float(SHIFT), shift[:, 1] / float(SHIFT), gain * 5], 1)
    wide = F.pad(torch.where(flip[:, None, None, None], images.flip(3), images), (SHIFT,) * 4, mode="reflect")
    rows, columns = (shift + SHIFT).T.tolist()
    moved = [one[:, y : y + size, x : x + size] for one, y, x in zip(wide, rows, columns, strict=True)]
    return (torch.stack(moved) * (1 + gain[:, None, None, None])).clamp(0, 1), told


def _padded(codes: Tensor, inputs: int) -> Tensor:
    return torch.cat([codes, codes.new_zeros(len(codes), inputs)], 1)
