"""Measures a model: reconstructions, interpolations, samples and the split, with the functions of `metrics`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iglo.data.store import UnitImages
from iglo.errors import warn
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.latent.priors import PRIORS, Prior, PriorChoice, fit_prior
from iglo.models.glo import GLOModel, encode, render
from iglo.params.pipeline import EvaluateParams, Params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime

EPSILON = 1e-2  # step of t for the perceptual path length
FALLBACK = "gaussian"  # the choice of `best` if there are too few images to compare priors
BLOCK = 2**25  # pixel values that are rendered and measured at a time: 128 MiB of float32


def quality(images: np.ndarray, targets: np.ndarray, feature_network: FeatureNetwork) -> dict[str, float]:
    """Returns L1, PSNR, SSIM and LPIPS of images and their targets, both (N, H, W, C) float in [0, 1]."""
    return {
        "l1": metrics.l1(images, targets),
        "psnr": metrics.psnr(images, targets),
        "ssim": metrics.ssim(images, targets),
        feature_network.distance_name: float(feature_network.distance(images, targets).mean()),
    }


def rendered_quality(
    render: Callable[[slice], np.ndarray], targets: UnitImages, feature_network: FeatureNetwork
) -> dict[str, float]:
    """Returns the `quality` of images that are rendered block by block, so that memory never holds all of them.

    Args:
        render: gives the images of some rows of the targets, (M, H, W, C) float in [0, 1].
    """
    size = max(1, BLOCK // targets[:1].size)
    means: dict[str, float] = {}
    for start in range(0, len(targets), size):
        block = targets[start : start + size]
        stop = start + len(block)
        for name, value in quality(render(slice(start, stop)), block, feature_network).items():
            mean = means.get(name, 0.0)
            means[name] = mean + (value - mean) * len(block) / stop
    return means


@dataclass(frozen=True)
class Paths:
    """Interpolations between training codes.

    Attributes:
        ids: (P, 2) ids of the training images at both ends; P is 0 if there is only one training image.
        images: (P, 2K + 1, H, W, C) float in [0, 1].
    """

    ids: np.ndarray
    images: np.ndarray


def interpolations(model: GLOModel, params: EvaluateParams, seed: int, runtime: Runtime) -> Paths:
    """Returns paths of 2K + 1 points between pairs of training codes, which are drawn with `seed`."""
    ids, start, end = _pairs(model, params.pairs, seed)
    times = torch.linspace(0, 1, 2 * params.steps + 1, dtype=torch.float32)
    points = model.config.geometry().interpolate(start, end, times)
    images = render(model.generator, points.flatten(0, 1), runtime)
    return Paths(ids, images.reshape(*points.shape[:2], *images.shape[1:]))


def continuity(
    model: GLOModel,
    paths: Paths,
    train_features: np.ndarray,
    feature_network: FeatureNetwork,
    seed: int,
    runtime: Runtime,
) -> dict[str, float]:
    """Returns path length, jerkiness and midpoint realism of `paths`; empty if there is no path.

    Args:
        train_features: (N, D) features of all training images, computed by `feature_network`.
    """
    if not len(paths.ids):
        return {}
    points = paths.images.shape[1]
    steps = [feature_network.distance(paths.images[:, i], paths.images[:, i + 1]) for i in range(points - 1)]
    near, far = _close_pairs(model, len(paths.ids), seed, runtime)
    midpoints = feature_network.features(paths.images[:, points // 2])
    ends = feature_network.features(np.concatenate([paths.images[:, 0], paths.images[:, -1]]))
    name = feature_network.distance_name.removeprefix("lpips_")
    return {
        f"ppl_{name}": metrics.path_length(feature_network.distance(near, far), EPSILON),
        f"jerkiness_{name}": metrics.jerkiness(np.stack(steps, axis=1)),
        f"midpoint_realism_{feature_network.feature_name}": metrics.midpoint_realism(midpoints, ends, train_features),
    }


def _pairs(model: GLOModel, count: int, seed: int) -> tuple[np.ndarray, Tensor, Tensor]:
    codes = model.codes.values.cpu()
    rng = torch_generator(seed, "interpolation/pairs")
    pairs = [torch.randperm(len(codes), generator=rng)[:2] for _ in range(count if len(codes) > 1 else 0)]
    ids = torch.stack(pairs) if pairs else torch.zeros(0, 2, dtype=torch.int64)
    return ids.numpy(), codes[ids[:, 0]], codes[ids[:, 1]]


def _close_pairs(model: GLOModel, count: int, seed: int, runtime: Runtime) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images at t and at t + ε on every path; t is drawn with `seed`."""
    _, start, end = _pairs(model, count, seed)
    rng = torch_generator(seed, "interpolation/times")
    times = torch.rand(count, generator=rng, dtype=torch.float32) * (1 - EPSILON)
    geometry = model.config.geometry()
    images = []
    for shift in (0, EPSILON):
        points = [
            geometry.interpolate(a[None], b[None], t[None] + shift) for a, b, t in zip(start, end, times, strict=True)
        ]
        images.append(render(model.generator, torch.cat(points).flatten(0, 1), runtime))
    return images[0], images[1]


def draw_samples(model: GLOModel, prior: Prior, count: int, seed: int, runtime: Runtime) -> np.ndarray:
    """Returns images of codes that the prior draws, (count, H, W, C) float in [0, 1]."""
    return render(model.generator, prior.draw(count, torch_generator(seed, "samples")), runtime)


def choose_prior(
    model: GLOModel, test: np.ndarray, feature_network: FeatureNetwork, params: Params, runtime: Runtime
) -> PriorChoice:
    """Fits every prior to the learned codes and chooses one: the one named in `params`, or the best.

    The best prior has the smallest kernel distance between its samples and the held-out images. `evaluate` reports on
    the same samples and images, so the reported distance of the best prior is a little smaller than on other images.
    A kernel distance needs two images on each side; with fewer, FALLBACK is chosen and a warning says so.

    Args:
        test: (T, H, W, C) float in [0, 1], the held-out images.
    """
    geometry, real, distances = model.config.geometry(), feature_network.features(test), {}
    priors = {name: fit_prior(name, model.codes.values, geometry, params.seed) for name in PRIORS}
    comparable = min(len(real), params.evaluate.samples) >= metrics.FEWEST_FOR_DISTANCE
    for name, prior in priors.items() if comparable else ():
        samples = draw_samples(model, prior, params.evaluate.samples, params.seed, runtime)
        distances[name] = metrics.kernel_distance(feature_network.features(samples), real)
    chosen = params.prior
    if chosen == "best":
        chosen = min(distances, key=distances.get, default=FALLBACK)
        if not comparable and runtime.is_main:
            warn(
                f"prior: best needs at least {metrics.FEWEST_FOR_DISTANCE} held-out images and as many "
                f"evaluate.samples to compare priors, got {len(real)} and {params.evaluate.samples}; {FALLBACK} is "
                "taken instead.",
            )
    return PriorChoice(priors, chosen, distances)


def sample_quality(
    fake: np.ndarray, real: np.ndarray, fake_nearest: np.ndarray, real_nearest: np.ndarray, name: str
) -> dict[str, float]:
    """Returns kernel and Fréchet distance, precision, recall and novelty of samples.

    The samples are compared with held-out images. A measure that needs more images is left out.

    Args:
        fake, real: (S, D) and (T, D) features of samples and held-out images.
        fake_nearest, real_nearest: (S,) and (T,) distances to the nearest training images, in the same features.
        name: the feature network that computed the features.
    """
    values, fewest = {}, min(len(fake), len(real))
    if fewest >= metrics.FEWEST_FOR_DISTANCE:
        values["kd"] = metrics.kernel_distance(fake, real)
        values["fd"] = metrics.frechet_distance(fake, real)
    if fewest >= metrics.FEWEST_FOR_PRECISION:
        values["precision"], values["recall"] = metrics.precision_recall(real, fake)
    if fewest:
        values["novelty"] = metrics.novelty(fake_nearest, real_nearest)
    return {f"{measure}_{name}": value for measure, value in values.items()}


def split_quality(points: np.ndarray, labels: np.ndarray, chosen: np.ndarray, seed: int) -> dict[str, float]:
    """Measures how well the first subset represents all training images, and the same for a random subset.

    Args:
        points: (N, P) features of all training images, as the first round clustered them.
        labels: (N,) their clusters.
        chosen: (M,) ids of the first subset; the random one has as many.
    """
    random = numpy_generator(seed, "split/random").choice(len(points), len(chosen), replace=False)
    return {
        "coverage": metrics.cluster_coverage(labels, chosen),
        "coverage_random": metrics.cluster_coverage(labels, random),
        "distance": metrics.mean_nearest(points, chosen),
        "distance_random": metrics.mean_nearest(points, random),
    }


def through_encoder(model: GLOModel, images: np.ndarray, runtime: Runtime) -> np.ndarray:
    """Returns G(E(x)), (N, H, W, C) float in [0, 1], for images x (N, H, W, C) uint8."""
    return render(model.generator, encode(model.encoder, images, model.config, runtime), runtime)
