"""Feature networks measure distances between images and compute features of images."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lpips
import numpy as np
import torch
from torch import Tensor, nn

from iglo.backbones.networks import (
    Backbone,
    backbone_name,
    blocks_of,
    freeze,
    load_backbone,
    resized,
    three_channels,
)
from iglo.backbones.requirements import LPIPS_NETWORKS
from iglo.data.store import UnitImages
from iglo.params.pipeline import Params
from iglo.params.validate import within
from iglo.runtime.device import Runtime
from iglo.runtime.process import building
from iglo.subsets.features import load_features

SMALLEST_SIDE = 32  # pixels; the pooling layers of AlexNet and SqueezeNet need as many
BATCH = 128  # images that a feature network gets at a time

Distance = Callable[[Tensor, Tensor], Tensor]
Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that evaluates images in batches: arrays in, arrays out.

    Attributes:
        distance_name, feature_name: its names in the keys of metrics, such as `lpips_random_alex` and
            `random_alexnet`.
    """

    distance_name: str
    feature_name: str
    _distance: Callable[[Tensor, Tensor], Tensor]
    _features: Callable[[Tensor], Tensor]
    runtime: Runtime

    @classmethod
    def make(cls, params: Params, runtime: Runtime) -> "FeatureNetwork":
        """Loads the network of `params.evaluate`; its names end in `_trained_on` if the loss uses it too."""
        network, weights, loss = params.evaluate.network, params.evaluate.weights, params.loss
        with within("evaluate."):
            distance_name, distance = lpips_distance(network, weights, params.seed, runtime.device)
            feature_name, features = load_feature_network(network, weights, params.seed, runtime.device)
        trained_on = loss.name == "perceptual" and feature_name == backbone_name(loss.network, loss.weights)
        suffix = "_trained_on" if trained_on else ""
        return cls(distance_name + suffix, feature_name + suffix, distance, features, runtime)

    @torch.inference_mode()
    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Computes LPIPS: images (N, H, W, C) and (N, H, W, C), float in [0, 1], to distances (N,)."""
        return self._over(lambda rows: self._distance(self._batch(a, rows), self._batch(b, rows)), len(a))

    @torch.inference_mode()
    def features(self, images: np.ndarray | UnitImages) -> np.ndarray:
        """Computes pooled features: images (N, H, W, C), float in [0, 1], to (N, D)."""
        return self._over(lambda rows: self._features(self._batch(images, rows)), len(images))

    def _over(self, function: Callable[[slice], Tensor], count: int) -> np.ndarray:
        batches = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
        return self.runtime.map_batches(lambda rows: function(rows).cpu(), batches).numpy()

    def _batch(self, images: np.ndarray | UnitImages, rows: slice) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).to(self.runtime.device)


def lpips_distance(network: str, weights: str, seed: int, device: torch.device | str = "cpu") -> tuple[str, Distance]:
    """Returns the key of LPIPS and the distance itself (Zhang et al. 2018), computed by the lpips package.

    The distance takes two batches of images (B, 1 or 3, H, W) in [0, 1] and returns (B,). Images below 32 pixels are
    enlarged to 32.

    It is calibrated for ImageNet weights of AlexNet, VGG-16 and SqueezeNet 1.1, with a key such as `lpips_alex`. For
    other weights it is uncalibrated, with a key such as `lpips_random_alex`: `lpips_` and the name of the backbone.
    For these three networks it uses the package's layers; for another VGG or ResNet, the ends of the blocks.

    Raises:
        UserError: the network has no blocks.
    """
    backbone = load_backbone(LPIPS_NETWORKS.get(network, network), weights, seed)
    short = {long: short for short, long in LPIPS_NETWORKS.items()}.get(backbone.network)
    name = backbone.name
    if short and weights in ("imagenet", "random"):
        name = short if weights == "imagenet" else f"random_{short}"
    if short:
        metric = _package_metric(short, calibrated=weights == "imagenet")
        _copy_trunk(backbone, metric.net)
    else:
        blocks = blocks_of(backbone)
        metric = _package_metric("squeeze", calibrated=False)  # the smallest network; it is replaced
        metric.net, metric.L = _Outputs(blocks), len(blocks)
    freeze(metric)
    metric.to(device)

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return metric(_prepared(a, device), _prepared(b, device), normalize=True).flatten()

    return f"lpips_{name}", distance


def load_feature_network(
    network: str, weights: str, seed: int, device: torch.device | str = "cpu"
) -> tuple[str, Features]:
    """Returns the network's name in keys, such as `resnet50_imagenet`, and a function that computes pooled features.

    The function takes images (B, 1 or 3, H, W) in [0, 1] and returns (B, D) float32. Fréchet and kernel distances use
    these features.

    Args:
        network: a name of torchvision, or a short name of LPIPS such as `alex`.
    """
    feature_network = load_features(LPIPS_NETWORKS.get(network, network), weights, seed).to(device)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        return feature_network(images.to(device)).float()

    return feature_network.name, features


class _Outputs(nn.Module):
    """Runs blocks one after another and returns the output of each, as the lpips package expects of a network."""

    def __init__(self, blocks: nn.ModuleList):
        super().__init__()
        self.blocks = blocks

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = []
        for block in self.blocks:
            images = block(images)
            outputs.append(images)
        return outputs


def _package_metric(network: str, calibrated: bool) -> Any:
    """Returns the package's LPIPS with random weights: it would load real ones from a pickle, which is not safe."""
    with warnings.catch_warnings(), building():
        warnings.simplefilter("ignore")  # it uses old options of torchvision
        return lpips.LPIPS(net=network, lpips=calibrated, pnet_rand=True, verbose=False)


def _copy_trunk(backbone: Backbone, net: nn.Module) -> None:
    """Copies the weights of a backbone into the package's network, whose layers have the same numbers in `features`."""
    for part in net.children():
        for number, layer in part.named_children():
            layer.load_state_dict(backbone.body.features[int(number)].state_dict())


def _prepared(images: Tensor, device: torch.device | str) -> Tensor:
    images = three_channels(images.to(device))
    return resized(images, max(min(images.shape[-2:]), SMALLEST_SIDE))
