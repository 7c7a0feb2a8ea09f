"""Fits the priors of a model and chooses one by the validation images."""

from collections.abc import Mapping

import numpy as np

from iglo.data.store import UnitImages
from iglo.errors import warn
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.fidelity import Renders
from iglo.evaluation.neighbour_choice import choose_neighbours
from iglo.latent.priors import PRIORS, Prior, PriorChoice, fit_prior
from iglo.models.glo import GLOModel, render
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime

FALLBACK = "gaussian"  # the choice of `best` if there are too few images to compare priors
# Streams of random numbers: of what is reported, of what chooses a prior, and of what chooses the settings of a prior.
REPORTED, COMPARED, TRIED = "samples", "samples/validation", "samples/settings"


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

    The prior `neighbours` has settings, which `choose_neighbours` chooses first, on samples of their own. A sample that
    copies a training image is as blurred as a reconstruction, so it is compared with reconstructions.

    Args:
        validation: (V, H, W, C) float in [0, 1].
    """
    geometry, codes, asked = model.config.geometry(), model.codes.values, params.evaluate

    def features_of(prior: Prior, stream: str) -> np.ndarray:
        return network.features(draw_samples(model, prior, asked.samples, asked.seed, runtime, stream))

    priors = {name: fit_prior(name, codes, geometry, params.seed) for name in PRIORS}
    settings = {}
    distances, errors = {}, {}
    if comparable := min(len(validation), asked.samples) >= metrics.FEWEST_FOR_DISTANCE:
        real = network.features(validation)
        learned = Renders(lambda rows: render(model.generator, codes[rows], runtime.single_process), len(codes))
        priors["neighbours"], settings = choose_neighbours(
            lambda **chosen: fit_prior("neighbours", codes, geometry, params.seed, **chosen),
            lambda prior: features_of(prior, TRIED),
            network.features(learned),
            real,
        )
        for name, prior in priors.items():
            samples = features_of(prior, COMPARED)
            distances[name] = metrics.kernel_distance(samples, real)
            if min(len(real), len(samples)) >= metrics.FEWEST_FOR_DISTANCE_ERROR:
                errors[name] = metrics.kernel_distance_error(samples, real)
    chosen = params.prior
    if chosen == "best":
        chosen = min(distances, key=distances.get, default=FALLBACK)
        if not comparable and runtime.is_main:
            warn(
                f"prior: best needs at least {metrics.FEWEST_FOR_DISTANCE} validation images and as many "
                f"evaluate.samples to compare priors, got {len(validation)} and {asked.samples}; {FALLBACK} is "
                "taken instead.",
            )
    return PriorChoice(priors, chosen, distances, errors, neighbours=settings)


def chosen_by(choice: PriorChoice, name: str, network: str) -> Mapping[str, object]:
    """Returns, for the metrics, the numbers by which a prior was chosen; nothing if they were not measured.

    Args:
        network: the name of the feature network, which keys end in.

    Returns:
        the kernel distance to the validation images and its standard error; for `neighbours` also its settings k and
        noise, and the copy rates of the samples that chose them and of the validation images.
    """
    if name not in choice.kernel_distance:
        return {}
    key, settings = f"kd_{network}", choice.neighbours if name == "neighbours" else {}
    values = {key: choice.kernel_distance[name]}
    for setting in ("k", "noise", "copy_rate", "copy_rate_real"):
        if setting in settings:
            values[f"{setting}_{network}" if setting.startswith("copy") else setting] = settings[setting]
    errors = {key: choice.standard_error[name]} if name in choice.standard_error else {}
    return {"validation": {**values, "se": errors}}
