"""The figures of class and content: grids, strips and animations of renders, and curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from iglo.disentangle.renders import Renders
from iglo.models.snapshots import Snapshots
from iglo.report import figures, plots
from iglo.report.fonts import drawable
from iglo.report.run_figures import psnr_of_frames

SHOWN = 10  # images whose conversions are shown, one in each row
COLUMNS = 12  # images in a row of the other grids
EPOCH_SIDE = 64  # px, of an image in strips and animations
REST = 6  # frames for which the animation stays on a class


def draw_figures(
    folder: Path,
    renders: Renders,
    images: np.ndarray,
    classes: Sequence[str],
    snapshots: Snapshots,
    log: list[dict],
    weights: Mapping[str, float],
) -> None:
    """Draws every figure into a folder.

    Args:
        renders: as `Renders.load` returns them.
        images: (N, H, W, C) uint8, training images followed by test images, in the order of their ids.
        log: the rows of the training's log.
        weights: name of a term of the training → its weight, if it is not 1.
    """
    classes = drawable(classes, "class")
    draw_reconstructions(folder / "reconstructions.png", renders, images)
    draw_conversions(folder / "conversions.png", images[renders.chosen], renders.converted, classes, "training images")
    if renders.unseen_converted is not None:
        unseen = images[renders.unseen]
        draw_conversions(
            folder / "conversions-unseen.png", unseen, renders.unseen_converted, classes, "images never seen"
        )
    for name, title in (("normal", "N(0, I)"), ("gaussian", "the Gaussian fitted to the learned content codes")):
        rows = [row[:COLUMNS] for row in renders.scratch[name]]
        figures.save_grid(folder / f"scratch-{name}.png", rows, f"Content drawn from {title}", classes)
    draw_epochs(folder, snapshots, images)
    draw_losses(folder / "losses.png", log, weights)
    draw_morphing(folder / "conversion.gif", renders, len(classes))


def draw_reconstructions(path: Path, renders: Renders, images: np.ndarray) -> None:
    """Draws training images above their reconstructions."""
    ids = renders.chosen[:COLUMNS]
    rows = [images[ids], renders.reconstructed[ids]]
    figures.save_grid(path, rows, "Training images and their reconstructions", ["original", "from its codes"])


def draw_conversions(
    path: Path, originals: np.ndarray, converted: np.ndarray, classes: Sequence[str], what: str
) -> None:
    """Draws each image, and to its right its content in every class."""
    rows = [np.concatenate([one[None], row]) for one, row in zip(originals[:SHOWN], converted, strict=False)]
    title = f"The content of {what}, drawn at random, with the code of every class"
    figures.save_grid(path, rows, title, column_labels=["image", *classes])


def draw_epochs(folder: Path, snapshots: Snapshots, images: np.ndarray) -> None:
    """Draws the same images after each epoch, as a strip and as an animation."""
    taken = sorted(
        zip(snapshots.places, snapshots.frames, psnr_of_frames(snapshots, images), strict=True),
        key=lambda each: each[0][1],
    )
    frames = [frame.numpy() for _, frame, _ in taken]
    originals = images[snapshots.ids.numpy()]
    figures.save_grid(
        folder / "epochs.png",
        [*frames, originals],
        "The same images, epoch by epoch",
        [*(f"epoch {epoch}\n{psnr:.1f} dB" for (_, epoch), _, psnr in taken), "original"],
        scale=max(1, EPOCH_SIDE // originals.shape[1]),
    )
    named = [(f"epoch {epoch}: {psnr:.1f} dB", frame.numpy()) for (_, epoch), frame, psnr in taken]
    figures.save_learning(folder / "epochs.gif", named, originals, 0.7)


def draw_losses(path: Path, log: list[dict], weights: Mapping[str, float]) -> None:
    """Draws the curves of the terms of the training, each multiplied by its weight (default 1)."""
    rows = [row for row in log if row["stage"] == "train"]
    epochs = np.array([row["epoch"] for row in rows])
    terms = [key for key in rows[0] if key not in ("stage", "epoch", "images_seen", "loss")]
    curves = {}
    for term in terms:
        weight = weights.get(term, 1.0)
        name = term if weight == 1 else f"{term} × {weight:g}"
        curves[name] = epochs, weight * np.array([row[term] for row in rows])
    plots.save_curves(path, curves, plots.Labels("Training", "epoch", "term of the objective, weighted"), log_y=True)


def draw_morphing(path: Path, renders: Renders, class_count: int) -> None:
    """Draws an animation in which images turn into one class after another and back into the first."""
    steps = len(renders.morphing) // class_count
    frames = []
    for index, images in enumerate(renders.morphing):
        still = figures.grid([images], scale=max(1, EPOCH_SIDE // images.shape[1]))
        frames += [still] * (REST if index % steps == 0 else 1)
    figures.save_animation(path, frames, 0.08)
