"""Draws the figures of a run: training, reconstructions, interpolations, samples and the split."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.memorisation import SPACES, Nearness
from iglo.evaluation.paths import Paths
from iglo.evaluation.run import Split
from iglo.latent.priors import Prior, PriorChoice
from iglo.models.history import History
from iglo.models.snapshots import Snapshots
from iglo.report import figures, plots
from iglo.report.page_measures import with_error

COLUMNS, BLOCKS = 12, 3  # images in a row of a grid, and number of rows of each kind
PATHS, POINTS = 8, 11  # interpolations in a grid, and images of each
MOMENTS = 21  # most frames of an animated interpolation
PRIOR_DESCRIPTIONS = {
    "normal": "a normal distribution",
    "gaussian_diag": "a Gaussian fitted to the learned codes, coordinate by coordinate",
    "gaussian": "a Gaussian fitted to the learned codes",
    "gmm": "a mixture of Gaussians fitted to the learned codes",
    "imle": "a mapping from noise, learned by IMLE",
    "neighbours": "points between learned codes that are near to each other",
    "flow": "a flow from noise, learned by flow matching",
}


def draw_stages(folder: Path, history: History, originals: np.ndarray) -> None:
    """Draws the same images after each stage, after the epochs of each stage, and as an animation.

    Each row is labelled with its PSNR, because the eye soon sees no difference between rows.

    Args:
        originals: (N, H, W, C) uint8, all training images.
    """
    snapshots, ids = history.snapshots, history.snapshots.ids.numpy()
    columns = [f"S{learned}" for learned in history.subset_id[ids]]
    truth = ("original", originals[ids])
    stages = dict.fromkeys(stage for stage, _ in snapshots.places)
    taken = {place: frame.numpy() for place, frame in zip(snapshots.places, snapshots.frames, strict=True)}
    quality = {
        place: f"{psnr:.1f} dB"
        for place, psnr in zip(snapshots.places, psnr_of_frames(snapshots, originals), strict=True)
    }
    if not taken:
        return
    ends = [max(place for place in snapshots.places if place[0] == stage) for stage in stages]
    rows = [(f"{place[0]}\n{quality[place]}", taken[place]) for place in ends]
    draw_grid(folder / "stages.png", [*rows, truth], "The same training images after every stage", columns)
    for stage in stages:
        places = sorted(place for place in snapshots.places if place[0] == stage)
        rows = [(f"epoch {place[1]}\n{quality[place]}", taken[place]) for place in places]
        name = f"stage-{stage.replace(' ', '-')}.png"
        draw_grid(folder / name, [*rows, truth], f"Stage {stage}: the same training images, epoch by epoch", columns)
    frames = [(f"{stage}, epoch {epoch}: {quality[stage, epoch]}", taken[stage, epoch]) for stage, epoch in taken]
    figures.save_learning(folder / "learning.gif", frames, originals[ids], 0.5)


def draw_reconstructions(folder: Path, originals: np.ndarray, reconstructions: np.ndarray, psnr: float) -> None:
    """Draws training images and, below them, G(z)."""
    rows = _paired(("original", originals), ("G(z)", reconstructions))
    draw_grid(folder / "reconstructions.png", rows, f"Reconstructions of training images, {psnr:.1f} dB on average")


def draw_encoder(folder: Path, part: str, originals: np.ndarray, inverted: np.ndarray, psnr: float) -> None:
    """Draws images of the part `train` or `test` and, below them, G(E(x))."""
    rows = _paired(("original", originals), ("G(E(x))", inverted))
    draw_grid(folder / f"encoder-{part}.png", rows, f"Encoder on {part} images, {psnr:.1f} dB on average")


def draw_interpolations(folder: Path, paths: Paths) -> None:
    """Draws paths between training images as a grid and as an animation; draws nothing if there is no path."""
    if not len(paths.ids):
        return
    rows = [
        (f"{a} to {b}", images[evenly(len(images), POINTS)])
        for (a, b), images in zip(paths.ids[:PATHS], paths.images, strict=False)
    ]
    draw_grid(folder / "interpolations.png", rows, "Interpolations between training codes (ids at the left)")
    moments = evenly(paths.images.shape[1], min(paths.images.shape[1], MOMENTS))
    figures.save_paths(folder / "interpolation.gif", paths.images[:PATHS, moments], 0.1)


def draw_midpoints(folder: Path, paths: Paths, graph_midpoints: np.ndarray) -> None:
    """Draws start, both midpoints and end of the first paths; draws nothing if there is no path."""
    if not len(paths.ids):
        return
    shown = paths.images[: BLOCKS * COLUMNS]
    starts, midpoints, ends = (shown[:, point] for point in (0, paths.middle, -1))
    along = ("along the graph", graph_midpoints[: len(shown)])
    rows = _paired(("start", starts), ("midpoint", midpoints), along, ("end", ends))
    draw_grid(folder / "midpoints.png", rows, "Random pairs of training codes, and the image halfway between them")


def draw_samples_grid(folder: Path, samples: np.ndarray, prior: Prior) -> None:
    rows = [("", samples[i : i + COLUMNS]) for i in range(0, min(len(samples), 6 * COLUMNS), COLUMNS)]
    draw_grid(folder / "samples.png", rows, f"Samples: codes drawn by {prior.label}, {PRIOR_DESCRIPTIONS[prior.name]}")


def draw_priors(folder: Path, samples: Mapping[str, np.ndarray], choice: PriorChoice) -> None:
    """Draws a row of samples for each prior, the smallest kernel distance first if it was measured."""
    distance, error, chosen = choice.kernel_distance, choice.standard_error, f"chosen: {choice.chosen}"
    names = {
        name: f"{_label(choice, name)}\n{with_error(distance[name], error.get(name), '.3g')}"
        for name in sorted(distance, key=distance.get)
    }
    names = names or {name: _label(choice, name) for name in samples}
    rows = [(label, samples[name][:COLUMNS]) for name, label in names.items()]
    measured = ", and its kernel distance to the validation images" if distance else ""
    draw_grid(folder / "priors.png", rows, f"Samples of every prior{measured}; {chosen}")


def _label(choice: PriorChoice, name: str) -> str:
    return choice.priors[name].label if name in choice.priors else name


def draw_neighbours(folder: Path, samples: np.ndarray, train: UnitImages, near: Mapping[str, Nearness]) -> None:
    """Draws samples and, below each, its nearest training images: the first samples, then the nearest ones."""
    nearest = np.argsort(near["features"].samples, kind="stable")
    rows = []
    for title, ids in (("samples", np.arange(len(samples))), ("nearest samples", nearest)):
        shown = ids[:COLUMNS]
        rows.append((title, samples[shown]))
        for space in SPACES:
            rows += [(f"nearest in {space}", train[ids]) for ids in near[space].neighbours[shown].T]
    title = "Samples and the training images nearest to them, in pixels and in the feature network's features"
    draw_grid(folder / "neighbours.png", rows, title)


def draw_nearness(folder: Path, near: Mapping[str, Nearness]) -> None:
    """Draws histograms of the distances from samples and test images to their nearest training images."""
    for space, words in SPACES.items():
        distances = {"samples": near[space].samples, "test images": near[space].unseen}
        label, title = f"distance in {words}", "Distance to the nearest training image"
        plots.save_histograms(folder / f"nearness-{space}.png", distances, label, title)


def draw_split(folder: Path, history: History, originals: np.ndarray, split: Split) -> None:
    """Draws the clusters of the first round and the chosen images: as points, and as rows of images."""
    labels = split.labels
    first = np.flatnonzero(history.subset_id == 1)
    clusters = f"{labels.max() + 1} clusters ({split.features})"
    title = f"The first subset: {len(first)} images nearest to the centroids of {clusters}"
    plots.save_split(folder / "split.png", _flattened(split.points), labels, first, title)
    busiest = np.argsort(-np.bincount(labels[first]), kind="stable")[:8]
    rows = [(f"cluster {c}", originals[first[labels[first] == c]][:COLUMNS]) for c in busiest]
    shown = sum(len(row) > 0 for _, row in rows)
    where = "eight clusters" if shown == 8 else f"{shown} cluster{'s' if shown > 1 else ''}"
    draw_grid(folder / "chosen.png", rows, f"Images chosen from {where} for the first subset")


def draw_losses(folder: Path, log: list[dict]) -> None:
    """Draws the loss terms of each stage that trains the generator, against the images seen since the first stage."""
    log = [row for row in log if "held_out" not in row]  # only rows of an encoder have this key
    curves: dict[str, tuple[list, list]] = {}
    marks, offset = [], 0
    for stage in dict.fromkeys(row["stage"] for row in log):
        rows = [row for row in log if row["stage"] == stage]
        marks.append((offset, stage))
        for term in rows[0].keys() - {"stage", "epoch", "images_seen", "loss"}:
            x, y = curves.setdefault(term, ([], []))
            x += [offset + row["images_seen"] for row in rows] + [np.nan]
            y += [row[term] for row in rows] + [np.nan]
        offset += rows[-1]["images_seen"]
    series = {name: (np.array(x), np.array(y)) for name, (x, y) in sorted(curves.items())}
    labels = plots.Labels("Training", "images seen", "mean of the term")
    plots.save_curves(folder / "losses.png", series, labels, log_y=True, marks=marks)


def draw_overview(
    path: Path, originals: np.ndarray, reconstructions: np.ndarray, paths: Paths, test: np.ndarray, inverted: np.ndarray
) -> None:
    """Draws training images, test images, their reconstructions, and interpolations."""
    points = evenly(paths.images.shape[1], COLUMNS)
    interpolated = [(name, path[points]) for name, path in zip(("interpolated", "", ""), paths.images, strict=False)]
    rows = [
        ("training images", originals[:COLUMNS]),
        ("reconstructed", reconstructions[:COLUMNS]),
        *interpolated,
        ("unseen images", test[:COLUMNS]),
        ("through the encoder", inverted[:COLUMNS]),
    ]
    draw_grid(path, rows, None)


def evenly(count: int, wanted: int) -> np.ndarray:
    """Returns `wanted` indices of `count` points, evenly spaced from the first to the last."""
    return np.linspace(0, count - 1, wanted).round().astype(int)


def _flattened(points: np.ndarray) -> np.ndarray:
    """Projects points (N, P) to their first two principal components (N, 2); a missing component is 0."""
    if len(points) == 1:
        return np.zeros((1, 2))
    components = min(2, *points.shape)
    projection = PCA(components, random_state=0).fit_transform(points)
    return np.pad(projection, ((0, 0), (0, 2 - components)))


def _paired(*named: tuple[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Returns at most BLOCKS rows of each group: a row of the first group, one of the second, and so on."""
    count = min(len(images) for _, images in named)
    starts = range(0, min(count, BLOCKS * COLUMNS), COLUMNS)
    return [(name, images[start : start + COLUMNS]) for start in starts for name, images in named]


def draw_grid(
    path: Path, rows: list[tuple[str, np.ndarray]], title: str | None, columns: list[str] | None = None
) -> None:
    """Draws rows of images, each with its label. A row without images is left out.

    Args:
        rows: labels, and images (n, H, W, C), uint8 or float in [0, 1].
        columns: a text for each column, from the left.
    """
    images = [_uint8(batch) for _, batch in rows if len(batch)]
    scale = max(1, 64 // images[0].shape[1])
    figures.save_grid(path, images, title, [name for name, batch in rows if len(batch)], columns, scale)


def _uint8(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else (images * 255).round().astype(np.uint8)


def psnr_of_frames(snapshots: Snapshots, originals: np.ndarray) -> list[float]:
    """Returns the PSNR of each frame in dB, the mean over its images.

    Args:
        originals: (N, H, W, C) uint8; the ids of the snapshots are its rows.
    """
    targets = np.asarray(originals[snapshots.ids.numpy()], np.float32) / 255
    return [metrics.psnr(frame.numpy() / np.float32(255), targets) for frame in snapshots.frames]
