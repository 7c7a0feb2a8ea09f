"""Opened models of tiny images, and their servers. To be read only."""

import csv
from pathlib import Path

import numpy as np
import pytest

from iglo.explore.opening import Explored, Places, open_model
from iglo.explore.views import Views
from tests.exported import CLASS_PARAMS, IMAGES, PARAMS, fitted, trained

NAMES = [
    "<img src=x onerror=alert(1)>",
    "\u202egnp.txt",
    "\udcff.png",
    "שלום.png",
    *(f"square-{i}" for i in range(4, 12)),
]
LABELS = ["<b>ant</b>", "bee", ""] * 4


def write_prepared(folder: Path) -> Path:
    """The prepared images of a run, with names and labels that could harm a page."""
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.concatenate([IMAGES, IMAGES[:1]]))
    with open(folder / "index.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "label", "split"])
        rows.writerows([i, name, label, "train"] for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)))
        rows.writerow([12, "last", "bee", "test"])
    return folder


def places(folder: Path, params=PARAMS, images: bool = True) -> Places:
    """A trained model, its priors and its images, below `folder`."""
    model = trained(folder / "models" / "joint", params)
    priors = None if params is CLASS_PARAMS else str(fitted(folder / "models" / "priors", model_folder=model))
    prepared = write_prepared(folder / "data") if images else folder / "nothing"
    return Places(str(model), priors, dict.fromkeys(("glo", "class_content"), str(prepared)), str(folder / "arrived"))


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
