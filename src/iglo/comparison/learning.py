"""One run of the comparison: one method with one seed, learned with the same budget as all others and measured."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from iglo.backbones.networks import backbone_name
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.evaluation import metrics
from iglo.evaluation.measure import (
    FeatureNetwork,
    continuity,
    draw_samples,
    interpolations,
    invert,
    quality,
    sample_quality,
    split_quality,
)
from iglo.files.io import write_array
from iglo.latent.inversion import optimise_codes
from iglo.latent.priors import fit_prior
from iglo.losses.distances import Distance
from iglo.models.glo import Model, decode, encode, recalibrate_bn
from iglo.params.sections import Comparison, Params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_autoencoder
from iglo.training.glo_stages import images_seen_in_all_stages, learn_all, learn_subset, make_distance, start_model
from iglo.training.loop import Progress

SHOWN, SHOWN_PATHS, SHOWN_SAMPLES, NEIGHBOURS = 12, 4, 48, 3


class Curve:
    """PSNR of training images along the stages of a run, against images seen and against seconds.

    Only learning counts as time. The watchers of all stages share one curve, which travels in their checkpoints;
    `earlier_seconds` are those of processes before this one.

    Args:
        every: images seen between two measurements, at least.
    """

    def __init__(self, model: Model, images: np.ndarray, probed: int, every: int, runtime: Runtime):
        self.model, self.runtime, self.every = model, runtime, every
        self.ids = np.linspace(0, len(images) - 1, min(probed, len(images))).astype(int)
        self.targets = np.asarray(images[self.ids], np.float32) / 255
        self.images_seen, self.seconds, self.earlier_seconds, self.rows = 0, 0.0, 0.0, []
        self.measure(model.generator)

    def measure(self, network: nn.Module) -> None:
        """Adds a row: the images as the network draws them, its batch norm settled on their codes."""
        generator, codes = copy.deepcopy(network), self._codes()
        recalibrate_bn(generator, codes)
        images = decode(generator, codes, self.runtime)
        row = {"images_seen": self.images_seen, "seconds": round(self.seconds, 2)}
        self.rows.append(row | {"psnr": metrics.psnr(images, self.targets)})
        self.resumed = time.perf_counter()

    def _codes(self) -> torch.Tensor:
        if self.model.encoder is None:
            return self.model.codes[torch.from_numpy(self.ids)]
        images = (self.targets * 255).round().astype(np.uint8)
        return encode(copy.deepcopy(self.model.encoder), images, self.model.shape, self.runtime)

    def make_callback(self, network: nn.Module, images_seen: int) -> "_Watcher":
        """An observer of a stage that presents so many images in an epoch."""
        self.resumed = time.perf_counter()
        return _Watcher(self, network, images_seen)


class _Watcher:
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
) -> tuple[Model, Curve]:
    """A method's model after `comparison.budget` images seen, to the nearest epoch, and the curve of its learning.

    Args:
        images: (N, H, W, C) uint8, the training images.
        subsets: ids of each round of the split.
    """
    params, chosen, measured = comparison.params(method, seed), comparison.methods[method], comparison.measure
    distance = make_distance(params, runtime)
    model = start_model(images, params, runtime)
    curve = Curve(model, images, measured.images, comparison.budget // measured.points, runtime)
    if chosen.learner == "autoencoder":
        folder = checkpoints.part("autoencoder")
        arguments = (params, runtime, comparison.budget, measured.code_penalty)
        learn_autoencoder(model, images, distance, *arguments, folder, curve.make_callback)
    else:
        if chosen.subsets == "random":
            subsets = random_subsets(subsets, seed)
        _learn_stages(model, images, subsets, distance, params, comparison.budget, runtime, checkpoints, curve)
    if curve.rows[-1]["images_seen"] < curve.images_seen:
        curve.measure(model.generator)
    return model, curve


def _learn_stages(model, images, subsets, distance, params, budget, runtime, checkpoints, curve) -> None:
    """The rounds, then all images with what the rounds have left of the budget."""
    without_full = replace(params, full=replace(params.full, epochs=0))
    staged = images_seen_in_all_stages([len(subset) for subset in subsets], without_full)
    if params.method == "incremental" and staged >= budget:
        raise UserError(f"budget: must be more than the {staged} images that the rounds present, got {budget}.")
    for index, subset in enumerate(subsets):
        part = checkpoints.part(f"staged-{index + 1}")
        progress: Progress = learn_subset(
            model, images, subset, distance, index, params, runtime, part, curve.make_callback
        )
        budget -= progress.images_seen
    learn_all(model, images, distance, params, runtime, checkpoints.part("full"), curve.make_callback, budget)


def random_subsets(subsets: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Disjoint random subsets of the same lengths that together hold the same ids."""
    shuffled = numpy_generator(seed, "comparison/subsets").permutation(np.concatenate(subsets))
    return [np.sort(part) for part in np.split(shuffled, np.cumsum([len(subset) for subset in subsets])[:-1])]


def measure_run(
    folder: Path, model: Model, store: ImageStore, comparison: Comparison, method: str, seed: int, runtime: Runtime
) -> dict[str, Any]:
    """Writes what a run's pictures need into `folder` and returns its numbers.

    Pairs, samples and shown images are drawn by the comparison's own seed: the same for every method and seed.
    """
    params, own = comparison.params(method, seed), comparison.params()
    feature_networks = [FeatureNetwork.make(params, runtime)]
    if params.loss.name == "perceptual":
        feature_networks.append(is_trained_on(params, runtime))
    feature_network, drawn = feature_networks[0], own.seed
    train, test = (np.asarray(part, np.float32) / 255 for part in (store.train, store.test))
    reconstructed = decode(model.generator, model.codes, runtime)
    encoded = {"train": invert(model, store.train, runtime), "test": invert(model, store.test, runtime)}
    paths = interpolations(model, own.evaluate, drawn, runtime)
    prior = fit_prior(params.prior, model.codes, model.shape.geometry(), drawn)
    samples = draw_samples(model, prior, own.evaluate.samples, drawn, runtime)
    train_features, test_features, sample_features = (
        feature_network.features(images) for images in (train, test, samples)
    )
    distance = make_distance(own, runtime)
    shown = {part: shown_ids(len(images), drawn) for part, images in (("train", train), ("test", test))}
    nearest = metrics.nearest_indices(sample_features[:SHOWN], train_features, NEIGHBOURS)
    pictures = {
        "reconstructions": reconstructed[shown["train"]],
        "encoder_train": encoded["train"][shown["train"]],
        "encoder_test": encoded["test"][shown["test"]],
        "paths": paths.images[:SHOWN_PATHS],
        "samples": samples[:SHOWN_SAMPLES],
    }
    for name, picture in pictures.items():
        write_array(folder / f"{name}.npy", (picture * 255).round().astype(np.uint8))
    write_array(folder / "neighbours.npy", nearest)
    return {
        "images_seen": sum(row["images_seen"] for row in last_rows(model.log)),
        "train": {
            "recon": _quality(reconstructed, train, feature_networks),
            "encoder": _quality(encoded["train"], train, feature_networks),
        },
        "test": {"encoder": _quality(encoded["test"], test, feature_networks)},
        "inversion": inversion(model, store.test, distance, comparison, feature_network, runtime),
        "interpolation": continuity(model, paths, train_features, feature_network, drawn, runtime),
        "samples": _sample_quality(sample_features, train_features, test_features, feature_network),
    }


def is_trained_on(params: Params, runtime: Runtime) -> FeatureNetwork:
    """The network of the perceptual loss as a feature network, whose keys say so."""
    section = replace(params.evaluate, network=params.loss.network, weights=params.loss.weights)
    return FeatureNetwork.make(replace(params, evaluate=section), runtime)


def _quality(images: np.ndarray, targets: np.ndarray, feature_networks: Sequence[FeatureNetwork]) -> dict[str, float]:
    values = [quality(images, targets, feature_network) for feature_network in feature_networks]
    return {key: value for each in values for key, value in each.items()}


def _sample_quality(
    fake: np.ndarray, train: np.ndarray, real: np.ndarray, feature_network: FeatureNetwork
) -> dict[str, float]:
    nearest = [metrics.nearest_distances(features, train)[0] for features in (fake, real)]
    return sample_quality(fake, real, *nearest, feature_network.feature_name)


def last_rows(log: list[dict]) -> list[dict]:
    """The last row of each stage that learned the generator, in which `images_seen` counts from the stage's start."""
    return list({row["stage"]: row for row in log if "held_out" not in row}.values())


def shown_ids(count: int, seed: int) -> np.ndarray:
    return numpy_generator(seed, "comparison/shown").permutation(count)[:SHOWN]


def inversion(
    model: Model,
    images: np.ndarray,
    distance: Distance,
    comparison: Comparison,
    feature_network: FeatureNetwork,
    runtime: Runtime,
) -> dict[str, dict[str, dict[str, float]]]:
    """Quality of held-out images after steps of optimisation, from the encoder's code and from a random one.

    Args:
        images: (N, H, W, C) uint8, of which the first `measure.inverted` are taken.
        distance: what is minimised, the same for all methods.
    """
    section, geometry = comparison.measure, model.shape.geometry()
    images = np.asarray(images[: section.inverted])
    targets = images.astype(np.float32) / 255
    rng = torch_generator(comparison.params().seed, "comparison/inversion")
    starts = {
        "encoder": encode(model.encoder, images, model.shape, runtime),
        "random": geometry.sample(len(images), model.shape.dimension, rng),
    }
    values: dict[str, dict[str, dict[str, float]]] = {}
    for name, start in starts.items():
        found = optimise_codes(model, images, start, distance, section.steps, runtime, section.rate)
        drawn = {
            step: decode(model.generator, codes, runtime) for step, codes in zip(section.steps, found, strict=True)
        }
        values[name] = {
            str(step): {
                "psnr": metrics.psnr(pictures, targets),
                feature_network.distance_name: float(feature_network.distance(pictures, targets).mean()),
            }
            for step, pictures in drawn.items()
        }
    return values


def measure_reference(
    folder: Path,
    store: ImageStore,
    points: np.ndarray,
    labels: np.ndarray,
    chosen: np.ndarray,
    comparison: Comparison,
    runtime: Runtime,
) -> dict[str, Any]:
    """What the numbers of runs are read beside: real images against real ones, noise against real ones, the split.

    Args:
        folder: receives the originals of the images that are shown.
        points, labels, chosen: the first round's features, clusters and subset.
    """
    params = comparison.params()
    feature_network = FeatureNetwork.make(params, runtime)
    train, test = (np.asarray(part, np.float32) / 255 for part in (store.train, store.test))
    rng = numpy_generator(params.seed, "comparison/reference")
    real, others = np.split(rng.permutation(len(train)), [min(params.evaluate.samples, len(train) // 2)])
    noise = rng.random((len(real), *train.shape[1:]), dtype=np.float32)
    for name, images in (("train", store.train), ("test", store.test)):
        write_array(folder / f"{name}.npy", np.asarray(images[shown_ids(len(images), params.seed)]))
    floor, ceiling = (
        _sample_quality(
            feature_network.features(images),
            feature_network.features(known),
            feature_network.features(test),
            feature_network,
        )
        for images, known in ((train[real], train[others]), (noise, train))
    )
    return {
        "floor": floor,
        "ceiling": ceiling,
        "split": split_quality(points, labels, chosen, params.seed),
        "feature_network": feature_network.feature_name,
        "trained_on": backbone_name(params.loss.network, params.loss.weights),
        "machine": runtime.machine,
        "budget": comparison.budget,
        "train": len(train),
        "test": len(test),
        "image_size": train.shape[1],
    }
