"""The networks that evaluate: distances between images, and features of images. Each comes with its metric key."""

import warnings
from collections.abc import Callable
from typing import Any

import lpips
import torch
from torch import nn

from iglo.backbones.networks import Backbone, blocks_of, freeze, load_backbone, resized, three_channels
from iglo.backbones.requirements import LPIPS_NETWORKS
from iglo.runtime.process import building
from iglo.subsets.features import load_features

SMALLEST_SIDE = 32  # pixels; AlexNet's and SqueezeNet's poolings leave nothing of less

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Features = Callable[[torch.Tensor], torch.Tensor]


def lpips_distance(network: str, weights: str, seed: int, device: torch.device | str = "cpu") -> tuple[str, Distance]:
    """LPIPS and its key: images a, b in [0, 1] (B, 1 or 3, H, W) to distances (B,), by the lpips package.

    Calibrated, as `lpips_alex`, for ImageNet weights of AlexNet, VGG-16 and SqueezeNet 1.1. Else uncalibrated, as
    `lpips_random_alex` or `lpips_` and the backbone's name: on the package's own layers for these three, on the ends
    of the blocks for any other VGG or ResNet. Images below 32 pixels are enlarged to 32.
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
        metric = _package_metric("squeeze", calibrated=False)  # the lightest to be replaced
        metric.net, metric.L = _Outputs(blocks), len(blocks)
    freeze(metric)
    metric.to(device)

    @torch.no_grad()
    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return metric(_prepared(a, device), _prepared(b, device), normalize=True).flatten()

    return f"lpips_{name}", distance


def load_feature_network(
    network: str, weights: str, seed: int, device: torch.device | str = "cpu", image_size: int | None = None
) -> tuple[str, Features]:
    """Pooled features for Fréchet and kernel distances, and their network's name in keys, e.g. `resnet50_imagenet`.

    Images in [0, 1] (B, 1 or 3, H, W) to (B, D) float32. The short names of LPIPS stand for torchvision's.
    """
    feature_network = load_features(LPIPS_NETWORKS.get(network, network), weights, seed).to(device)

    @torch.no_grad()
    def features(images: torch.Tensor) -> torch.Tensor:
        return feature_network(images.to(device), image_size).float()

    return feature_network.name, features


class _Outputs(nn.Module):
    """The outputs of blocks that follow each other, as the lpips package wants them of a network."""

    def __init__(self, blocks: nn.ModuleList):
        super().__init__()
        self.blocks = blocks

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        outputs = []
        for block in self.blocks:
            images = block(images)
            outputs.append(images)
        return outputs


def _package_metric(network: str, calibrated: bool) -> Any:
    """The package's LPIPS on a random trunk: it would load a real one as a pickle of any objects."""
    with warnings.catch_warnings(), building():
        warnings.simplefilter("ignore")  # it builds the trunk by torchvision's old options
        return lpips.LPIPS(net=network, lpips=calibrated, pnet_rand=True, verbose=False)


def _copy_trunk(backbone: Backbone, net: nn.Module) -> None:
    """The package cuts `features` into slices whose layers keep their number."""
    for part in net.children():
        for number, layer in part.named_children():
            layer.load_state_dict(backbone.body.features[int(number)].state_dict())


def _prepared(images: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    images = three_channels(images.to(device))
    return resized(images, max(min(images.shape[-2:]), SMALLEST_SIDE))
