"""Loaded models of tiny images. To be read only."""

import pytest

import iglo
from iglo.latent import inversion
from iglo.models.glo import encode


@pytest.fixture(scope="session")
def model(exported):
    return iglo.load(exported)


@pytest.fixture(scope="session")
def classes(exported_classes):
    """A model of class and content."""
    return iglo.load(exported_classes)


@pytest.fixture
def asked(monkeypatch):
    """Replaces the search of codes: records what it is asked for, and returns the encoder's codes in reverse order."""
    calls = []

    def invert(model, images, distance, runtime, **options):
        calls.append((type(distance).__name__, options))
        codes = encode(model.encoder, images, model.config, runtime).flip(1)
        return type("Inverted", (), {"codes": codes})

    monkeypatch.setattr(inversion, "invert", invert)
    return calls
