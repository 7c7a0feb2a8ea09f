"""The figures of the comparison: the images of all rows, and curves with a band over the seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iglo.comparison.differences import BASE
from iglo.comparison.formats import best_rows
from iglo.comparison.runs import Measured
from iglo.comparison.tables import PRIORS
from iglo.report import figures, plots

COLUMNS = 12  # images in a row of a figure
INVERTED = ("paper_fixed", "glo", "continuity")  # rows of the inversion figures; the first joint row is added
PROMINENT = ("paper_as_run", "paper_fixed", "glo", "incremental", "continuity")  # rows of the main figure
STEPS = (0, 10, 50, 200, 500)  # of inversion

CAPTIONS = {
    "main": "Training images, their reconstructions by some of the methods, and the same interpolation by "
    "each of them.",
    "reconstructions": "Twelve training images and their reconstructions G(z), from each method's own codes z.",
    "interpolations": "Interpolations between the codes of the same two pairs of training images, by every method.",
    "encoder-train": "Twelve training images x through each method's encoder, G(E(x)).",
    "encoder-test": "Twelve test images x through each method's encoder, G(E(x)).",
    "samples": "Twelve samples of each method, drawn by its prior. None was chosen by hand.",
    "priors": "Samples of each prior, fitted to the codes of one method. None was chosen by hand.",
    "neighbours": "Samples of the method with the smallest kernel distance. Below each sample: the three training "
    "images nearest to it in the features of the judge.",
    "psnr-images-seen": "PSNR of training images over images seen, on a logarithmic axis. Some of the "
    "training images are measured, evenly spaced among all. Line: mean over the seeds; band: ± one standard deviation.",
    "psnr-seconds": "The same PSNR over the seconds since training began.",
    "inversion-psnr": "PSNR of test images over steps of optimising the code, from the encoder's code (solid) and "
    "from a random code (dashed).",
    "inversion-distance": "The distance (LPIPS) of test images over the same steps; lower is better.",
}


def draw_figures(folder: Path, measured: Measured, training_images: np.ndarray) -> None:
    """Draws the figures named in CAPTIONS; an inversion figure without numbers is left out.

    Args:
        training_images: (N, H, W, C) uint8.
    """
    train, test = measured.reference.train, measured.reference.test
    draw_main(folder / "main.png", measured)
    draw_paired(folder / "reconstructions.png", measured, train, "reconstructions", "Training images, G(z)")
    draw_interpolations(folder / "interpolations.png", measured)
    draw_paired(folder / "encoder-train.png", measured, train, "encoder_train", "Training images, G(E(x))")
    draw_paired(folder / "encoder-test.png", measured, test, "encoder_test", "Test images, G(E(x))")
    samples = [(row.title, measured.first(row.name, "samples")[:COLUMNS]) for row in measured.rows]
    figures.save_stacked(folder / "samples.png", [_grid(samples, "Samples")])
    draw_priors(folder / "priors.png", measured)
    draw_neighbours(folder / "neighbours.png", measured, training_images)
    draw_curves(folder / "psnr-images-seen.png", measured, "images_seen", "images seen")
    draw_curves(folder / "psnr-seconds.png", measured, "seconds", "seconds")
    draw_inversion(folder / "inversion-psnr.png", measured, "psnr", "PSNR, dB")
    draw_inversion(folder / "inversion-distance.png", measured, "lpips", "LPIPS")


def draw_paired(path: Path, measured: Measured, originals: np.ndarray, array: str, title: str) -> None:
    """Draws originals, and below them each row's version of them."""
    rows = [(row.title, measured.first(row.name, array)[:COLUMNS]) for row in measured.rows]
    figures.save_stacked(path, [_grid([("original", originals[:COLUMNS]), *rows], title)])


def draw_interpolations(path: Path, measured: Measured) -> None:
    """Draws the first path of every row, then the second path of every row."""
    grids = [
        _grid([(row.title, _path(measured, row.name, pair, 11)) for row in measured.rows], title)
        for pair, title in enumerate(("The first path", "The second path"))
    ]
    figures.save_stacked(path, grids)


def draw_main(path: Path, measured: Measured) -> None:
    """Draws reconstructions and one path of the PROMINENT rows, or of all rows if none of these is there."""
    chosen = [row for row in measured.rows if row.name in PROMINENT] or measured.rows
    learned = [(row.title, measured.first(row.name, "reconstructions")[:COLUMNS]) for row in chosen]
    paths = [(row.title, _path(measured, row.name, 0, COLUMNS)) for row in chosen]
    originals = ("original", measured.reference.train[:COLUMNS])
    figures.save_stacked(path, [_grid([originals, *learned], "Reconstructed"), _grid(paths, "Interpolated")])


def draw_priors(path: Path, measured: Measured) -> None:
    """Draws samples of every prior, fitted to the codes of the row BASE, or of the first row if it is not there."""
    row = next((row for row in measured.rows if row.name == BASE), measured.rows[0])
    samples = measured.first(row.name, "prior_samples")
    rows = [(name, images[:COLUMNS]) for name, images in zip(PRIORS, samples, strict=False)]  # early runs have fewer
    figures.save_stacked(path, [_grid(rows, f"{row.title}: samples of each prior")])


def draw_neighbours(path: Path, measured: Measured, training_images: np.ndarray) -> None:
    """Draws samples of the row with the smallest mean kernel distance, above their nearest training images."""
    best = best_rows(measured.values, "samples.kd")
    row = next((row for row in measured.rows if row.name in best), measured.rows[0])
    neighbours = measured.first(row.name, "neighbours")[:COLUMNS]
    ordinals = ("nearest", "second nearest", "third nearest")
    ranked = [(ordinal, training_images[ids]) for ordinal, ids in zip(ordinals, neighbours.T, strict=True)]
    samples = ("sample", measured.first(row.name, "samples")[:COLUMNS])
    title = f"{row.title}: samples and the training images nearest to them"
    figures.save_stacked(path, [_grid([samples, *ranked], title)])


def draw_curves(path: Path, measured: Measured, axis: str, x_label: str) -> None:
    """Draws the PSNR of training images over `axis`: the mean over the seeds at each measuring point.

    A row that adds a stage to a method has the same curve as the method, so it is not drawn again.

    Args:
        axis: `images_seen` or `seconds`.
    """
    curves = {}
    for row in (row for row in measured.rows if row.name == row.method):
        runs = measured.runs[row.name]
        points = min(len(run.curve["psnr"]) for run in runs)
        x = np.mean([run.curve[axis][:points] for run in runs], axis=0)
        curves[row.title] = (x, *_mean_and_spread([run.curve["psnr"][:points] for run in runs]))
    labels = plots.Labels("Some of the training images, evenly spaced", x_label, "PSNR, dB")
    plots.save_bands(path, curves, labels, log_x=True)


def draw_inversion(path: Path, measured: Measured, measure: str, y_label: str) -> None:
    """Draws a metric of test images over steps of inversion, for the INVERTED rows and the first joint row."""
    joint = [row.name for row in measured.rows if row.name.endswith("_joint")][:1]
    rows = [row for row in measured.rows if row.name in (*INVERTED, *joint)]
    curves = {start: {} for start in ("encoder", "random")}
    for start, of_start in curves.items():
        for row in rows:
            numbers = measured.values[row.name]
            names = [f"inversion.{start}.{step}.{measure}" for step in STEPS]
            if all(name in numbers for name in names):
                points = np.stack([numbers[name] for name in names], axis=1)
                of_start[row.title] = (np.arange(len(STEPS)), *_mean_and_spread(points))
    if curves["encoder"]:
        title = "Test images: from the encoder's code (solid), from a random one (dashed)"
        plots.save_bands(
            path,
            curves["encoder"],
            plots.Labels(title, "steps", y_label),
            dashed=curves["random"],
            x_ticks=[str(n) for n in STEPS],
        )


def _mean_and_spread(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and sample standard deviation, (P,) each, of a (P,) curve per seed; 0 with one seed."""
    curves = np.asarray(curves)
    return curves.mean(axis=0), curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(curves.shape[1])


def _path(measured: Measured, row: str, pair: int, points: int) -> np.ndarray:
    """Returns evenly spaced images of a path, (points, H, W, C)."""
    images = measured.first(row, "paths")[pair]
    return images[np.linspace(0, len(images) - 1, points).round().astype(int)]


def _grid(rows: Sequence[tuple[str, np.ndarray]], title: str) -> np.ndarray:
    scale = max(1, 64 // rows[0][1].shape[1])
    return figures.grid([images for _, images in rows], title, [name for name, _ in rows], scale=scale)
