"""What a run leaves of a model of tiny images, with names and labels that could harm a page."""

import csv
from pathlib import Path

import numpy as np

from iglo.explore.opening import Places
from tests.exported import CLASS_PARAMS, IMAGES, PARAMS, fitted, trained

HARMFUL = ["<img src=x onerror=alert(1)>", "\u202egnp.txt", "\udcff.png", "שלום.png"]
NAMES = HARMFUL + [f"square-{index}" for index in range(4, 12)]
LABELS = ["<b>ant</b>", "bee", ""] * 4


def write_prepared(folder: Path) -> Path:
    """The prepared images of a run."""
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
    prepared = write_prepared(folder / "data" / "prepared") if images else folder / "nothing"
    return Places(str(model), priors, dict.fromkeys(("glo", "class_content"), str(prepared)), str(folder / "arrived"))
