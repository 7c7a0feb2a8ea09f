"""The numbers of a run: reconstruction, inversion, continuity, samples and the split, by the functions of `metrics`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iglo.backbones.networks import backbone_name
from iglo.data.store import UnitImages
from iglo.errors import warn
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import load_feature_network, lpips_distance
from iglo.latent.priors import SAMPLERS, Prior, PriorChoice, fit_prior
from iglo.models.glo import GLOModel, encode, render
from iglo.params.fields import within
from iglo.params.sections import EvaluateParams, Params
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime

EPSILON = 1e-2  # of the perceptual path length, in t
BATCH = 128  # images that the feature network looks at together
FALLBACK = "gaussian"  # the prior of `best` where there are too few images to compare priors
BLOCK = 2**25  # values of the images that are rendered and measured at once: 128 MiB of float32


@dataclass(frozen=True)
class FeatureNetwork:
    """The network that looks at images, in batches: arrays in, arrays out.

    Attributes:
        distance_name, feature_name: how metric keys name it.
    """

    distance_name: str
    feature_name: str
    _distance: Callable[[Tensor, Tensor], Tensor]
    _features: Callable[[Tensor], Tensor]
    runtime: Runtime

    @classmethod
    def make(cls, params: Params, runtime: Runtime) -> "FeatureNetwork":
        """The network of `params.evaluate`; where the run was trained against it, its names end in `_trained_on`."""
        network, weights, loss = params.evaluate.network, params.evaluate.weights, params.loss
        with within("evaluate."):
            distance_name, distance = lpips_distance(network, weights, params.seed, runtime.device)
            feature_name, features = load_feature_network(network, weights, params.seed, runtime.device)
        trained_on = loss.name == "perceptual" and feature_name == backbone_name(loss.network, loss.weights)
        suffix = "_trained_on" if trained_on else ""
        return cls(distance_name + suffix, feature_name + suffix, distance, features, runtime)

    @torch.inference_mode()
    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(N, H, W, C), (N, H, W, C) float in [0, 1] → (N,) LPIPS distances."""
        return self._over(lambda rows: self._distance(self._batch(a, rows), self._batch(b, rows)), len(a))

    @torch.inference_mode()
    def features(self, images: np.ndarray | UnitImages) -> np.ndarray:
        """(N, H, W, C) float in [0, 1] → (N, D) pooled features."""
        return self._over(lambda rows: self._features(self._batch(images, rows)), len(images))

    def _over(self, function: Callable[[slice], Tensor], count: int) -> np.ndarray:
        batches = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
        return self.runtime.map_batches(lambda rows: function(rows).cpu(), batches).numpy()

    def _batch(self, images: np.ndarray | UnitImages, rows: slice) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).to(self.runtime.device)


def quality(images: np.ndarray, targets: np.ndarray, feature_network: FeatureNetwork) -> dict[str, float]:
    """L1, PSNR, SSIM and the feature network's distance of images to their targets, (N, H, W, C) float in [0, 1]."""
    return {
        "l1": metrics.l1(images, targets),
        "psnr": metrics.psnr(images, targets),
        "ssim": metrics.ssim(images, targets),
        feature_network.distance_name: float(feature_network.distance(images, targets).mean()),
    }


def rendered_quality(
    render: Callable[[slice], np.ndarray], targets: UnitImages, feature_network: FeatureNetwork
) -> dict[str, float]:
    """`quality` of images that are rendered block by block, so that memory never holds them all.

    Args:
        render: rows of the targets → (M, H, W, C) float in [0, 1].
    """
    size = max(1, BLOCK // targets[:1].size)
    means: dict[str, float] = {}
    for start in range(0, len(targets), size):
        block = targets[start : start + size]
        done = start + len(block)
        for name, value in quality(render(slice(start, done)), block, feature_network).items():
            mean = means.get(name, 0.0)
            means[name] = mean + (value - mean) * len(block) / done
    return means


@dataclass(frozen=True)
class Paths:
    """Interpolations between training codes.

    Attributes:
        ids: (P, 2) the training images at both ends; P is 0 if there is only one training image.
        images: (P, 2K + 1, H, W, C) float in [0, 1].
    """

    ids: np.ndarray
    images: np.ndarray


def interpolations(model: GLOModel, params: EvaluateParams, seed: int, runtime: Runtime) -> Paths:
    """Paths between pairs of training codes drawn by seed, 2K + 1 points each."""
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
    """Path length, jerkiness and midpoint realism of `paths`, by the feature network; empty if there is no path.

    Args:
        train_features: (N, D) the feature network's features of all training images.
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
    """Images at t and t + ε on every path, t drawn by seed."""
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
    """(count, H, W, C) float: images of codes that a prior draws."""
    return render(model.generator, prior.draw(count, torch_generator(seed, "samples")), runtime)


def choose_prior(
    model: GLOModel, test: np.ndarray, feature_network: FeatureNetwork, params: Params, runtime: Runtime
) -> PriorChoice:
    """Fits every prior to the learned codes, and chooses one; `best` has the smallest kernel distance.

    `evaluate` reports on the same samples and held-out images. So the reported distance of the best prior is a little
    smaller than on other images. A kernel distance needs two images on each side; with fewer, `best` is FALLBACK.

    Args:
        test: (T, H, W, C) float in [0, 1], the held-out images.
    """
    geometry, real, distances = model.config.geometry(), feature_network.features(test), {}
    priors = {name: fit_prior(name, model.codes.values, geometry, params.seed) for name in SAMPLERS}
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
    """Kernel and Fréchet distance, precision, recall and novelty of samples, compared with held-out images.

    A measure that needs more images than there are is left out.

    Args:
        fake, real: (S, D), (T, D) features of samples and held-out images.
        fake_nearest, real_nearest: (S,), (T,) distance of each to its nearest training image, in the same features.
        name: name of the feature network that gave the features.
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
    """How well the first subset stands for all training images, beside a random subset of the same length.

    Args:
        points: (N, P) the features in which the first round clustered.
        labels: (N,) their clusters.
        chosen: (M,) ids of the first subset.
    """
    random = numpy_generator(seed, "split/random").choice(len(points), len(chosen), replace=False)
    return {
        "coverage": metrics.cluster_coverage(labels, chosen),
        "coverage_random": metrics.cluster_coverage(labels, random),
        "distance": metrics.mean_nearest(points, chosen),
        "distance_random": metrics.mean_nearest(points, random),
    }


def invert(model: GLOModel, images: np.ndarray, runtime: Runtime) -> np.ndarray:
    """(N, H, W, C) uint8 → (N, H, W, C) float: G(E(x))."""
    return render(model.generator, encode(model.encoder, images, model.config, runtime), runtime)
