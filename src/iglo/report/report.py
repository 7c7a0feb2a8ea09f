"""A run's report: every number and every picture."""

from pathlib import Path

import numpy as np
import torch

from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.measure import (
    FeatureNetwork,
    continuity,
    draw_samples,
    interpolations,
    invert,
    rendered_quality,
    sample_quality,
    split_quality,
)
from iglo.evaluation.memorisation import NEIGHBOURS, Nearness
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel, render
from iglo.models.history import History
from iglo.params.sections import Params
from iglo.randomness import numpy_generator
from iglo.report import run_figures
from iglo.report.run_figures import BLOCKS, COLUMNS, Split
from iglo.runtime.device import Runtime


def write_report(
    folder: Path,
    model: GLOModel,
    history: History,
    store: ImageStore,
    split: Split,
    choice: PriorChoice,
    feature_network: FeatureNetwork,
    params: Params,
    runtime: Runtime,
) -> dict:
    """Draws a run's figures into `folder` and returns its metrics, nested as in metrics-all.json.

    A measure that needs more images than there are is left out, and so is its figure. Ranks share the work of the
    networks; the first rank draws. Memory holds the feature network's features of all images, and only a block
    of images.
    """
    seed, section = params.seed, params.evaluate
    train, test = UnitImages(store.train), UnitImages(store.test)
    paths = interpolations(model, section, seed, runtime)
    samples = {name: draw_samples(model, each, section.samples, seed, runtime) for name, each in choice.priors.items()}
    features = {name: feature_network.features(images) for name, images in samples.items()}
    train_features, test_features = feature_network.features(train), feature_network.features(test)
    unseen, _ = metrics.nearest_distances(test_features, train_features)
    nearest = {name: metrics.nearest_distances(fake, train_features)[0] for name, fake in features.items()}
    compared = {
        name: sample_quality(fake, test_features, nearest[name], unseen, feature_network.feature_name)
        for name, fake in features.items()
    }
    neighbours = metrics.nearest_indices(features[choice.chosen], train_features, NEIGHBOURS)
    near = {
        "pixels": Nearness.measure(samples[choice.chosen], train, test),
        "features": Nearness(nearest[choice.chosen], unseen, neighbours),
    }
    values = {
        "train": {
            "recon": rendered_quality(
                lambda rows: render(model.generator, model.codes.values[rows], runtime), train, feature_network
            ),
            "encoder": rendered_quality(lambda rows: invert(model, store.train[rows], runtime), train, feature_network),
        },
        "test": {
            "encoder": rendered_quality(lambda rows: invert(model, store.test[rows], runtime), test, feature_network)
        },
        "interpolation": continuity(model, paths, train_features, feature_network, seed, runtime),
        "samples": compared[choice.chosen],
        "priors": compared,
        "memorisation": {
            "pixels": near["pixels"].values(),
            # the novelty in features is among `samples` already
            f"features_{feature_network.feature_name}": {"share_closer": near["features"].values()["share_closer"]},
        },
        "split": split_quality(split.points, split.labels, np.flatnonzero(history.subset_id == 1), seed),
    }
    if not runtime.is_main:
        return values
    shown = numpy_generator(seed, "report/train").permutation(len(train))[: BLOCKS * COLUMNS]
    hidden = numpy_generator(seed, "report/test").permutation(len(test))[: BLOCKS * COLUMNS]
    reconstructed = render(model.generator, model.codes.values[torch.from_numpy(shown)], runtime.alone)
    inverted = [invert(model, part[ids], runtime.alone) for part, ids in ((store.train, shown), (store.test, hidden))]
    draw = run_figures
    draw.draw_stages(folder, history, store.train)
    draw.draw_reconstructions(folder, train[shown], reconstructed, values["train"]["recon"]["psnr"])
    draw.draw_encoder(folder, "train", train[shown], inverted[0], values["train"]["encoder"]["psnr"])
    draw.draw_encoder(folder, "test", test[hidden], inverted[1], values["test"]["encoder"]["psnr"])
    draw.draw_interpolations(folder, paths)
    draw.draw_samples_grid(folder, samples[choice.chosen], choice.chosen)
    draw.draw_priors(folder, samples, choice)
    draw.draw_neighbours(folder, samples[choice.chosen], train, near)
    draw.draw_nearness(folder, near)
    draw.draw_split(folder, history, store.train, split)
    draw.draw_losses(folder, history.log)
    draw.draw_overview(folder / "overview.png", train[shown], reconstructed, paths, test[hidden], inverted[1])
    return values
