"""All numbers of a run: what the seed of training moves, and how often the networks look at images."""

import math
from typing import Any

import numpy as np
import pytest

from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation.prior_choice import choose_prior, chosen_by
from iglo.evaluation.run import Measured, Run, Split, measure_run
from iglo.models.networks import initialise
from iglo.params.sections import Parts
from iglo.randomness import torch_generator
from iglo.training.glo_stages import start_model
from tests.evaluation.stand_ins import network, networks
from tests.tiny import RUNTIME, tiny_images, tiny_params

PARTS, SAMPLES, PAIRS, POINTS = Parts(train=30, validation=10, test=12), 16, 4, 5


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("iglo.latent.imle.IMLE_ROUNDS", 1)
    monkeypatch.setattr("iglo.latent.flow.FLOW_STEPS", (1, 1))


def untrained(seed: int = 0, parts: Parts = PARTS, **changes: Any) -> Run:
    """A run whose model has its first weights and codes; its encoder too."""
    images = tiny_images(sum(parts))
    sizes = {"evaluate__samples": SAMPLES, "evaluate__pairs": PAIRS, "evaluate__steps": (POINTS - 1) // 2}
    params = tiny_params(seed=seed, latent__init="normal", prior="best", **sizes, **changes)
    model, history = start_model(images[: parts.train], params, RUNTIME)
    model.encoder = initialise(model.config.encoder(params.encoder.width), torch_generator(seed, "encoder"))
    history.subset_id[: max(1, parts.train // 3)] = 1
    store = ImageStore(images, ("",) * len(images), ("",) * len(images), parts)
    points = np.random.default_rng(0).normal(size=(parts.train, 5))
    choice = choose_prior(model, UnitImages(store.validation), network(), params, RUNTIME)
    split = Split(points, np.arange(parts.train) % 4, "pixels")
    return Run(params, model, history, store, split, choice)


def measured(run: Run, classes: int | None = 20) -> Measured:
    return measure_run(run, networks(classes), RUNTIME)


def leaves(value: Any) -> list[float]:
    return [leaf for each in value.values() for leaf in leaves(each)] if isinstance(value, dict) else [value]


def test_the_seed_of_training_moves_no_number_of_real_images():
    """Nor noise, nor the random subsets; the numbers of the model it does move."""
    one, other = (measured(untrained(seed)).values for seed in (0, 1))
    assert all(one[key] == other[key] and one[key] for key in ("real", "noise", "counts"))
    assert one["test"]["images"] == other["test"]["images"]
    chance = [
        {key: each["split"][key] for key in ("coverage_random", "distance_random", "se")} for each in (one, other)
    ]
    assert chance[0] == chance[1]
    assert all(one[key] != other[key] for key in ("samples", "midpoints", "reconstructions", "interpolation"))


def test_the_seed_of_evaluation_moves_the_draws():
    one, other = (measured(untrained(evaluate__seed=seed)).values for seed in (0, 1))
    assert all(one[key] != other[key] for key in ("samples", "midpoints", "reconstructions", "noise", "interpolation"))
    assert one["real"]["kd_squares"] == other["real"]["kd_squares"]


def test_all_numbers_are_there_with_their_standard_errors():
    run = untrained()
    values = measured(run).values
    sets = ("samples", "midpoints", "graph_midpoints", "reconstructions", "real", "noise")
    assert list(values) == [
        *("train", "test", *sets, "interpolation", "off_code", "priors", "memorisation", "split", "counts")
    ]
    names = [
        "kd",
        "fd",
        "precision",
        "recall",
        "density",
        "coverage",
        "novelty",
        "copy_rate",
        "recognised",
        "confidence",
    ]
    for name in sets:
        assert [*values[name]] == [f"{key}_squares" for key in names] + ["checkerboard", "se"]
    chosen = dict(values["priors"][run.choice.chosen])
    assert chosen.pop("validation") == chosen_by(run.choice, run.choice.chosen, "squares")["validation"]
    by_mixture, by_neighbours = (values["priors"][name]["validation"] for name in ("gmm", "neighbours"))
    distance, error = run.choice.kernel_distance["gmm"], run.choice.standard_error["gmm"]
    assert by_mixture == {"kd_squares": distance, "se": {"kd_squares": error}}
    assert {*by_neighbours} == {*by_mixture, "k", "noise", "copy_rate_squares", "copy_rate_real_squares"}
    assert chosen == values["samples"] and values["priors"].keys() == run.choice.priors.keys()
    assert {"recognised_squares", "confidence_squares"} < values["train"]["recon"].keys() & values["test"][
        "encoder"
    ].keys()
    assert values["counts"] == {**PARTS._asdict(), "samples": SAMPLES, "midpoints": SAMPLES}
    assert all(map(math.isfinite, leaves(values)))


def test_the_networks_see_no_image_twice():
    run, looking = untrained(), networks(20)
    measure_run(run, looking, RUNTIME)
    priors, paths = len(run.choice.priors), PAIRS * POINTS
    encoded = min(SAMPLES, PARTS.train) + min(SAMPLES, PARTS.test)
    sets = priors * SAMPLES + (SAMPLES - PAIRS) + min(SAMPLES, PARTS.train) + 2 * SAMPLES  # graph midpoints and noise
    assert sum(looking.main.seen) == sum(PARTS) + sets + paths + encoded


@pytest.mark.filterwarnings("ignore:prior")
@pytest.mark.parametrize("parts", [Parts(12, 0, 3), Parts(1, 0, 1), Parts(1, 1, 2)])
def test_few_images_have_fewer_numbers(parts):
    run = untrained(parts=parts)
    values = measured(run).values
    assert all(map(math.isfinite, leaves(values))) and values["counts"]["validation"] == parts.validation
    assert (values["real"] == {}) is (parts.validation == 0)
    assert (values["interpolation"] == values["midpoints"] == {}) is (parts.train == 1)
    assert "validation" not in values["priors"]["gmm"]


def test_lines_are_compared_with_true_lines():
    values = measured(untrained(data__source="lines")).values["lines"]
    assert values["mean_distance"] > 0.01 and values["se"].keys() <= {"mean_distance", "smoothness"}


def test_a_network_without_classes_recognises_nothing():
    values = measured(untrained(), classes=None).values
    assert values["test"]["images"] == {} and "confidence_squares" not in values["samples"]
    assert [*values["train"]["recon"]] == ["l1", "psnr", "ssim", "lpips_squares"]
