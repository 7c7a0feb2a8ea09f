"""Measures test images after steps of optimising their codes."""

import numpy as np
import torch

from iglo.comparison.real import brief
from iglo.evaluation import metrics
from iglo.evaluation.image_sets import EvaluationNetworks, Reference, Values
from iglo.latent.inversion import Search, optimise_codes
from iglo.models.glo import GLOModel, encode, render
from iglo.params.comparison import Comparison
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.trainer import make_distance

ADAM = {"betas": (0.9, 0.999), "schedule": "constant", "tolerance": 0}  # plain Adam, in which no code stops early


def measure_inversion(
    model: GLOModel,
    images: np.ndarray,
    comparison: Comparison,
    networks: EvaluationNetworks,
    reference: Reference,
    runtime: Runtime,
) -> dict[str, dict[str, Values]]:
    """Measures test images after steps of optimising their codes, from the encoder's codes and from random codes.

    The optimisation minimises the loss of `base`, the same for all methods. Both starts are optimised at once: the
    codes do not influence each other. The kernel distance is to the test images that are not inverted.

    Args:
        images: (T, H, W, C) uint8, the test images; the first `measure.inverted` are used.

    Returns:
        Start (`encoder`, `random`) → step → metric → number.
    """
    section, base, geometry = comparison.measure, comparison.params(), model.config.geometry()
    some = np.asarray(images[: section.inverted])
    targets = some.astype(np.float32) / 255
    rng = torch_generator(base.evaluate.seed, "comparison/inversion")
    starts = {
        "encoder": encode(model.encoder, some, model.config, runtime),
        "random": geometry.sample(len(some), model.config.dimension, rng),
    }
    search = Search(section.steps[-1], rate=section.rate, record=tuple(section.steps), **ADAM)
    codes = torch.cat([start.cpu() for start in starts.values()])
    found = optimise_codes(
        model, np.concatenate([some] * len(starts)), codes[:, None], make_distance(base, runtime), runtime, search
    )
    others = reference.test.features[len(some) :]
    values: dict[str, dict[str, Values]] = {name: {} for name in starts}
    for step, recorded in found.recorded.items():
        rendered = render(model.generator, recorded, runtime)
        for name, part in zip(starts, np.split(rendered, len(starts)), strict=True):
            distance = float(networks.main.distance(part, targets).mean())
            values[name][str(step)] = {
                "psnr": metrics.psnr(part, targets),
                networks.main.distance_name: distance,
                **brief(networks.see(part), reference, others),
            }
    return values
