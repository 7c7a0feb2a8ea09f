"""The params of a folder of images."""

import dataclasses

import pytest
import yaml

from iglo.params.pipeline import Params
from iglo.params.reading import load_params
from iglo.params.sections import DataParams


@pytest.fixture
def data(params, tmp_path) -> DataParams:
    """Params of an empty folder: one training image, no validation image, all others for tests; 16×16, in colour."""
    (tmp_path / "images").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    loaded: Params = load_params(tmp_path / "params.yaml")
    folder = {
        "source": "folder",
        "path": str(tmp_path / "images"),
        "train": 1,
        "validation": 0,
        "test": None,
        "shuffle": False,
    }
    return dataclasses.replace(loaded.data, image_size=16, channels=3, **folder)
