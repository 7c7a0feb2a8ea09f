"""Useless trainings: weights that are not finite are an error; useless images and codes give a warning."""

import warnings

import numpy as np
import pytest

from iglo.errors import TrainingWarning, UserError
from iglo.training import sanity
from iglo.training.encoder_stages import learn_autoencoder, learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all
from tests.tiny import copied, tiny_images, tiny_params, tiny_trainer

IMAGES = tiny_images(14)
RATES = {"full": "optimizer__generator_rate", "encoder": "encoder__rate", "joint": "joint__rate"}
RATES["autoencoder"] = "optimizer__generator_rate"
SECTIONS = {"full": "full", "encoder": "encoder", "joint": "joint", "autoencoder": "full"}


@pytest.fixture(scope="module")
def trained():
    """A training whose model draws its images well, with an encoder."""
    rates = {"optimizer__generator_rate": 0.01, "encoder__rate": 0.01}
    trainer = tiny_trainer(IMAGES, tiny_params(full__epochs=60, encoder__epochs=40, **rates))
    learn_all(trainer)
    learn_encoder(trainer)
    return trainer


def learn(name: str, trainer, **changes) -> None:
    trainer = copied(trainer, params=tiny_params(**changes))
    if name == "autoencoder":
        learn_autoencoder(trainer, 15 * trainer.params.full.epochs, 0.0)
    else:
        {"full": learn_all, "encoder": learn_encoder, "joint": learn_jointly}[name](trainer)


@pytest.mark.parametrize("rate", [1e20, 1e38])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", RATES)
def test_an_absurd_rate_is_an_error_of_one_sentence(name, epochs, rate, trained):
    """Tests damage by the last step, finite weights that draw infinite images, and a run of one epoch."""
    with pytest.raises(UserError, match=rf"^{name}: the [^\n]* no longer finite [^\n]*; try a lower [^\n]*fp32\.$"):
        learn(name, trained, **{RATES[name]: rate, f"{SECTIONS[name]}__epochs": epochs})


@pytest.mark.parametrize("name", RATES)
def test_useless_images_give_a_warning_that_names_the_learning_rate(name, trained, monkeypatch):
    """10 epochs of three steps at an absurd rate warn; at a good rate they do not."""
    monkeypatch.setattr(sanity, "FEWEST_STEPS", 30)
    epochs, key = {f"{SECTIONS[name]}__epochs": 10}, RATES[name].replace("__", r"\.")
    with pytest.warns(TrainingWarning, match=rf"^{name}: after 30 steps, its (images|codes) [^\n]* lower {key}, or"):
        learn(name, trained, **epochs, **{RATES[name]: 1e3})
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        learn(name, trained, **epochs, **{RATES[name]: 0.01})


def test_short_runs_and_equal_images_are_not_checked(trained, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        learn("full", trained, full__epochs=2, optimizer__generator_rate=1e6)
        monkeypatch.setattr(sanity, "FEWEST_STEPS", 6)
        same = IMAGES[:1].repeat(14, axis=0)
        learn_all(tiny_trainer(same, tiny_params(full__epochs=2, optimizer__generator_rate=1e6)))


def test_an_image_is_compared_with_the_mean_of_the_other_images(trained, monkeypatch):
    """Compares both distances with NumPy: each image to the mean of the others, and G(z) to the images."""
    told = {}
    monkeypatch.setattr(sanity, "FEWEST_STEPS", 0)
    monkeypatch.setattr(sanity, "warn_if_useless", lambda name, _, found, of_mean, *__: told.update({name: of_mean}))
    learn("full", trained)
    images = IMAGES / np.float64(255)
    others = np.stack([np.delete(images, row, axis=0).mean(0) for row in range(14)])
    assert told["full"] == pytest.approx(np.abs(images - others).mean(), rel=1e-5)
