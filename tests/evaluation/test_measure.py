"""Numbers of a run: blocks of images, few images, one image, and the choice of a prior."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from iglo.data.store import UnitImages
from iglo.evaluation import measure
from iglo.evaluation.measure import (
    choose_prior,
    continuity,
    interpolations,
    quality,
    rendered_quality,
    sample_quality,
)
from iglo.evaluation.memorisation import Nearness
from iglo.training.glo_stages import start_model
from tests.tiny import RUNTIME, peak_bytes, tiny_images, tiny_params

NETWORK = SimpleNamespace(distance_name="squares", distance=lambda a, b: ((a - b) ** 2).mean((1, 2, 3)))


def darker(images: UnitImages):
    return lambda rows: images[rows] * np.float32(0.9)


def test_quality_in_blocks_is_quality_at_once(monkeypatch):
    images = UnitImages(tiny_images(20))
    at_once = quality(darker(images)(slice(None)), images[:], NETWORK)
    assert rendered_quality(darker(images), images, NETWORK) == at_once
    monkeypatch.setattr(measure, "BLOCK", 7 * images[:1].size)
    in_blocks = rendered_quality(darker(images), images, NETWORK)
    assert in_blocks == pytest.approx(at_once, rel=1e-6) and in_blocks.keys() == at_once.keys()


def test_memory_has_one_block_only(monkeypatch, mapped_images):
    monkeypatch.setattr(measure, "BLOCK", 10 * mapped_images[0].size)
    images = UnitImages(mapped_images[:1000])
    values, peak = peak_bytes(lambda: rendered_quality(darker(images), images, NETWORK))
    assert values["psnr"] > 20 and peak < images.pixels.nbytes


def test_nearness_is_the_same_for_images_read_in_chunks():
    train, samples = tiny_images(50), np.random.default_rng(0).random((9, 16, 16, 1), dtype=np.float32)
    read, held = (
        Nearness.measure(samples, images, images[:20]) for images in (UnitImages(train), train / np.float32(255))
    )
    for one, other in zip(vars(read).values(), vars(held).values(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("fakes", "reals", "measured"),
    [
        (1, 9, ["novelty"]),
        (9, 1, ["novelty"]),
        (3, 2, ["kd", "fd", "novelty"]),
        (3, 9, ["kd", "fd", "novelty"]),
        (4, 4, ["kd", "fd", "precision", "recall", "novelty"]),
    ],
)
def test_a_measure_that_needs_more_images_is_left_out(fakes, reals, measured):
    rng = np.random.default_rng(0)
    values = sample_quality(rng.random((fakes, 5)), rng.random((reals, 5)), rng.random(fakes), rng.random(reals), "net")
    assert list(values) == [f"{name}_net" for name in measured] and all(map(math.isfinite, values.values()))


def test_one_training_image_has_no_path():
    params = tiny_params()
    model, _ = start_model(tiny_images(1), tiny_params(latent__init="normal"), RUNTIME)
    paths = interpolations(model, params.evaluate, 0, RUNTIME)
    assert len(paths.ids) == len(paths.images) == 0
    assert continuity(model, paths, np.zeros((1, 3)), NETWORK, 0, RUNTIME) == {}


@pytest.mark.parametrize(("tests", "samples"), [(1, 8), (5, 1), (5, 8)])
def test_best_is_the_gaussian_if_there_are_too_few_images(tests, samples, monkeypatch, recwarn):
    monkeypatch.setattr("iglo.latent.priors.IMLE_ROUNDS", 1)
    params = tiny_params(prior="best", evaluate__samples=samples)
    model, _ = start_model(tiny_images(6), params, RUNTIME)
    feature_network = SimpleNamespace(features=lambda images: images.reshape(len(images), -1)[:, ::37])
    images = tiny_images(tests, seed=1) / np.float32(255)
    choice = choose_prior(model, images, feature_network, params, RUNTIME)
    told = [str(each.message) for each in recwarn if "prior" in str(each.message)]
    if min(tests, samples) > 1:
        assert choice.chosen == min(choice.kernel_distance, key=choice.kernel_distance.get) and not told
    else:
        assert (choice.chosen, choice.kernel_distance) == ("gaussian", {})
        assert told == [
            "prior: best needs at least 2 held-out images and as many evaluate.samples to compare priors, got "
            f"{tests} and {samples}; gaussian is taken instead."
        ]
        named = choose_prior(model, images, feature_network, dataclasses.replace(params, prior="gmm"), RUNTIME)
        assert named.chosen == "gmm" and len(recwarn) == len(told)
