"""Chooses the settings of the prior `neighbours`: samples near to the validation images that are no copies."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from iglo.evaluation import metrics
from iglo.latent.priors import Prior

COUNTS, NOISES = (5, 15), (0.0, 0.15, 0.3, 0.6, 1.0)  # values of k and of the noise that are tried
ROUNDING = 1e-9  # one copy is exactly one standard error
COPIES = 2.0  # largest copy rate of samples; unit: that of the validation images

Settings = Mapping[str, Any]


def choose_neighbours(
    fit: Callable[..., Prior], features_of: Callable[[Prior], np.ndarray], learned: np.ndarray, validation: np.ndarray
) -> tuple[Prior, Settings]:
    """Fits `neighbours` with every k of COUNTS and noise of NOISES, and returns the prior of the best settings.

    A sample between two near codes may show a training image again. With more noise it shows another image. A sample
    counts as a copy if it is a copy of a reconstruction (`metrics.copies`). The best settings have the smallest kernel
    distance to the validation images, among those whose samples are copies no more often than `few_copies` allows. If
    there are none, the best settings have the smallest copy rate.

    Args:
        fit: fits a prior with the settings `k` and `noise`.
        features_of: draws samples of a prior, and returns what the feature network sees in them (S, D).
        learned, validation: what it sees in the reconstructions of the training images (N, D) and in the validation
            images (V, D).

    Returns:
        the prior, and its settings: k, noise, and `tried`, a mapping for each k and noise with its kernel_distance and
        copy_rate; also `copy_rate`, and `copy_rate_real` of the validation images. With a single training image there
        are no copy rates.
    """
    of_real = _copied(validation, learned)
    priors, tried, allowed = [], [], []
    for k, noise in product(COUNTS, NOISES):
        prior = fit(k=k, noise=noise)
        features = features_of(prior)
        copied = _copied(features, learned)
        priors.append(prior)
        allowed.append(few_copies(copied, of_real))
        distance = metrics.kernel_distance(features, validation)
        tried.append({"k": k, "noise": noise, "kernel_distance": distance, **_rate("copy_rate", copied)})
    best = best_settings(tried, allowed)
    chosen = {key: value for key, value in tried[best].items() if key != "kernel_distance"}
    return priors[best], {**chosen, **_rate("copy_rate_real", of_real), "tried": tried}


def few_copies(samples: np.ndarray, real: np.ndarray) -> bool:
    """Returns whether the copy rate of samples is at most COPIES times that of real images, plus one standard error.

    The error is that of the difference, so that one copy is allowed if no real image is a copy.

    Args:
        samples, real: which images are copies, (S,) and (V,) bool; with no image it is true.
    """
    if not len(samples) or not len(real):
        return True
    samples, real = samples.astype(np.float64), COPIES * real.astype(np.float64)
    error = np.hypot(metrics.mean_error(samples), metrics.mean_error(real))
    return bool(samples.mean() <= real.mean() + error * (1 + ROUNDING))


def best_settings(tried: Sequence[Settings], allowed: Sequence[bool]) -> int:
    """Returns the index of the smallest kernel distance among the allowed settings, else that of the fewest copies."""
    if any(allowed):
        return min(np.flatnonzero(allowed).tolist(), key=lambda index: tried[index]["kernel_distance"])
    return min(range(len(tried)), key=lambda index: (tried[index]["copy_rate"], tried[index]["kernel_distance"]))


def _copied(features: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Returns which images are copies (M,) bool; (0,) if there is only one training image."""
    if len(learned) < 2:
        return np.zeros(0, bool)
    return metrics.copies(metrics.nearest(features, learned, 2)[0])


def _rate(name: str, copied: np.ndarray) -> dict[str, float]:
    return {name: float(copied.mean())} if len(copied) else {}
