"""The params of class and content made tiny."""

import yaml

from tests import pipeline

FOLDER = pipeline.ROOT / "disentangle"
FILE, SWEEP = FOLDER / "dvc.yaml", FOLDER / "sweep" / "dvc.yaml"
CHANGES = {
    "precision": "fp32",
    "data": {"image_size": 16, "train": 100, "validation": 90, "test": 60, "shuffle": False},
    "latent": {"class_dimension": 6, "content_dimension": 5},
    "generator": {"width": 4},
    "train": {"epochs": 2},
    "encoder": {"width": 4, "epochs": 1},
    "joint": {"epochs": 1},
    "classifier": {"width": 4, "epochs": 4},
    "renders": {"unseen": 20, "converted": 12, "samples": 12},
    # whole numbers are written without a point
    "sweep": {"sigma": [0, 0.4], "decay": [0.1], "loss": ["l2"], "content_init": ["pca"]},
}


def values(**changes) -> dict:
    """The committed params made tiny."""
    given = yaml.safe_load((FOLDER / "params.yaml").read_text(encoding="utf-8"))
    for key, change in (CHANGES | changes).items():
        given[key] = {**given[key], **change} if isinstance(change, dict) else change
    return given
