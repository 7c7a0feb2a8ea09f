"""Measures interpolations between training codes: how evenly images change, and whether midpoints look real."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.image_sets import Values, means_of
from iglo.latent.paths import CodeGraph
from iglo.models.glo import GLOModel, render
from iglo.params.pipeline import EvaluateParams
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime

EPSILON = 1e-2  # step of t for the perceptual path length
REPEATS = 100  # of a bootstrap over paths
BLOCK = 64  # paths whose ghost index is computed at a time, in float64
SMALLEST = 1e-12  # distance that is divided by


@dataclass(frozen=True)
class Paths:
    """Interpolations between training codes.

    Attributes:
        ids: (P, 2) ids of the training images at both ends; P is 0 if there is only one training image.
        images: (P, 2K + 1, H, W, C) float in [0, 1].
    """

    ids: np.ndarray
    images: np.ndarray

    @property
    def middle(self) -> int:
        """The place of the midpoint on a path."""
        return self.images.shape[1] // 2


def interpolations(model: GLOModel, params: EvaluateParams, runtime: Runtime) -> Paths:
    """Returns paths of 2K + 1 points between `params.pairs` random pairs of training codes."""
    return _paths(model, slice(0, params.pairs), 2 * params.steps + 1, params.seed, runtime)


def midpoints_after(model: GLOModel, params: EvaluateParams, runtime: Runtime) -> Paths:
    """Returns more pairs, of which only start, midpoint and end are rendered.

    Together with those of `interpolations` they are `params.samples` pairs; there are none if `pairs` is as many.
    """
    return _paths(model, slice(params.pairs, max(params.pairs, params.samples)), 3, params.seed, runtime)


def _paths(model: GLOModel, chosen: slice, points: int, seed: int, runtime: Runtime) -> Paths:
    ids, start, end = _pairs(model, chosen, seed)
    times = torch.linspace(0, 1, points, dtype=torch.float32)
    codes = model.config.geometry().interpolate(start, end, times)
    if not len(ids):
        return Paths(ids, np.zeros((0, points, 1, 1, 1), np.float32))
    images = render(model.generator, codes.flatten(0, 1), runtime)
    return Paths(ids, images.reshape(*codes.shape[:2], *images.shape[1:]))


def _pairs(model: GLOModel, chosen: slice, seed: int) -> tuple[np.ndarray, Tensor, Tensor]:
    """Returns the ids and the codes of the chosen pairs; pair number i is the same for every choice."""
    codes = model.codes.values.cpu()
    numbers = range(chosen.start, chosen.stop if len(codes) > 1 else chosen.start)
    drawn = [numpy_generator(seed, "interpolation/pairs", i).choice(len(codes), 2, replace=False) for i in numbers]
    ids = np.array(drawn, dtype=np.int64).reshape(-1, 2)
    start, end = (codes[torch.from_numpy(column.copy())] for column in ids.T)
    return ids, start, end


def graph_midpoints(model: GLOModel, parts: Sequence[Paths], runtime: Runtime) -> np.ndarray:
    """Renders the midpoints of the paths along the graph of codes, between the ends of some paths: (P, H, W, C)."""
    ids = torch.from_numpy(np.concatenate([part.ids for part in parts]))
    if not len(ids):
        return np.zeros((0, 1, 1, 1), np.float32)
    codes = model.codes.values.cpu()
    graph = CodeGraph.of(codes, model.config.geometry())
    middles = graph.interpolate(codes[ids[:, 0]], codes[ids[:, 1]], torch.tensor([0.5], dtype=torch.float32))
    return render(model.generator, middles[:, 0], runtime)


def close_pairs(model: GLOModel, params: EvaluateParams, runtime: Runtime) -> np.ndarray:
    """Returns the images at a random time t and at t + ε on each path of `interpolations`: (P, 2, H, W, C)."""
    ids, start, end = _pairs(model, slice(0, params.pairs), params.seed)
    if not len(ids):
        return np.zeros((0, 2, 1, 1, 1), np.float32)
    rng = torch_generator(params.seed, "interpolation/times")
    times = torch.rand(len(ids), generator=rng, dtype=torch.float32) * (1 - EPSILON)
    geometry = model.config.geometry()
    codes = torch.cat(
        [
            geometry.interpolate(a[None], b[None], torch.stack([t, t + EPSILON]))
            for a, b, t in zip(start, end, times, strict=True)
        ]
    )
    images = render(model.generator, codes.flatten(0, 1), runtime)
    return images.reshape(len(ids), 2, *images.shape[1:])


def continuity(
    paths: Paths, close: np.ndarray, features: np.ndarray, train: np.ndarray, network: FeatureNetwork, seed: int
) -> Values:
    """Returns path length, jerkiness and midpoint realism of `paths`, and `se`; empty if there is no path.

    Path length and jerkiness are measured twice: with LPIPS, and with the Euclidean distance of pooled features.

    Args:
        close: (P, 2, H, W, C), those of `close_pairs`.
        features: (P, 2K + 1, D) features of the images of `paths`, computed by `network`.
        train: (N, D) features of all training images.
        seed: `evaluate.seed`, for standard errors.
    """
    if not len(paths.ids):
        return {}
    points = paths.images.shape[1]
    steps = [network.distance(paths.images[:, i], paths.images[:, i + 1]) for i in range(points - 1)]
    steps = np.stack(steps, axis=1)
    turns = np.linalg.norm(np.diff(features.astype(np.float64), axis=1), axis=2)
    changes = network.distance(close[:, 0], close[:, 1])
    name, feature_name = network.distance_name.removeprefix("lpips_"), network.feature_name
    per_path = {
        f"ppl_{name}": np.array([metrics.path_length(each, EPSILON) for each in changes]),
        f"jerkiness_{name}": np.array([metrics.jerkiness(each[None]) for each in steps]),
        f"feature_path_length_{feature_name}": turns.sum(axis=1),
        f"feature_jerkiness_{feature_name}": np.array([metrics.jerkiness(each[None]) for each in turns]),
    }
    values, errors = means_of(per_path)
    realism, error = _midpoint_realism(features, train, seed)
    values[f"midpoint_realism_{feature_name}"] = realism
    return {**values, "se": {**errors, f"midpoint_realism_{feature_name}": error}}


def ghosts(parts: Sequence[Paths], real: np.ndarray | UnitImages) -> Values:
    """Returns the mean `ghost_index` of the midpoints of some paths, and `se`; empty if there is no path.

    `ghost_index_real` is the same with a real image in the place of each midpoint: images that are alike share some
    detail, so this is the least that can be expected.

    Args:
        real: (T, H, W, C) float in [0, 1], images that are no ends of the paths; they are used in turn.
    """
    indices = [each for part in parts for each in _ghosts_of(part, real)]
    if not indices:
        return {}
    of_midpoints, of_real = np.concatenate(indices, axis=1)
    values, errors = means_of({"ghost_index": of_midpoints, "ghost_index_real": of_real})
    return {**values, "se": errors}


def _ghosts_of(paths: Paths, real: np.ndarray | UnitImages) -> Iterator[np.ndarray]:
    """Yields the ghost indices of midpoints and of real images (2, BLOCK) of some paths at a time."""
    for start in range(0, len(paths.ids), BLOCK):
        images = paths.images[start : start + BLOCK]
        third = real[np.arange(start, start + len(images)) % len(real)]
        middles = (images[:, paths.middle], third)
        yield np.stack([metrics.ghost_index(each, images[:, 0], images[:, -1]) for each in middles])


def graph_ghosts(parts: Sequence[Paths], middles: np.ndarray) -> Values:
    """Returns `ghost_index_graph`, the mean ghost index of the images of `graph_midpoints`, and `se`."""
    if not len(middles):
        return {}
    indices, first = [], 0
    for part in parts:
        for start in range(0, len(part.ids), BLOCK):
            images = part.images[start : start + BLOCK]
            between = middles[first + start : first + start + len(images)]
            indices.append(metrics.ghost_index(between, images[:, 0], images[:, -1]))
        first += len(part.ids)
    values, errors = means_of({"ghost_index_graph": np.concatenate(indices)})
    return {**values, "se": errors}


def _midpoint_realism(features: np.ndarray, train: np.ndarray, seed: int) -> tuple[float, float]:
    """Returns the midpoint realism of paths (P, 2K + 1, D), and its standard error by a bootstrap over paths."""
    middle = features.shape[1] // 2
    midpoints, ends = features[:, middle], features[:, [0, -1]]
    realism = metrics.midpoint_realism(midpoints, ends.reshape(-1, ends.shape[-1]), train)
    distances = metrics.nearest(features[:, [middle, 0, -1]].reshape(-1, features.shape[-1]), train)[0].reshape(-1, 3)

    def ratio(rows: np.ndarray) -> float:
        return float(rows[:, 0].mean() / max(rows[:, 1:].mean(), SMALLEST))

    rng = numpy_generator(seed, "interpolation/bootstrap")
    return realism, metrics.bootstrap_error(ratio, (distances,), rng, REPEATS)
