"""Opened models of tiny images. A test must not change them."""

from pathlib import Path

import pytest

from iglo.explore.opening import Explored, Places, open_model
from iglo.explore.views import Views
from tests.explore.runs import places
from tests.exported import CLASS_PARAMS


@pytest.fixture(scope="session")
def opened(tmp_path_factory) -> Explored:
    """A trained model with its images."""
    return open_model(places(tmp_path_factory.mktemp("opened")), "cpu")


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory) -> Path:
    """The folder where neighbour embeddings are kept."""
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="session")
def views(opened, embeddings) -> Views:
    made = Views(opened, embeddings)
    made.space.embedding.wait()
    return made


@pytest.fixture(scope="session")
def class_views(tmp_path_factory, embeddings) -> Views:
    """A trained model of class and content."""
    made = Views(open_model(places(tmp_path_factory.mktemp("classes"), CLASS_PARAMS), "cpu"), embeddings)
    made.space.embedding.wait()
    return made


@pytest.fixture(scope="session")
def bare_views(exported, embeddings) -> Views:
    """An exported model without its images."""
    nowhere = dict.fromkeys(("glo", "class_content"), "nowhere")
    return Views(open_model(Places(str(exported), None, nowhere, "nowhere"), "cpu"), embeddings)
