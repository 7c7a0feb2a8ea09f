"""Folders in which commands run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import iglo
from tests.exported import IMAGES


@pytest.fixture(scope="session")
def template(exported, exported_classes, tmp_path_factory) -> Path:
    """Twelve images, their codes, and both exported models, the first in the default folder. To be read only."""
    folder = tmp_path_factory.mktemp("command")
    shutil.copytree(exported, folder / "models" / "export")
    shutil.copytree(exported_classes, folder / "classes")
    (folder / "images").mkdir()
    for index, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(folder / "images" / f"square-{index}.png")
    np.save(folder / "codes.npy", iglo.load(exported).encode(IMAGES))
    return folder


@pytest.fixture
def here(template, tmp_path, monkeypatch) -> Path:
    """The working folder: a copy of the template."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
