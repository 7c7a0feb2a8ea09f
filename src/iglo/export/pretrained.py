"""Loads the pretrained networks that the record of an exported model names: for its loss, and for features."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iglo.backbones.requirements import BUILT_IN
from iglo.errors import IgloWarning, UserError, shown, warn
from iglo.evaluation.feature_networks import load_feature_network, lpips_distance
from iglo.export.bundle import Bundle
from iglo.losses.distances import PIXEL_DISTANCES, Distance
from iglo.params.run_record import FeatureNetworkRecord, Network
from iglo.progress import bar
from iglo.runtime.device import Runtime
from iglo.training.trainer import make_distance

BATCH = 256
FALLBACK = "l1"  # a distance that needs no weights


class FallbackWarning(IgloWarning):
    """The loss of the training does not work here, so another distance is used to find codes."""


class InversionDistance:
    """Builds the distances by which codes are found for images."""

    def __init__(self, bundle: Bundle, runtime: Runtime):
        self.bundle, self.runtime = bundle, runtime
        self._warned = False

    def __call__(self, loss: str | None) -> Distance:
        """Builds the distance of a loss.

        Args:
            loss: name of the loss; None: the loss of the training, or FALLBACK with one warning if the former does not
                work here.

        Raises:
            UserError: the weights of the named loss are missing or cannot be used.
        """
        try:
            return self._built(loss)
        except UserError as error:
            reason = str(error).rstrip(".")
        if loss is not None:
            raise UserError(f"{reason}; or take another loss, such as {FALLBACK}, which needs no weights.")
        if not self._warned:
            warn(
                f"loss: the model was trained with {self.bundle.record.loss.name}, which does not work here "
                f"({reason}); {FALLBACK} is used instead. Name a loss to choose another.",
                FallbackWarning,
            )
        self._warned = True
        return PIXEL_DISTANCES[FALLBACK]().to(self.runtime.device)

    def _built(self, loss: str | None) -> Distance:
        record = self.bundle.record
        wanted = record.loss if loss is None else dataclasses.replace(record.loss, name=loss)
        if wanted.name == "perceptual":
            wanted = _with_weights_here(wanted, self.bundle.folder, "loss.weights")
        return make_distance(dataclasses.replace(record, loss=wanted), self.runtime)


def image_features(images: np.ndarray, bundle: Bundle, runtime: Runtime) -> Tensor:
    """Computes features (N, D) float64 of images, by the feature network that measured the model's metrics.

    Args:
        images: (N, H, W, C) uint8.

    Raises:
        UserError: the model has no feature network on record, or its weights are missing or cannot be used.
    """
    network = bundle.record.feature_network
    if network is None:
        raise UserError("space: 'features' needs a network, and this model has none on record; take 'pixels'.")
    _, features = load_feature_network(*_network_here(network, bundle), runtime.device)
    batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(BATCH)
    found = [features(batch.float() / 255).cpu() for batch in bar(batches, desc="features", unit="batch")]
    return torch.cat(found).double()


def perceptual_distance(bundle: Bundle, runtime: Runtime) -> tuple[str, Callable[[Tensor, Tensor], Tensor]] | None:
    """Returns LPIPS by the feature network that measured the model's metrics: its key, and the distance.

    The distance takes images (B, C, H, W) and (B, C, H, W) in [0, 1] and returns (B,). None: the model has no feature
    network on record, or its weights do not work here.
    """
    network = bundle.record.feature_network
    if network is None:
        return None
    try:
        return lpips_distance(*_network_here(network, bundle), runtime.device)
    except UserError:
        return None


def nearest_rows(points: Tensor, others: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k rows of `others` (M, D) that are nearest to each of the points (N, D), the nearest first.

    Returns:
        Their numbers (N, k) int64 and Euclidean distances (N, k).
    """
    nearest = []
    for batch in bar(points.split(64), desc="neighbours", unit="batch"):
        # by subtraction: exactly 0 for a copy
        distances = torch.cdist(batch, others, compute_mode="donot_use_mm_for_euclid_dist")
        nearest.append(distances.topk(k, largest=False))
    rows, distances = (torch.cat([getattr(found, name) for found in nearest]) for name in ("indices", "values"))
    return rows.numpy(), distances.numpy()


def _network_here(network: FeatureNetworkRecord, bundle: Bundle) -> tuple[str, str, int]:
    """Returns the name of the feature network, its weights on this machine, and the seed of random weights."""
    found = _with_weights_here(network, bundle.folder, "feature_network.weights")
    return found.network, found.weights, bundle.record.seed if network.seed is None else network.seed


def _with_weights_here(network: Network, folder: Path, key: str) -> Network:
    """Returns the network with the path of its weights on this machine.

    The file may be in the model's folder, or where it was in training. Only a regular file is opened: opening a pipe,
    for example, could wait for ever.
    """
    if network.weights in BUILT_IN:
        return network
    name = Path(network.weights).name
    for path in (folder / name, Path(network.weights)):
        if os.path.isfile(path):
            return dataclasses.replace(network, weights=str(path))
    raise UserError(f"{key}: there is no file {shown(name)} here; put it into {shown(str(folder))}.")
