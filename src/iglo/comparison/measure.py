"""Measures a run of the comparison, and the reference that its numbers are compared with."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from iglo.backbones.networks import backbone_name
from iglo.data.store import ImageStore
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.measure import (
    continuity,
    draw_samples,
    interpolations,
    quality,
    sample_quality,
    split_quality,
    through_encoder,
)
from iglo.files.io import write_array
from iglo.latent.inversion import Search, optimise_codes
from iglo.latent.priors import fit_prior
from iglo.losses.distances import Distance
from iglo.models.glo import GLOModel, encode, render
from iglo.params.comparison import Comparison
from iglo.params.pipeline import Params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime
from iglo.training.trainer import make_distance

SHOWN, SHOWN_PATHS, SHOWN_SAMPLES, NEIGHBOURS = 12, 4, 48, 3


def measure_run(
    folder: Path, model: GLOModel, store: ImageStore, comparison: Comparison, method: str, seed: int, runtime: Runtime
) -> dict[str, Any]:
    """Returns the numbers of a run, and writes the images for its figures into `folder`.

    The seed of `base` draws the pairs, the samples and the shown images, so they are the same for every method and
    seed.
    """
    params, base = comparison.params(method, seed), comparison.params()
    feature_networks = [FeatureNetwork.make(params.evaluate, params.loss, runtime)]
    if params.loss.name == "perceptual":
        feature_networks.append(network_of_the_loss(params, runtime))
    feature_network = feature_networks[0]
    train, test = (np.asarray(part, np.float32) / 255 for part in (store.train, store.test))
    reconstructed = render(model.generator, model.codes.values, runtime)
    encoded = {
        part: through_encoder(model, images, runtime) for part, images in (("train", store.train), ("test", store.test))
    }
    paths = interpolations(model, base.evaluate, base.seed, runtime)
    prior = fit_prior(params.prior, model.codes.values, model.config.geometry(), base.seed)
    samples = draw_samples(model, prior, base.evaluate.samples, base.seed, runtime)
    train_features, test_features, sample_features = (
        feature_network.features(images) for images in (train, test, samples)
    )
    distance = make_distance(base, runtime)
    shown = {part: shown_ids(len(images), base.seed) for part, images in (("train", train), ("test", test))}
    _, nearest = metrics.nearest(sample_features[:SHOWN], train_features, NEIGHBOURS)
    shown_images = {
        "reconstructions": reconstructed[shown["train"]],
        "encoder_train": encoded["train"][shown["train"]],
        "encoder_test": encoded["test"][shown["test"]],
        "paths": paths.images[:SHOWN_PATHS],
        "samples": samples[:SHOWN_SAMPLES],
    }
    for name, images in shown_images.items():
        write_array(folder / f"{name}.npy", (images * 255).round().astype(np.uint8))
    write_array(folder / "neighbours.npy", nearest)
    return {
        "train": {
            "recon": _quality(reconstructed, train, feature_networks),
            "encoder": _quality(encoded["train"], train, feature_networks),
        },
        "test": {"encoder": _quality(encoded["test"], test, feature_networks)},
        "inversion": inversion(model, store.test, distance, comparison, feature_network, runtime),
        "interpolation": continuity(model, paths, train_features, feature_network, base.seed, runtime),
        "samples": _sample_quality(sample_features, train_features, test_features, feature_network),
    }


def network_of_the_loss(params: Params, runtime: Runtime) -> FeatureNetwork:
    """Returns the network of the perceptual loss as a feature network; its metric keys end in `_trained_on`."""
    section = replace(params.evaluate, network=params.loss.network, weights=params.loss.weights)
    return FeatureNetwork.make(section, params.loss, runtime)


def _quality(images: np.ndarray, targets: np.ndarray, feature_networks: Sequence[FeatureNetwork]) -> dict[str, float]:
    values = [quality(images, targets, feature_network) for feature_network in feature_networks]
    return {key: value for each in values for key, value in each.items()}


def _sample_quality(
    fake: np.ndarray, train: np.ndarray, real: np.ndarray, feature_network: FeatureNetwork
) -> dict[str, float]:
    nearest = [metrics.nearest(features, train)[0][:, 0] for features in (fake, real)]
    return sample_quality(fake, real, *nearest, feature_network.feature_name)


def last_rows(log: list[dict]) -> list[dict]:
    """Returns the last row of each stage that trained the generator; `images_seen` counts from the stage's start."""
    return list({row["stage"]: row for row in log if "held_out" not in row}.values())


def shown_ids(count: int, seed: int) -> np.ndarray:
    """Draws the ids of the images that figures show, out of `count`: (SHOWN,) int64, or fewer."""
    return numpy_generator(seed, "comparison/shown").permutation(count)[:SHOWN]


def inversion(
    model: GLOModel,
    images: np.ndarray,
    distance: Distance,
    comparison: Comparison,
    feature_network: FeatureNetwork,
    runtime: Runtime,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measures held-out images after steps of optimising their codes, from the encoder's codes and from random codes.

    Args:
        images: (N, H, W, C) uint8; the first `measure.inverted` are used.
        distance: what the optimisation minimises, the same for all methods.

    Returns:
        Start (`encoder`, `random`) → step → metric → number.
    """
    section, geometry = comparison.measure, model.config.geometry()
    images = np.asarray(images[: section.inverted])
    targets = images.astype(np.float32) / 255
    rng = torch_generator(comparison.params().seed, "comparison/inversion")
    starts = {
        "encoder": encode(model.encoder, images, model.config, runtime),
        "random": geometry.sample(len(images), model.config.dimension, rng),
    }
    plain_adam = {"betas": (0.9, 0.999), "schedule": "constant", "tolerance": 0}
    search = Search(section.steps[-1], rate=section.rate, record=tuple(section.steps), **plain_adam)
    values: dict[str, dict[str, dict[str, float]]] = {}
    for name, start in starts.items():
        found = optimise_codes(model, images, start[:, None], distance, runtime, search)
        drawn = {step: render(model.generator, codes, runtime) for step, codes in found.recorded.items()}
        values[name] = {
            str(step): {
                "psnr": metrics.psnr(rendered, targets),
                feature_network.distance_name: float(feature_network.distance(rendered, targets).mean()),
            }
            for step, rendered in drawn.items()
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
    """Measures real images and noise as if they were samples, and the quality of the split.

    Args:
        folder: receives the originals of the images that figures show.
        points: (N, P) the features in which the first round clustered.
        labels: (N,) their clusters.
        chosen: (M,) ids of the first subset.
    """
    params = comparison.params()
    feature_network = FeatureNetwork.make(params.evaluate, params.loss, runtime)
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
