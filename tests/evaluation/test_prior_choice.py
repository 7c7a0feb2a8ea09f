"""The prior is chosen on validation images, by samples that are not reported."""

import dataclasses

import numpy as np
import pytest

from iglo.evaluation import metrics
from iglo.evaluation.prior_choice import COMPARED, choose_prior, draw_samples
from iglo.training.glo_stages import start_model
from tests.evaluation.stand_ins import features_of, network
from tests.tiny import RUNTIME, tiny_images, tiny_params


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("iglo.latent.imle.IMLE_ROUNDS", 1)
    monkeypatch.setattr("iglo.latent.flow.FLOW_STEPS", (1, 1))


@pytest.mark.parametrize(("count", "samples"), [(0, 8), (1, 8), (5, 1), (5, 8)])
def test_best_is_the_gaussian_if_there_are_too_few_images(count, samples, recwarn):
    params = tiny_params(prior="best", evaluate__samples=samples)
    model, _ = start_model(tiny_images(6), params, RUNTIME)
    images = tiny_images(5, seed=1)[:count] / np.float32(255)
    choice = choose_prior(model, images, network(), params, RUNTIME)
    told = [str(each.message) for each in recwarn if "prior" in str(each.message)]
    if min(count, samples) > 1:
        assert choice.chosen == min(choice.kernel_distance, key=choice.kernel_distance.get) and not told
        assert choice.standard_error.keys() == choice.kernel_distance.keys()
    else:
        assert (choice.chosen, choice.kernel_distance, choice.standard_error) == ("gaussian", {}, {})
        assert told == [
            "prior: best needs at least 2 validation images and as many evaluate.samples to compare priors, got "
            f"{count} and {samples}; gaussian is taken instead."
        ]
        named = choose_prior(model, images, network(), dataclasses.replace(params, prior="gmm"), RUNTIME)
        assert named.chosen == "gmm" and len(recwarn) == len(told)


def test_the_samples_that_choose_are_not_those_that_are_reported():
    params = tiny_params(prior="best", evaluate__samples=8)
    model, _ = start_model(tiny_images(6), params, RUNTIME)
    images = tiny_images(5, seed=1) / np.float32(255)
    choice = choose_prior(model, images, network(), params, RUNTIME)
    drawn = {
        stream: draw_samples(model, choice.priors["normal"], 8, params.evaluate.seed, RUNTIME, stream)
        for stream in ("samples", COMPARED)
    }
    assert not np.array_equal(*drawn.values())
    expected = metrics.kernel_distance(features_of(drawn[COMPARED]), features_of(images))
    assert choice.kernel_distance["normal"] == pytest.approx(expected, rel=1e-6)
