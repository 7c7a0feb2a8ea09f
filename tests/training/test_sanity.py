"""Useless trainings: weights that are not finite are an error; useless images and codes give a warning."""

import copy
import warnings

import numpy as np
import pytest

from iglo.errors import TrainingWarning, UserError
from iglo.losses.distances import L1
from iglo.training import sanity
from iglo.training.encoder_stages import learn_autoencoder, learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all, start_model
from tests.tiny import RUNTIME, tiny_images, tiny_params

IMAGES, DISTANCE = tiny_images(14), L1().to(RUNTIME.device)
RATES = {"full": "optimizer__generator_rate", "encoder": "encoder__rate", "joint": "joint__rate"}
RATES["autoencoder"] = "optimizer__generator_rate"
SECTIONS = {"full": "full", "encoder": "encoder", "joint": "joint", "autoencoder": "full"}


@pytest.fixture(scope="module")
def trained():
    """A model that draws its images well, with an encoder."""
    params = tiny_params(full__epochs=60, encoder__epochs=40, optimizer__generator_rate=0.01, encoder__rate=0.01)
    model = start_model(IMAGES, params, RUNTIME)
    learn_all(model, IMAGES, DISTANCE, params, RUNTIME)
    learn_encoder(model, IMAGES, params, RUNTIME)
    return model


def learn(name: str, model, **changes) -> None:
    model, params = copy.deepcopy(model), tiny_params(**changes)
    if name == "full":
        learn_all(model, IMAGES, DISTANCE, params, RUNTIME)
    elif name == "encoder":
        learn_encoder(model, IMAGES, params, RUNTIME)
    elif name == "joint":
        learn_jointly(model, IMAGES, DISTANCE, params, RUNTIME)
    else:
        learn_autoencoder(model, IMAGES, DISTANCE, params, RUNTIME, 15 * params.full.epochs, 0.0)


@pytest.mark.parametrize("rate", [1e20, 1e38])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", RATES)
def test_what_an_absurd_rate_spoils_is_one_sentence(name, epochs, rate, trained):
    """Tests damage by the last step, finite weights that draw infinite images, and a run of one epoch."""
    with pytest.raises(UserError, match=rf"^{name}: the [^\n]* no longer finite [^\n]*; try a lower [^\n]*fp32\.$"):
        learn(name, trained, **{RATES[name]: rate, f"{SECTIONS[name]}__epochs": epochs})


@pytest.mark.parametrize("name", RATES)
def test_garbage_of_finite_numbers_is_told_with_the_key_of_its_rate(name, trained, monkeypatch):
    """10 epochs of three steps at an absurd rate warn; at a good rate they do not."""
    monkeypatch.setattr(sanity, "FEWEST_STEPS", 30)
    epochs, key = {f"{SECTIONS[name]}__epochs": 10}, RATES[name].replace("__", r"\.")
    with pytest.warns(TrainingWarning, match=rf"^{name}: after 30 steps, its (images|codes) [^\n]* lower {key}, or"):
        learn(name, trained, **epochs, **{RATES[name]: 1e3})
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        learn(name, trained, **epochs, **{RATES[name]: 0.01})


def test_short_runs_and_images_that_are_all_the_same_are_not_judged(trained, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        learn("full", trained, full__epochs=2, optimizer__generator_rate=1e6)
        monkeypatch.setattr(sanity, "FEWEST_STEPS", 6)
        model, same = start_model(IMAGES, tiny_params(), RUNTIME), IMAGES[:1].repeat(14, axis=0)
        learn_all(model, same, DISTANCE, tiny_params(full__epochs=2, optimizer__generator_rate=1e6), RUNTIME)


def test_an_image_is_not_in_the_mean_that_it_is_held_against(trained, monkeypatch):
    """Compares both distances with NumPy: each image to the mean of the others, and G(z) to the images."""
    told = {}
    monkeypatch.setattr(sanity, "FEWEST_STEPS", 0)
    monkeypatch.setattr(sanity, "warn_if_useless", lambda name, _, found, of_mean, *__: told.update({name: of_mean}))
    learn("full", trained)
    images = IMAGES / np.float64(255)
    others = np.stack([np.delete(images, row, axis=0).mean(0) for row in range(14)])
    assert told["full"] == pytest.approx(np.abs(images - others).mean(), rel=1e-5)
