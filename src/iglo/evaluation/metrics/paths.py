"""Paths between codes: how even they are, and what the images in their middle are."""

import numpy as np
from skimage.filters import difference_of_gaussians

from iglo.evaluation.metrics.arrays import flat, ratio
from iglo.evaluation.metrics.neighbours import nearest

DETAIL_FLOOR = 1e-4  # root mean square; a detail with less is rounding: 8-bit images have steps of 4e-3


def path_length(distances: np.ndarray, epsilon: float) -> float:
    """Returns the perceptual path length: the mean of d(G(z_t), G(z_{t+ε})) / ε² (Karras et al. 2019, section 4.1).

    Args:
        distances: any shape; the distances d between images at t and t + `epsilon` on paths with t from 0 to 1.
    """
    return float(np.mean(distances, dtype=np.float64) / epsilon**2)


def jerkiness(steps: np.ndarray) -> float:
    """Returns the largest step divided by the mean step, averaged over paths: 1 is perfectly even, 2K is one jump.

    A path of length 0 counts as 1, because all its steps are equal.

    Args:
        steps: `(P, 2K)` distances between successive images on each of P paths.
    """
    steps = np.asarray(steps, dtype=np.float64)
    largest, mean = steps.max(axis=1), steps.mean(axis=1)
    return float(np.mean(np.divide(largest, mean, out=np.ones_like(mean), where=mean > 0)))


def midpoint_realism(
    midpoint_features: np.ndarray, reconstruction_features: np.ndarray, training_features: np.ndarray
) -> float:
    """Returns the mean distance from midpoints to their nearest training images, divided by that of reconstructions.

    1: midpoints are as near to real images as reconstructions are; larger: midpoints are less real.

    Args:
        midpoint_features, reconstruction_features, training_features: `(N, D)`; N may differ.
    """
    midpoints, _ = nearest(midpoint_features, training_features)
    reconstructions, _ = nearest(reconstruction_features, training_features)
    return ratio(midpoints.mean(), reconstructions.mean())


def ghost_index(midpoints: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns how far each midpoint is a crossfade of the two end images of its path `(P,)`, in [0, 1].

    It is R²: the share of the midpoint's detail that a mixture of the ends' details explains. Detail is the difference
    of two Gaussian blurs, with σ of 1 and 2 pixels. The weights are the best ones that are not negative.

    1: a crossfade, at any weights. About 0: an image of its own. A midpoint that equals one end has 1 too, because it
    has nothing that is not in the ends: the path jumps, and `jerkiness` shows that. A midpoint without detail has 0.

    The filter is the best of twelve (differences from a blur, Laplacian, gradient and others) on frogs of CIFAR-10 at
    32×32 and of Tiny ImageNet at 64×64. Real third images have a mean of 0.008 and 0.002. A blurred crossfade (σ = 1)
    still has 0.93 and 0.91, and one with noise of 0.05 has 0.89. The Laplacian loses these (blurred: 0.47 and 0.22;
    noise: 0.28 and 0.60). Pixels without a filter give third images 0.04 and 0.02, and some of them above 0.18. Images
    that share a layout have more in common: real third digits have 0.14. So compare with real third images.

    Args:
        midpoints, starts, ends: `(P, H, W, C)` floats in [0, 1].
    """
    middle, start, end = (_detail(images) for images in (midpoints, starts, ends))
    power, of_start, of_end = _dot(middle, middle), _dot(start, start), _dot(end, end)
    with_start, with_end, between = _dot(middle, start), _dot(middle, end), _dot(start, end)
    determinant = of_start * of_end - between**2
    apart = determinant > 1e-9 * of_start * of_end  # else one end explains as much as both
    weight_start = _divided(with_start * of_end - with_end * between, determinant, apart)
    weight_end = _divided(with_end * of_start - with_start * between, determinant, apart)
    by_both = weight_start * with_start + weight_end * with_end
    by_start = _divided(np.maximum(with_start, 0) ** 2, of_start, of_start > 0)
    by_end = _divided(np.maximum(with_end, 0) ** 2, of_end, of_end > 0)
    mixed = apart & (weight_start >= 0) & (weight_end >= 0)
    explained = np.where(mixed, by_both, np.maximum(by_start, by_end))
    return np.clip(_divided(explained, power, power > DETAIL_FLOOR**2), 0, 1)


def _detail(images: np.ndarray) -> np.ndarray:
    """Returns what lies between blurs with σ of 1 and 2 pixels, as rows `(P, H·W·C)` float64."""
    images = np.asarray(images, dtype=np.float64)
    return flat(difference_of_gaussians(images, (0, 1, 1, 0), (0, 2, 2, 0), mode="reflect"))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.mean(a * b, axis=1)


def _divided(numerator: np.ndarray, denominator: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Returns the quotient, 0 elsewhere."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=where)
