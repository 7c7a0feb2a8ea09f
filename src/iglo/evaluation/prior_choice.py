"""Fits the priors of a model and chooses one by the validation images."""

import numpy as np

from iglo.data.store import UnitImages
from iglo.errors import warn
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.latent.priors import PRIORS, Prior, PriorChoice, fit_prior
from iglo.models.glo import GLOModel, render
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime

FALLBACK = "gaussian"  # the choice of `best` if there are too few images to compare priors
REPORTED, COMPARED = "samples", "samples/validation"  # streams of random numbers


def draw_samples(
    model: GLOModel, prior: Prior, count: int, seed: int, runtime: Runtime, stream: str = REPORTED
) -> np.ndarray:
    """Returns images of codes that the prior draws, (count, H, W, C) float in [0, 1].

    Args:
        seed: `evaluate.seed`.
    """
    return render(model.generator, prior.draw(count, torch_generator(seed, stream)), runtime)


def choose_prior(
    model: GLOModel,
    validation: np.ndarray | UnitImages,
    network: FeatureNetwork,
    params: Params,
    runtime: Runtime,
) -> PriorChoice:
    """Fits every prior to the learned codes and chooses one: the one named in `params`, or the best.

    The best prior has the smallest kernel distance between its samples and the validation images. What `evaluate`
    reports is measured on other samples and on the test images, so the choice does not make it look better. A kernel
    distance needs two images on each side; with fewer, FALLBACK is chosen and a warning says so.

    Args:
        validation: (V, H, W, C) float in [0, 1].
    """
    geometry, asked = model.config.geometry(), params.evaluate
    priors = {name: fit_prior(name, model.codes.values, geometry, params.seed) for name in PRIORS}
    distances, errors = {}, {}
    comparable = min(len(validation), asked.samples) >= metrics.FEWEST_FOR_DISTANCE
    real = network.features(validation) if comparable else np.zeros((0, 1))
    for name, prior in priors.items() if comparable else ():
        samples = network.features(draw_samples(model, prior, asked.samples, asked.seed, runtime, COMPARED))
        distances[name] = metrics.kernel_distance(samples, real)
        if min(len(real), len(samples)) >= metrics.FEWEST_FOR_DISTANCE_ERROR:
            errors[name] = metrics.kernel_distance_error(samples, real)
    chosen = params.prior
    if chosen == "best":
        chosen = min(distances, key=distances.get, default=FALLBACK)
        if not comparable and runtime.is_main:
            warn(
                f"prior: best needs at least {metrics.FEWEST_FOR_DISTANCE} validation images and as many "
                f"evaluate.samples to compare priors, got {len(validation)} and {asked.samples}; {FALLBACK} is taken "
                "instead.",
            )
    return PriorChoice(priors, chosen, distances, errors)
