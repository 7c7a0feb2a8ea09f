"""Splits training images into the subsets of all rounds."""

from collections.abc import Iterator

import numpy as np

from iglo.errors import UserError
from iglo.params.pipeline import Params, check_rounds
from iglo.runtime.device import Runtime
from iglo.subsets.clustering import cluster_images, everything, select_images
from iglo.subsets.features import extract_features


def subsets_of(images: np.ndarray, params: Params, runtime: Runtime) -> Iterator[np.ndarray]:
    """Yields the ids of each round's subset.

    A round clusters the images that the rounds before have left, and takes the images nearest to the centroids.

    Args:
        images: (N, H, W, C) uint8, the training images.
    """
    _, features = extract_features(images, params.features, params.data.seed, runtime)
    left = everything(len(images)).rest
    for item in params.rounds:
        selection = select_images(cluster_images(features, left, item, params.clustering, params.data.seed), item)
        yield selection.chosen
        left = selection.rest


def subset_ids(images: np.ndarray, params: Params, runtime: Runtime) -> np.ndarray:
    """Returns the subset of each image of an arrival, (M,) int32, from 1.

    The subsets are those of the rounds of the first run. If there are too few images for these rounds, all images are
    one subset.

    Args:
        images: (M, H, W, C) uint8, the training images of the arrival.
    """
    ids = np.ones(len(images), np.int32)
    if len(params.rounds) > 1 and _are_enough(len(images), params):
        for number, subset in enumerate(subsets_of(images, params, runtime), 1):
            ids[subset] = number
    return ids


def _are_enough(count: int, params: Params) -> bool:
    try:
        check_rounds(params.rounds, count)
    except UserError:
        return False
    return True
