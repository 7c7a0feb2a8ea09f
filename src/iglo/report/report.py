"""Measures a run and draws its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.measure import (
    Paths,
    continuity,
    draw_samples,
    interpolations,
    rendered_quality,
    sample_quality,
    split_quality,
    through_encoder,
)
from iglo.evaluation.memorisation import NEIGHBOURS, Nearness
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel, render
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.randomness import numpy_generator
from iglo.report import run_figures as draw
from iglo.report.run_figures import BLOCKS, COLUMNS, Split
from iglo.runtime.device import Runtime

Values = dict[str, dict]


@dataclass(frozen=True)
class Run:
    """What a run has made.

    Attributes:
        store: the training images and the held-out images.
        split: the first round of the split.
        choice: all priors, and the chosen one.
    """

    params: Params
    model: GLOModel
    history: History
    store: ImageStore
    split: Split
    choice: PriorChoice


@dataclass(frozen=True)
class Samples:
    """Samples of every prior.

    Attributes:
        images: prior → (S, H, W, C) float in [0, 1].
        values: prior → its numbers, see `sample_quality`.
        near: distances of the chosen prior's samples to the training images, in `pixels` and in `features`.
    """

    images: Mapping[str, np.ndarray]
    values: Mapping[str, dict[str, float]]
    near: Mapping[str, Nearness]


def write_report(folder: Path, run: Run, feature_network: FeatureNetwork, runtime: Runtime) -> Values:
    """Draws the figures of a run into `folder` and returns its metrics, nested as in metrics-all.json.

    A measure that needs more images is left out, and so is its figure. With several ranks, all ranks measure, and the
    first rank draws. Memory holds the features of all images, but only a block of images at a time.
    """
    train, test = UnitImages(run.store.train), UnitImages(run.store.test)
    paths = interpolations(run.model, run.params.evaluate, run.params.seed, runtime)
    train_features = feature_network.features(train)
    samples = _measure_samples(run, train, test, train_features, feature_network, runtime)
    values = {
        **_measure_images(run, train, test, feature_network, runtime),
        "interpolation": continuity(run.model, paths, train_features, feature_network, run.params.seed, runtime),
        **_sample_values(run, samples, feature_network),
        "split": _measure_split(run),
    }
    if runtime.is_main:
        _draw_images(folder, run, paths, values, runtime)
        _draw_the_rest(folder, run, samples)
    return values


def _measure_images(
    run: Run, train: UnitImages, test: UnitImages, feature_network: FeatureNetwork, runtime: Runtime
) -> Values:
    """Compares images with their reconstructions from codes, G(z), and from the encoder, G(E(x))."""
    model, store = run.model, run.store
    codes = model.codes.values
    recon = rendered_quality(lambda rows: render(model.generator, codes[rows], runtime), train, feature_network)
    encoder = {
        part: rendered_quality(
            lambda rows, part=part: through_encoder(model, getattr(store, part)[rows], runtime), images, feature_network
        )
        for part, images in (("train", train), ("test", test))
    }
    return {"train": {"recon": recon, "encoder": encoder["train"]}, "test": {"encoder": encoder["test"]}}


def _measure_samples(
    run: Run,
    train: UnitImages,
    test: UnitImages,
    train_features: np.ndarray,
    feature_network: FeatureNetwork,
    runtime: Runtime,
) -> Samples:
    seed, count, chosen = run.params.seed, run.params.evaluate.samples, run.choice.chosen
    images = {name: draw_samples(run.model, prior, count, seed, runtime) for name, prior in run.choice.priors.items()}
    features = {name: feature_network.features(each) for name, each in images.items()}
    test_features = feature_network.features(test)
    unseen = metrics.nearest(test_features, train_features)[0][:, 0]
    nearest = {
        name: metrics.nearest(fake, train_features, NEIGHBOURS if name == chosen else 1)
        for name, fake in features.items()
    }
    values = {
        name: sample_quality(fake, test_features, nearest[name][0][:, 0], unseen, feature_network.feature_name)
        for name, fake in features.items()
    }
    distances, neighbours = nearest[chosen]
    near = {
        "pixels": Nearness.measure(images[chosen], train, test),
        "features": Nearness(distances[:, 0], unseen, neighbours),
    }
    return Samples(images, values, near)


def _sample_values(run: Run, samples: Samples, feature_network: FeatureNetwork) -> Values:
    share_closer = samples.near["features"].values()["share_closer"]
    return {
        "samples": samples.values[run.choice.chosen],
        "priors": dict(samples.values),
        "memorisation": {
            "pixels": samples.near["pixels"].values(),
            # the novelty in features is in `samples` already
            f"features_{feature_network.feature_name}": {"share_closer": share_closer},
        },
    }


def _measure_split(run: Run) -> dict[str, float]:
    first = np.flatnonzero(run.history.subset_id == 1)
    return split_quality(run.split.points, run.split.labels, first, run.params.seed)


def _draw_images(folder: Path, run: Run, paths: Paths, values: Values, runtime: Runtime) -> None:
    """Draws reconstructions, the encoder's images, interpolations and the overview, on this rank only."""
    model, seed = run.model, run.params.seed
    parts = {"train": run.store.train, "test": run.store.test}
    shown = {
        part: numpy_generator(seed, f"report/{part}").permutation(len(images))[: BLOCKS * COLUMNS]
        for part, images in parts.items()
    }
    originals = {part: UnitImages(images)[shown[part]] for part, images in parts.items()}
    reconstructed = render(
        model.generator, model.codes.values[torch.from_numpy(shown["train"])], runtime.single_process
    )
    encoded = {
        part: through_encoder(model, images[shown[part]], runtime.single_process) for part, images in parts.items()
    }
    draw.draw_reconstructions(folder, originals["train"], reconstructed, values["train"]["recon"]["psnr"])
    for part in parts:
        draw.draw_encoder(folder, part, originals[part], encoded[part], values[part]["encoder"]["psnr"])
    draw.draw_interpolations(folder, paths)
    draw.draw_overview(
        folder / "overview.png", originals["train"], reconstructed, paths, originals["test"], encoded["test"]
    )


def _draw_the_rest(folder: Path, run: Run, samples: Samples) -> None:
    chosen, train = run.choice.chosen, run.store.train
    draw.draw_stages(folder, run.history, train)
    draw.draw_losses(folder, run.history.log)
    draw.draw_samples_grid(folder, samples.images[chosen], chosen)
    draw.draw_priors(folder, samples.images, run.choice)
    draw.draw_neighbours(folder, samples.images[chosen], UnitImages(train), samples.near)
    draw.draw_nearness(folder, samples.near)
    draw.draw_split(folder, run.history, train, run.split)
