"""Feature networks measure distances between images, compute features of images, and name what they show.

For features and probabilities a network sees the whole image, resized to the size that its weights were trained for,
with antialiasing (Parmar, Zhang & Zhu 2022). Nothing is cropped, because the edges of an image count too. With weights
that were trained for an unknown size it sees images at their own size; `backbones.networks` says which these are.

For LPIPS every network sees images at their own size, as in the lpips package, or enlarged to the least that it needs.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from iglo.backbones.backbone import Backbone, freeze, resized, three_channels
from iglo.backbones.inception_fid import InceptionFeatures, load_inception_fid
from iglo.backbones.networks import backbone_name, load_backbone
from iglo.backbones.requirements import LPIPS_NETWORKS
from iglo.params.pipeline import EvaluateParams
from iglo.params.sections import LossParams
from iglo.params.validate import within
from iglo.runtime.device import Runtime
from iglo.runtime.process import building
from iglo.subsets.features import Pixels

SMALLEST_SIDE = 32  # pixels; the pooling layers of AlexNet and SqueezeNet need as many
BATCH = 128  # images that a feature network gets at a time
LPIPS_NAMES = {long: short for short, long in LPIPS_NETWORKS.items()}
LARGE, LARGE_BATCH = 128, 32  # a network that enlarges images beyond this side gets fewer at a time

Distance = Callable[[Tensor, Tensor], Tensor]
Features = Callable[[Tensor], Tensor]


class Images(Protocol):
    """N images that are read slice by slice, (M, H, W, C) float in [0, 1]."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that evaluates images in batches: arrays in, arrays out.

    Attributes:
        distance_name, feature_name: its names in the keys of metrics, such as `lpips_random_alex` and
            `random_alexnet`.
        weights: as in `evaluate.weights`.
    """

    distance_name: str
    feature_name: str
    weights: str
    _backbone: Backbone
    runtime: Runtime

    @classmethod
    def make(cls, evaluate: EvaluateParams, loss: LossParams, runtime: Runtime) -> "FeatureNetwork":
        """Loads the network of `evaluate`; its names end in `_trained_on` if the loss uses it too."""
        with within("evaluate."):
            backbone = _load(evaluate.network, evaluate.weights, evaluate.seed).to(runtime.device)
        name = backbone.name
        trained_on = loss.name == "perceptual" and name == backbone_name(loss.network, loss.weights)
        suffix = "_trained_on" if trained_on else ""
        return cls(_lpips_key(backbone, evaluate.weights) + suffix, name + suffix, evaluate.weights, backbone, runtime)

    @cached_property
    def _distance(self) -> Distance:
        return _lpips(self._backbone, self.weights, self.runtime.device)

    def distance(self, a: Images, b: Images) -> np.ndarray:
        """Computes LPIPS: images (N, H, W, C) and (N, H, W, C), float in [0, 1], to distances (N,)."""
        return _in_batches(self._distance, BATCH, self.runtime, a, b)

    def features(self, images: Images) -> np.ndarray:
        """Computes pooled features: images (N, H, W, C), float in [0, 1], to (N, D)."""
        return self._over(lambda batch: _pooled(self._backbone, batch), images)

    def probabilities(self, images: Images) -> np.ndarray | None:
        """Computes the probabilities of the classes that the network knows: images (N, H, W, C) to (N, K).

        Each row has the sum 1. None: the network has random weights, or its weights have no head.
        """
        return self.features_and_probabilities(images)[1]

    def features_and_probabilities(self, images: Images) -> tuple[np.ndarray, np.ndarray | None]:
        """Computes features (N, D), and probabilities (N, K) or None, in one pass."""
        if self._backbone.classes is None:
            return self.features(images), None
        both = self._over(lambda batch: _pooled_and_softmax(self._backbone, batch), images)
        features, probabilities = np.split(both, [both.shape[1] - self._backbone.classes], axis=1)
        return features, probabilities

    def _over(self, function: Features, images: Images) -> np.ndarray:
        large = (self._backbone.transform.side or 0) > LARGE
        return _in_batches(function, LARGE_BATCH if large else BATCH, self.runtime, images)


@dataclass(frozen=True)
class InceptionFID:
    """The Inception network of the FID (Heusel et al. 2017), for `fid_inception` and `kid_inception`."""

    _network: InceptionFeatures
    runtime: Runtime
    name: ClassVar[str] = "inception"

    @classmethod
    def make(cls, evaluate: EvaluateParams, runtime: Runtime) -> "InceptionFID | None":
        """Loads the network with the weights `evaluate.fid_weights`; None: there are none, so there is no FID."""
        if evaluate.fid_weights is None:
            return None
        with within("evaluate."):
            return cls(load_inception_fid(evaluate.fid_weights).to(runtime.device), runtime)

    def features(self, images: Images) -> np.ndarray:
        """Computes pooled features: images (N, H, W, C), float in [0, 1], to (N, 2048)."""
        return _in_batches(self._network, LARGE_BATCH, self.runtime, images)


@torch.inference_mode()
def _in_batches(function: Callable[..., Tensor], size: int, runtime: Runtime, *images: Images) -> np.ndarray:
    """Returns the results of `function` of batches (B, C, H, W) of images (N, H, W, C), one after another."""

    def result(rows: slice) -> Tensor:
        batches = [torch.from_numpy(np.ascontiguousarray(one[rows])).permute(0, 3, 1, 2) for one in images]
        return function(*(batch.to(runtime.device) for batch in batches)).float().cpu()

    starts = range(0, len(images[0]), size)
    return runtime.map_batches(result, [slice(start, start + size) for start in starts]).numpy()


def lpips_distance(network: str, weights: str, seed: int, device: torch.device | str = "cpu") -> tuple[str, Distance]:
    """Returns the key of LPIPS and the distance itself (Zhang et al. 2018), computed by the lpips package.

    The distance takes two batches of images (B, 1 or 3, H, W) in [0, 1] and returns (B,). Images are compared at their
    own size. Those below 32 pixels are enlarged to 32, as are others to the size that a network cannot do without.

    It is calibrated for ImageNet weights of AlexNet, VGG-16 and SqueezeNet 1.1, with a key such as `lpips_alex`. For
    other weights, and for all other networks, it is uncalibrated, with a key such as `lpips_random_alex` or
    `lpips_efficientnet_b0_imagenet`: `lpips_` and the name of the backbone.

    For these three networks it uses the package's layers, and for others the ends of the blocks. A block ends where the
    next layer halves the resolution. For a network of timm, its `forward_intermediates` says where.

    Raises:
        UserError: as `load_backbone`.
    """
    backbone = _load(network, weights, seed).to(device)
    return _lpips_key(backbone, weights), _lpips(backbone, weights, device)


def load_feature_network(
    network: str, weights: str, seed: int, device: torch.device | str = "cpu"
) -> tuple[str, Features]:
    """Returns the network's name in keys, such as `resnet50_imagenet`, and a function that computes pooled features.

    The function takes images (B, 1 or 3, H, W) in [0, 1] and returns (B, D) float32. Fréchet and kernel distances use
    these features.

    Args:
        network: a name in params, or a short name of LPIPS such as `alex`.
    """
    if network == "pixels":
        return Pixels.name, lambda images: images.to(device).flatten(1).float()
    backbone = _load(network, weights, seed).to(device)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        return _pooled(backbone, images.to(device)).float()

    return backbone.name, features


def _load(network: str, weights: str, seed: int) -> Backbone:
    return load_backbone(LPIPS_NETWORKS.get(network, network), weights, seed)


def _pooled(backbone: Backbone, images: Tensor) -> Tensor:
    return backbone.pool(backbone.maps(backbone.prepare_whole(images)))


def _pooled_and_softmax(backbone: Backbone, images: Tensor) -> Tensor:
    """Returns features and probabilities side by side: (B, D + K)."""
    maps = backbone.maps(backbone.prepare_whole(images))
    return torch.cat([backbone.pool(maps), backbone.score(maps).softmax(1)], dim=1)


def _lpips_key(backbone: Backbone, weights: str) -> str:
    """Returns the key of `lpips_distance`."""
    short = LPIPS_NAMES.get(backbone.network)
    if short and weights in ("imagenet", "random"):
        return f"lpips_{short}" if weights == "imagenet" else f"lpips_random_{short}"
    return f"lpips_{backbone.name}"


def _lpips(backbone: Backbone, weights: str, device: torch.device | str) -> Distance:
    """Returns the distance of `lpips_distance` for a network that is on `device`."""
    short = LPIPS_NAMES.get(backbone.network)
    if short:
        metric = _package_metric(short, calibrated=weights == "imagenet")
        _copy_trunk(backbone, metric.net)
        prepare = _prepared
    else:
        metric = _package_metric("squeeze", calibrated=False)  # the smallest network; it is replaced
        metric.net, metric.scaling_layer = _Outputs(backbone), nn.Identity()
        prepare = partial(_at_own_size, backbone)
        with torch.no_grad():
            metric.L = len(
                metric.net(prepare(torch.zeros(1, 3, SMALLEST_SIDE, SMALLEST_SIDE, dtype=torch.float32, device=device)))
            )
    freeze(metric)
    metric.to(device)

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        a, b = (prepare(images.to(device)) for images in (a, b))
        return metric(a, b, normalize=bool(short)).flatten()

    return distance


class _Outputs(nn.Module):
    """Gives the maps at the ends of a network's blocks, as the lpips package expects of a network."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.backbone.block_outputs(images)


def _package_metric(network: str, calibrated: bool) -> Any:
    """Returns the package's LPIPS with random weights: it would load real ones from a pickle, which is not safe."""
    import lpips  # here, because it loads torchvision and torch's compiler, which take seconds

    with warnings.catch_warnings(), building():
        warnings.simplefilter("ignore")  # it uses old options of torchvision
        return lpips.LPIPS(net=network, lpips=calibrated, pnet_rand=True, verbose=False)


def _copy_trunk(backbone: Backbone, net: nn.Module) -> None:
    """Copies the weights of a backbone into the package's network, whose layers have the same numbers in `features`."""
    for part in net.children():
        for number, layer in part.named_children():
            layer.load_state_dict(backbone.body.features[int(number)].state_dict())


def _at_own_size(backbone: Backbone, images: Tensor) -> Tensor:
    return backbone.prepare(images, min(images.shape[-2:]))


def _prepared(images: Tensor) -> Tensor:
    images = three_channels(images)
    return resized(images, max(min(images.shape[-2:]), SMALLEST_SIDE))
