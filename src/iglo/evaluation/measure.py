"""Measures reconstructions and the split, with the functions of `metrics`."""

from collections.abc import Callable

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.image_sets import Values, means_of
from iglo.models.glo import GLOModel, encode, render
from iglo.randomness import numpy_generator
from iglo.runtime.device import Runtime

BLOCK = 2**25  # pixel values that are rendered and measured at a time: 128 MiB of float32
RANDOM_SUBSETS = 5  # that the first subset is compared with


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


def split_quality(points: np.ndarray, labels: np.ndarray, chosen: np.ndarray, seed: int) -> Values:
    """Measures how well the first subset represents all training images, and the same for random subsets.

    The numbers of random subsets are means over RANDOM_SUBSETS of them; `se` has the standard errors of these means.

    Args:
        points: (N, P) features of all training images, as the first round clustered them.
        labels: (N,) their clusters.
        chosen: (M,) ids of the first subset; a random one has as many.
        seed: `evaluate.seed`.
    """
    randoms = [
        numpy_generator(seed, "split/random", step).choice(len(points), len(chosen), replace=False)
        for step in range(RANDOM_SUBSETS)
    ]
    measures = {
        "coverage": lambda subset: metrics.cluster_coverage(labels, subset),
        "distance": lambda subset: metrics.mean_nearest(points, subset),
    }
    values: Values = {}
    drawn = {f"{name}_random": np.array([measure(each) for each in randoms]) for name, measure in measures.items()}
    means, errors = means_of(drawn)
    for name, measure in measures.items():
        values |= {name: measure(chosen), f"{name}_random": means[f"{name}_random"]}
    return {**values, "se": errors}


def through_encoder(model: GLOModel, images: np.ndarray, runtime: Runtime) -> np.ndarray:
    """Returns G(E(x)), (N, H, W, C) float in [0, 1], for images x (N, H, W, C) uint8."""
    return render(model.generator, encode(model.encoder, images, model.config, runtime), runtime)
