"""Trains one run of the comparison: one method with one seed, with the same budget as all other runs."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from iglo.errors import UserError
from iglo.evaluation import metrics
from iglo.models.glo import GLOModel, encode, recalibrate_bn, render
from iglo.models.history import History
from iglo.params.comparison import Comparison
from iglo.randomness import numpy_generator
from iglo.runtime.device import Runtime
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_autoencoder
from iglo.training.glo_stages import images_seen_in_all_stages, learn_all, learn_subset, start_model
from iglo.training.trainer import Trainer


class Curve:
    """The PSNR of training images during a run, over images seen and over seconds.

    Seconds count the training alone, not the measurements. The callbacks of all stages share one curve and save it in
    their checkpoints. `earlier_seconds` were spent by earlier processes, before a checkpoint was loaded.

    Args:
        count: how many training images are measured; they are evenly spaced among all.
        every: the least number of images seen between two measurements.
    """

    def __init__(self, model: GLOModel, images: np.ndarray, count: int, every: int, runtime: Runtime):
        self.model, self.runtime, self.every = model, runtime, every
        self.ids = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
        self.targets = np.asarray(images[self.ids], np.float32) / 255
        self.images_seen, self.seconds, self.earlier_seconds, self.rows = 0, 0.0, 0.0, []
        self.measure(model.generator)

    def measure(self, network: nn.Module) -> None:
        """Adds a row. A copy of the network renders the images, with batch norm recalibrated on their codes."""
        generator, codes = copy.deepcopy(network), self._codes()
        recalibrate_bn(generator, codes)
        images = render(generator, codes, self.runtime)
        row = {"images_seen": self.images_seen, "seconds": round(self.seconds, 2)}
        self.rows.append(row | {"psnr": metrics.psnr(images, self.targets)})
        self.resumed = time.perf_counter()

    def _codes(self) -> torch.Tensor:
        if self.model.encoder is None:
            return self.model.codes.values[torch.from_numpy(self.ids)]
        images = (self.targets * 255).round().astype(np.uint8)
        codes = encode(copy.deepcopy(self.model.encoder), images, self.model.config, self.runtime)
        return codes.to(self.runtime.device)

    def make_callback(self, network: nn.Module, images_seen: int) -> "_CurveCallback":
        """Returns a callback for a stage in which the network sees `images_seen` images per epoch."""
        self.resumed = time.perf_counter()
        return _CurveCallback(self, network, images_seen)


class _CurveCallback:
    def __init__(self, curve: Curve, network: nn.Module, images_seen: int):
        self.curve, self.network, self.images_seen = curve, network, images_seen

    def after_step(self, model: nn.Module) -> None:
        pass

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        curve, now = self.curve, time.perf_counter()
        curve.images_seen += self.images_seen
        curve.seconds += now - curve.resumed
        curve.resumed = now
        if curve.images_seen - curve.rows[-1]["images_seen"] >= curve.every:
            curve.measure(self.network)

    def state_dict(self) -> dict:
        return {"images_seen": self.curve.images_seen, "seconds": self.curve.seconds, "rows": self.curve.rows}

    def load_state_dict(self, state: dict) -> None:
        self.curve.images_seen, self.curve.seconds = state["images_seen"], state["seconds"]
        self.curve.rows, self.curve.earlier_seconds = state["rows"], state["seconds"]


def learn_run(
    images: np.ndarray,
    subsets: Sequence[np.ndarray],
    comparison: Comparison,
    method: str,
    seed: int,
    runtime: Runtime,
    checkpoints: CheckpointFolder,
) -> tuple[GLOModel, History, Curve]:
    """Trains a method until it has seen `comparison.budget` images, to the nearest epoch.

    Args:
        images: (N, H, W, C) uint8, the training images.
        subsets: the ids of each round's subset.

    Returns:
        The model, its history and the curve of its training.
    """
    params, chosen, measured = comparison.params(method, seed), comparison.methods[method], comparison.measure
    model, history = start_model(images, params, runtime)
    curve = Curve(model, images, measured.images, comparison.budget // measured.points, runtime)
    trainer = Trainer(model, images, history, params, runtime, checkpoints, curve.make_callback)
    if chosen.learner == "autoencoder":
        learn_autoencoder(trainer.inside("autoencoder"), comparison.budget, measured.code_penalty)
    else:
        if chosen.subsets == "random":
            subsets = random_subsets(subsets, seed)
        _learn_stages(trainer, subsets, comparison.budget)
    if curve.rows[-1]["images_seen"] < curve.images_seen:
        curve.measure(model.generator)
    return model, history, curve


def _learn_stages(trainer: Trainer, subsets: Sequence[np.ndarray], budget: int) -> None:
    """Trains on the subsets, then on all images with the rest of the budget."""
    params = trainer.params
    without_full = replace(params, full=replace(params.full, epochs=0))
    staged = images_seen_in_all_stages([len(subset) for subset in subsets], without_full)
    if params.method == "incremental" and staged >= budget:
        raise UserError(f"budget: must be more than the {staged} images seen in the rounds, got {budget}.")
    for index, subset in enumerate(subsets):
        budget -= learn_subset(trainer.inside(f"staged-{index + 1}"), subset, index).images_seen
    learn_all(trainer.inside("full"), budget)


def random_subsets(subsets: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Returns disjoint random subsets that have the same lengths and together the same ids as the given ones."""
    shuffled = numpy_generator(seed, "comparison/subsets").permutation(np.concatenate(subsets))
    return [np.sort(part) for part in np.split(shuffled, np.cumsum([len(subset) for subset in subsets])[:-1])]
