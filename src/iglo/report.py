"""A run's report: every number and every picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from iglo import figures
from iglo.evaluation import (
    Judge,
    Paths,
    continuity,
    draw_samples,
    interpolations,
    invert,
    rendered_quality,
    sample_quality,
    split_quality,
)
from iglo.images import ImageStore, UnitImages
from iglo.memorisation import NEIGHBOURS, SPACES, Nearness
from iglo.model import Model, decode
from iglo.params import Params
from iglo.randomness import numpy_generator
from iglo.runtime import Runtime
from iglo.sampling import SamplerChoice

COLUMNS, BLOCKS = 12, 3  # images in a row of a grid, and rows of each kind
SAMPLERS = {  # in words
    "normal": "the prior",
    "gaussian_diag": "a Gaussian fitted to the learned codes, coordinate by coordinate",
    "gaussian": "a Gaussian fitted to the learned codes",
    "gmm": "a mixture of Gaussians fitted to the learned codes",
    "imle": "a mapping of noise learned by IMLE",
}


@dataclass(frozen=True)
class Split:
    """The first round: its features (N, P) of all training images, their clusters (N,), and the features' name."""

    points: np.ndarray
    labels: np.ndarray
    features: str


def write_report(
    folder: Path,
    model: Model,
    store: ImageStore,
    split: Split,
    choice: SamplerChoice,
    judge: Judge,
    params: Params,
    runtime: Runtime,
) -> dict:
    """Draws a run's figures into `folder` and returns its metrics, nested as in metrics.json.

    Ranks share the work of the networks; the first draws. Memory holds the judge's features of all images, and of the
    images a block at a time.
    """
    seed, section = params.seed, params.evaluate
    train, test = UnitImages(store.train), UnitImages(store.test)
    paths = interpolations(model, section, seed, runtime)
    samples = {
        name: draw_samples(model, each, section.samples, seed, runtime) for name, each in choice.samplers.items()
    }
    features = {name: judge.features(images) for name, images in samples.items()}
    train_features, test_features = judge.features(train), judge.features(test)
    near = {
        "pixels": Nearness.measure(samples[choice.chosen], train, test),
        "features": Nearness.measure(features[choice.chosen], train_features, test_features),
    }
    compared = {
        name: sample_quality(fake, train_features, test_features, judge.feature_name) for name, fake in features.items()
    }
    values = {
        "train": {
            "recon": rendered_quality(lambda rows: decode(model.generator, model.codes[rows], runtime), train, judge),
            "encoder": rendered_quality(lambda rows: invert(model, store.train[rows], runtime), train, judge),
        },
        "test": {"encoder": rendered_quality(lambda rows: invert(model, store.test[rows], runtime), test, judge)},
        "interpolation": continuity(model, paths, train_features, judge, seed, runtime),
        "samples": compared[choice.chosen],
        "samplers": compared,
        "memorisation": {
            "pixels": near["pixels"].values(),
            f"features_{judge.feature_name}": near["features"].values(),
        },
        "split": split_quality(split.points, split.labels, np.flatnonzero(model.learned_in == 1), seed),
    }
    if not runtime.first:
        return values
    shown = numpy_generator(seed, "report/train").permutation(len(train))[: BLOCKS * COLUMNS]
    unseen = numpy_generator(seed, "report/test").permutation(len(test))[: BLOCKS * COLUMNS]
    reconstructed = decode(model.generator, model.codes[torch.from_numpy(shown)], runtime.alone)
    inverted = [invert(model, part[ids], runtime.alone) for part, ids in ((store.train, shown), (store.test, unseen))]
    draw_stages(folder, model, store.train)
    draw_reconstructions(folder, train[shown], reconstructed, values["train"]["recon"]["psnr"])
    draw_encoder(folder, "train", train[shown], inverted[0], values["train"]["encoder"]["psnr"])
    draw_encoder(folder, "test", test[unseen], inverted[1], values["test"]["encoder"]["psnr"])
    draw_interpolations(folder, paths)
    draw_samples_grid(folder, samples[choice.chosen], choice.chosen)
    draw_samplers(folder, samples, choice)
    draw_neighbours(folder, samples[choice.chosen], train, near)
    draw_nearness(folder, near)
    draw_split(folder, model, store.train, split)
    draw_losses(folder, model.log)
    draw_overview(folder / "overview.png", train[shown], reconstructed, paths, test[unseen], inverted[1])
    return values


def draw_stages(folder: Path, model: Model, originals: np.ndarray) -> None:
    """The same images after every stage, and one strip per stage of how they improve with its epochs.

    Args:
        originals: (N, H, W, C) uint8, the training images.
    """
    album, ids = model.album, model.album.ids.numpy()
    columns = [f"S{learned}" for learned in model.learned_in[ids]]
    truth = ("original", originals[ids])
    stages = dict.fromkeys(stage for stage, _ in album.places)
    taken = {place: frame.numpy() for place, frame in zip(album.places, album.frames, strict=True)}
    last = {stage: taken[max(place for place in album.places if place[0] == stage)] for stage in stages}
    _grid(folder / "stages.png", [*last.items(), truth], "The same training images after every stage", columns)
    for stage in stages:
        rows = [(f"epoch {place[1]}", taken[place]) for place in sorted(album.places) if place[0] == stage]
        name = f"stage-{stage.replace(' ', '-')}.png"
        _grid(folder / name, [*rows, truth], f"Stage {stage}: the same training images, epoch by epoch", columns)


def draw_reconstructions(folder: Path, originals: np.ndarray, reconstructions: np.ndarray, psnr: float) -> None:
    """Training images over G(z)."""
    rows = _paired(("original", originals), ("G(z)", reconstructions))
    _grid(folder / "reconstructions.png", rows, f"Reconstructions of training images, {psnr:.1f} dB on average")


def draw_encoder(folder: Path, part: str, originals: np.ndarray, inverted: np.ndarray, psnr: float) -> None:
    """Images over G(E(x)), for the part `train` or `test`."""
    rows = _paired(("original", originals), ("G(E(x))", inverted))
    _grid(folder / f"encoder-{part}.png", rows, f"Encoder on {part} images, {psnr:.1f} dB on average")


def draw_interpolations(folder: Path, paths: Paths) -> None:
    """Eight paths between training images."""
    points = np.linspace(0, paths.images.shape[1] - 1, 11).round().astype(int)
    rows = [(f"{a} to {b}", images[points]) for (a, b), images in zip(paths.ids[:8], paths.images, strict=False)]
    _grid(folder / "interpolations.png", rows, "Interpolations between training codes (ids at the left)")


def draw_samples_grid(folder: Path, samples: np.ndarray, sampler: str) -> None:
    rows = [("", samples[i : i + COLUMNS]) for i in range(0, min(len(samples), 6 * COLUMNS), COLUMNS)]
    _grid(folder / "samples.png", rows, f"Samples: codes drawn by {sampler}, {SAMPLERS[sampler]}")


def draw_samplers(folder: Path, samples: Mapping[str, np.ndarray], choice: SamplerChoice) -> None:
    """A row of samples for each sampler, the nearest to held-out images first."""
    ranked = sorted(samples, key=choice.kernel_distance.get)
    rows = [(f"{name}, {choice.kernel_distance[name]:.3g}", samples[name][:COLUMNS]) for name in ranked]
    title = f"Samples of every sampler, and its kernel distance to held-out images; chosen: {choice.chosen}"
    _grid(folder / "samplers.png", rows, title)


def draw_neighbours(folder: Path, samples: np.ndarray, train: UnitImages, near: Mapping[str, Nearness]) -> None:
    """Samples over the training images nearest to them: the first samples, then those that come nearest of all."""
    nearest = np.argsort(near["features"].samples, kind="stable")
    rows = []
    for title, ids in (("sample", np.arange(len(samples))), ("sample nearest of all", nearest)):
        shown = ids[:COLUMNS]
        rows.append((title, samples[shown]))
        for space in SPACES:
            rows += [(f"nearest in {space}", train[near[space].neighbours[shown, rank]]) for rank in range(NEIGHBOURS)]
    title = "Samples and the training images nearest to them, in pixels and in the judge's features"
    _grid(folder / "neighbours.png", rows, title)


def draw_nearness(folder: Path, near: Mapping[str, Nearness]) -> None:
    """How far samples, and held-out images, are from their nearest training images."""
    for space, words in SPACES.items():
        distances = {"samples": near[space].samples, "held-out images": near[space].unseen}
        label, title = f"distance in {words}", "Distance to the nearest training image"
        figures.save_histograms(folder / f"nearness-{space}.png", distances, label, title)


def draw_split(folder: Path, model: Model, originals: np.ndarray, split: Split) -> None:
    """The first round's clusters and their chosen images, in two dimensions and as rows of images."""
    labels = split.labels
    first = np.flatnonzero(model.learned_in == 1)
    projection = PCA(2, random_state=0).fit_transform(split.points)
    clusters = f"{labels.max() + 1} clusters ({split.features})"
    title = f"The first subset: {len(first)} images nearest to the centroids of {clusters}"
    figures.save_split(folder / "split.png", projection, labels, first, title)
    busiest = np.argsort(-np.bincount(labels[first]), kind="stable")[:8]
    rows = [(f"cluster {c}", originals[first[labels[first] == c]][:COLUMNS]) for c in busiest]
    _grid(folder / "chosen.png", rows, "Images chosen from eight clusters for the first subset")


def draw_losses(folder: Path, log: list[dict]) -> None:
    """Each generator stage's terms against the images presented since the start of the first."""
    log = [row for row in log if "held_out" not in row]  # which an encoder's rows have
    curves: dict[str, tuple[list, list]] = {}
    marks, offset = [], 0
    for stage in dict.fromkeys(row["stage"] for row in log):
        rows = [row for row in log if row["stage"] == stage]
        marks.append((offset, stage))
        for term in rows[0].keys() - {"stage", "epoch", "presented"}:
            x, y = curves.setdefault(term, ([], []))
            x += [offset + row["presented"] for row in rows] + [np.nan]
            y += [row[term] for row in rows] + [np.nan]
        offset += rows[-1]["presented"]
    series = {name: (np.array(x), np.array(y)) for name, (x, y) in sorted(curves.items())}
    figures.save_curves(
        folder / "losses.png", series, "images presented", "mean of the term", "Training", log_y=True, marks=marks
    )


def draw_overview(
    path: Path, originals: np.ndarray, reconstructions: np.ndarray, paths: Paths, test: np.ndarray, inverted: np.ndarray
) -> None:
    """The first picture that a newcomer sees: what goes in, what comes out."""
    points = np.linspace(0, paths.images.shape[1] - 1, COLUMNS).round().astype(int)
    rows = [
        ("training images", originals[:COLUMNS]),
        ("reconstructed", reconstructions[:COLUMNS]),
        ("interpolated", paths.images[0][points]),
        ("", paths.images[1][points]),
        ("", paths.images[2][points]),
        ("unseen images", test[:COLUMNS]),
        ("through the encoder", inverted[:COLUMNS]),
    ]
    _grid(path, rows, None)


def _paired(*named: tuple[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Rows of each in turn, BLOCKS times."""
    count = min(len(images) for _, images in named)
    starts = range(0, min(count, BLOCKS * COLUMNS), COLUMNS)
    return [(name, images[start : start + COLUMNS]) for start in starts for name, images in named]


def _grid(path: Path, rows: list[tuple[str, np.ndarray]], title: str | None, columns: list[str] | None = None) -> None:
    images = [_uint8(batch) for _, batch in rows if len(batch)]
    scale = max(1, 64 // images[0].shape[1])
    figures.save_grid(path, images, title, [name for name, batch in rows if len(batch)], columns, scale)


def _uint8(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else (images * 255).round().astype(np.uint8)
