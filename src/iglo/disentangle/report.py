"""The pictures of class and content: what `class_probe` has drawn, as grids, strips and animations."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from iglo.disentangle.renders import Renders
from iglo.files.io import read_array, write_array
from iglo.models.snapshots import Snapshots
from iglo.report import figures, plots
from iglo.report.fonts import drawable
from iglo.report.run_figures import psnr_of_frames

SHOWN = 10  # images that are converted, rows of a grid
COLUMNS = 12
EPOCH_SIDE = 64  # px, of an image in strips and animations
REST = 6  # frames for which an animation rests on a class
ARRAYS = ("converted", "unseen_converted", "unseen_encoded", "morphing", "reconstructed")


def save_renders(folder: Path, drawn: Renders) -> None:
    """What the figures need of a probe: 8-bit images and ids."""
    for field in fields(Renders):
        value = getattr(drawn, field.name)
        for name, array in value.items() if isinstance(value, dict) else [(None, value)]:
            if array is not None:
                path = folder / (f"{field.name}-{name}.npy" if name else f"{field.name}.npy")
                write_array(path, array if array.dtype == np.int64 else (array * 255).round().astype(np.uint8))


def load_renders(folder: Path) -> Renders:
    """What `save_probe` wrote; images are uint8. UserError naming a file that is missing."""
    read = {}
    for field in fields(Renders):
        if field.name == "scratch":
            names = sorted(path.stem.removeprefix("scratch-") for path in folder.glob("scratch-*.npy"))
            read["scratch"] = {name: read_array(folder / f"scratch-{name}.npy") for name in names}
        elif field.name.startswith("unseen_") and not (folder / f"{field.name}.npy").exists():
            read[field.name] = None
        else:
            read[field.name] = read_array(folder / f"{field.name}.npy")
    return Renders(**read)


def draw_figures(
    folder: Path,
    drawn: Renders,
    images: np.ndarray,
    classes: Sequence[str],
    snapshots: Snapshots,
    log: list[dict],
    weights: Mapping[str, float],
) -> None:
    """Every figure.

    Args:
        images: (N, H, W, C) uint8, training and test images, as ids count them.
        drawn: as `load_probe` gives it.
        weights: of terms of the training's objective, where they are not 1.
    """
    classes = drawable(classes, "class")
    draw_reconstructions(folder / "reconstructions.png", drawn, images)
    draw_conversions(folder / "conversions.png", images[drawn.chosen], drawn.converted, classes, "training images")
    if drawn.unseen_converted is not None:
        unseen = images[drawn.unseen]
        draw_conversions(
            folder / "conversions-unseen.png", unseen, drawn.unseen_converted, classes, "images never seen"
        )
    for name, title in (("normal", "N(0, I)"), ("gaussian", "the Gaussian fitted to the learned content codes")):
        rows = [row[:COLUMNS] for row in drawn.scratch[name]]
        figures.save_grid(folder / f"scratch-{name}.png", rows, f"Content drawn from {title}", classes)
    draw_epochs(folder, snapshots, images)
    draw_losses(folder / "losses.png", log, weights)
    draw_morphing(folder / "conversion.gif", drawn, len(classes))


def draw_reconstructions(path: Path, drawn: Renders, images: np.ndarray) -> None:
    ids = drawn.chosen[:COLUMNS]
    rows = [images[ids], drawn.reconstructed[ids]]
    figures.save_grid(path, rows, "Training images and their reconstructions", ["original", "from its codes"])


def draw_conversions(
    path: Path, originals: np.ndarray, converted: np.ndarray, classes: Sequence[str], what: str
) -> None:
    """The content of each image, at the left, in every class."""
    rows = [np.concatenate([one[None], row]) for one, row in zip(originals[:SHOWN], converted, strict=False)]
    title = f"The content of {what}, drawn at random, with the code of every class"
    figures.save_grid(path, rows, title, column_labels=["image", *classes])


def draw_epochs(folder: Path, snapshots: Snapshots, images: np.ndarray) -> None:
    """The same images through the epochs, as a strip and as an animation."""
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
    """The terms of the training's objective as they enter it: each times its weight, by default 1."""
    rows = [row for row in log if row["stage"] == "train"]
    epochs = np.array([row["epoch"] for row in rows])
    terms = [key for key in rows[0] if key not in ("stage", "epoch", "images_seen", "loss")]
    curves = {}
    for term in terms:
        weight = weights.get(term, 1.0)
        name = term if weight == 1 else f"{term} × {weight:g}"
        curves[name] = epochs, weight * np.array([row[term] for row in rows])
    plots.save_curves(path, curves, plots.Labels("Training", "epoch", "term of the objective, weighted"), log_y=True)


def draw_morphing(path: Path, drawn: Renders, kinds: int) -> None:
    """Images that turn into every class in a circle, and rest on each."""
    steps = len(drawn.morphing) // kinds
    frames = []
    for index, images in enumerate(drawn.morphing):
        still = figures.grid([images], scale=max(1, EPOCH_SIDE // images.shape[1]))
        frames += [still] * (REST if index % steps == 0 else 1)
    figures.save_animation(path, frames, 0.08)
