"""How a model learned: the film of its snapshots, curves, and the sizes of its subsets."""

from typing import Any

import numpy as np

from iglo.evaluation.metrics import psnr_of_each
from iglo.explore.sheets import sheet
from iglo.export.training_images import TrainingImages
from iglo.models.history import History

STAGED = "staged "  # a stage of this name and a number learns that subset
TITLES = {"full": "all images", "train": "all images", "joint": "encoder and generator"}


def history_of(history: History, training: TrainingImages | None) -> dict[str, Any]:
    """Returns the history of a training as plain values and sheets.

    Args:
        training: the training images; None: they are not here, so no PSNR is known.
    """
    snapshots = history.snapshots
    ids = snapshots.ids.numpy()
    originals = None if training is None or not len(ids) else np.asarray(training.images[ids])
    frames = [
        _frame(history, stage, epoch, frame.numpy(), originals)
        for (stage, epoch), frame in zip(snapshots.places, snapshots.frames, strict=True)
    ]
    film = np.concatenate([frame.numpy() for frame in snapshots.frames]) if frames else None
    stages = dict.fromkeys(row["stage"] for row in history.log)
    subsets, counts = np.unique(history.subset_id[history.subset_id > 0], return_counts=True)
    return {
        "stages": [{"name": name, "title": _title(name)} for name in stages],
        "frames": frames,
        "film": None if film is None else sheet(film, len(ids)),
        "originals": None if originals is None else sheet(originals, len(ids)),
        "rows": ids.tolist(),
        "curves": _curves(history),
        "rounds": [{"subset": int(subset), "count": int(count)} for subset, count in zip(subsets, counts, strict=True)],
    }


def _title(stage: str) -> str:
    """Returns the name of a stage of training in words."""
    number = stage.removeprefix(STAGED)
    return f"subset {number}" if stage.startswith(STAGED) and number.isdecimal() else TITLES.get(stage, stage)


def _frame(
    history: History, stage: str, epoch: int, images: np.ndarray, originals: np.ndarray | None
) -> dict[str, Any]:
    """Describes the renders (K, H, W, C) uint8 of the snapshot images at one epoch."""
    learned = _learned(history, stage)
    shown = learned[history.snapshots.ids.numpy()]
    psnr = None
    if originals is not None and shown.any():
        psnr = round(float(psnr_of_each(images[shown] / 255, originals[shown] / 255).mean()), 2)
    return {"stage": stage, "epoch": epoch, "learned": int(learned.sum()), "psnr": psnr}


def _learned(history: History, stage: str) -> np.ndarray:
    """Returns whether each training image was learned in a stage or before it, (N,) bool."""
    number = stage.removeprefix(STAGED)
    if stage.startswith(STAGED) and number.isdecimal():
        return (history.subset_id > 0) & (history.subset_id <= int(number))
    return np.ones(len(history.subset_id), bool)


def _curves(history: History) -> list[dict[str, Any]]:
    """Returns the loss of each epoch, over the images seen in all stages so far."""
    rows, before, stage, last = [], 0, None, 0
    for row in history.log:
        if row["stage"] != stage:
            before, stage = before + last, row["stage"]
        last = row["images_seen"]
        rows.append({"stage": stage, "epoch": row["epoch"], "images_seen": before + last, "loss": row.get("loss")})
    return rows
