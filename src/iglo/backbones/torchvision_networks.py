"""Builds torchvision's networks: their pooled features, their heads and their blocks.

Messages begin with the key `network` or `weights`. The caller puts the section before it with `params.validate.within`.
"""

import difflib
import re
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iglo.backbones.backbone import Backbone, Transform, freeze, run_blocks, seed_weights
from iglo.backbones.weights import Shapes, check_shapes, file_shapes, file_state, find_imagenet, shapes_of
from iglo.errors import UserError
from iglo.runtime.process import building

# The head of these networks is one module after the last pooling. Those of transformers differ; timm has them.
FAMILIES = (
    "alexnet", "convnext", "densenet", "efficientnet", "inception", "mnasnet", "mobilenet", "regnet", "resnet",
    "resnext", "shufflenet", "squeezenet", "vgg", "wide_resnet",
)  # fmt: skip
WITH_POOLING_IN_THE_HEAD = ("alexnet", "squeezenet", "vgg")  # the features are the mean of the maps before the head
SMALLEST_SIDES = {"alexnet": 64, "inception": 75}  # what their poolings need, in pixels; that of the others is 32
TRIAL_SIDE = 128  # of the image with which the blocks are found
AFTER_THE_MAPS = ("avgpool", "dropout", "fc", "classifier")  # names of modules


class TorchvisionBackbone(Backbone):
    """A network of torchvision up to its last pooling; VGG, AlexNet and SqueezeNet up to `features`, averaged.

    Attributes:
        head: the layers after the last pooling (VGG, AlexNet, SqueezeNet: after `features`).
    """

    def __init__(self, network: str, body: nn.Module, head: nn.Module, transform: Transform, classes: int | None):
        super().__init__(network, body, transform, classes)
        # A head that is not used would take memory: that of a VGG has 120 million weights.
        self.head = freeze(head) if classes else None
        sides = [side for family, side in SMALLEST_SIDES.items() if network.startswith(family)]
        self.smallest_side = sides[0] if sides else 32

    def maps(self, prepared: Tensor) -> Tensor:
        inner = self.network.startswith(WITH_POOLING_IN_THE_HEAD)
        return (self.body.features if inner else self.body)(prepared)

    def pool(self, maps: Tensor) -> Tensor:
        if self.network.startswith(WITH_POOLING_IN_THE_HEAD):
            maps = F.adaptive_avg_pool2d(maps, 1)
        return maps.flatten(1)

    def score(self, maps: Tensor) -> Tensor:
        return self.head(maps).flatten(1)

    def block_outputs(self, prepared: Tensor) -> list[Tensor]:
        return run_blocks(self._blocks, prepared)

    @cached_property
    def _blocks(self) -> nn.ModuleList:
        return blocks_of(self)


def load_torchvision(network: str, weights: str, seed: int) -> TorchvisionBackbone:
    """Loads a torchvision network.

    Args:
        network: torchvision's name, of one of FAMILIES.
        weights: imagenet, random, or the path of a .safetensors file.
        seed: seed of random weights.

    Raises:
        UserError: the network is unknown or unsupported, or its weights are missing, damaged or of another network.
    """
    check_torchvision(network)
    transform = _transform(network)
    if weights == "random":
        body, name = _build(network, seed, random=True)
        return TorchvisionBackbone(network, body, _cut(network, body, name), transform.any_size(), classes=None)
    state, source = _imagenet(network) if weights == "imagenet" else (file_state(network, weights), weights)
    given = _without_auxiliary(shapes_of(state))
    body, name, classes = _build_for(network, given)
    wanted = check_shapes(shapes_of(body.state_dict()), given, name, network, source)
    if classes:
        wanted += getattr(body, name).state_dict(prefix=f"{name}.")
    body.load_state_dict({key: state[key].float() for key in wanted}, strict=False)
    if weights != "imagenet" and classes != _classes(network):
        transform = transform.any_size()
    return TorchvisionBackbone(network, body, _cut(network, body, name), transform, classes=classes)


def _zoo() -> ModuleType:
    """Returns torchvision's models; to load them takes a second."""
    from torchvision import models

    return models


def _imagenet(network: str) -> tuple[dict[str, Tensor], str]:
    """Returns the network's ImageNet weights from torchvision's cache, and torchvision's name of them."""
    find_imagenet({"weights": network})
    choice = _zoo().get_model_weights(network).DEFAULT
    state = choice.get_state_dict(weights_only=True)  # reads tensors and no other pickled objects
    if network.startswith("densenet"):  # the files have older names: norm.1 for norm1
        state = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", key): value for key, value in state.items()}
    return state, f"torchvision's {choice}"


def check_torchvision(network: str) -> None:
    """Raises UserError unless `load_torchvision` can build the network."""
    known = [name for name in _zoo().list_models(_zoo()) if name.startswith(FAMILIES)]
    if network in known:
        return
    close = difflib.get_close_matches(network, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(name + '…' for name in FAMILIES)}."
    if network in _zoo().list_models():
        raise UserError(
            f"network: {network!r} has no pooled features here; supported are {', '.join(FAMILIES)}, and timm/NAME."
        )
    raise UserError(f"network: torchvision has no network {network!r}; {hint}")


def check_torchvision_file(network: str, weights: str) -> None:
    """Raises UserError unless the file `weights` has the network's weights; does not read the tensors."""
    given = file_shapes(network, weights)
    body, name, _ = _build_for(network, given)
    check_shapes(shapes_of(body.state_dict()), _without_auxiliary(given), name, network, weights)


def blocks_of(backbone: TorchvisionBackbone) -> nn.ModuleList:
    """Returns the blocks of the network in order. Each takes the output of the block before it.

    A new block begins with the layer that halves the resolution. So a VGG is cut before each pooling; its last pooling
    is left out. The blocks of a ResNet are its stem up to the first ReLU, and its four layers.
    """
    parts, start = [], 0
    maps = next(backbone.body.parameters()).new_zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE)
    for layer in _layers(backbone):
        with torch.no_grad():
            maps = layer(maps)
        if not parts or maps.shape[-1] <= 0.6 * start:  # layers without padding make maps a little smaller
            parts.append([])
            start = maps.shape[-1]
        parts[-1].append(layer)
    if all(isinstance(layer, nn.MaxPool2d) for layer in parts[-1]):
        parts.pop()
    return nn.ModuleList(nn.Sequential(*part) for part in parts)


def _layers(backbone: TorchvisionBackbone) -> Iterator[nn.Module]:
    """Yields the layers of the body up to the last maps, in the order in which it runs them."""
    for name, child in backbone.body.named_children():
        if name in ("features", "layers", "trunk_output"):
            yield from child
        elif name not in AFTER_THE_MAPS:
            yield child


def _transform(network: str) -> Transform:
    """Returns the transform of the network's ImageNet weights."""
    preset = _zoo().get_model_weights(network).DEFAULT.transforms()
    if network.startswith("inception"):  # it was trained in [-1, 1]; torchvision's module turns its input into that
        mean = std = (0.5, 0.5, 0.5)
    else:
        mean, std = tuple(preset.mean), tuple(preset.std)
    return Transform(mean, std, preset.interpolation.value, preset.crop_size[0], preset.resize_size[0])


def _classes(network: str) -> int:
    """Returns the number of classes of the network's ImageNet weights: 1000."""
    return len(_zoo().get_model_weights(network).DEFAULT.meta["categories"])


def _build_for(network: str, given: Shapes) -> tuple[nn.Module, str, int | None]:
    """Builds the network, with its head, for weights of these shapes.

    Returns:
        body: the network.
        name: of its head.
        classes: None: the weights have no head, or a head of another kind.
    """
    body, name = _build(network)
    last = [key for key, value in getattr(body, name).state_dict(prefix=f"{name}.").items() if value.dim() > 1][-1]
    classes = given[last][0] if given.get(last) else None
    if classes not in (None, _classes(network)):
        body, name = _build(network, classes=classes)
    wanted = shapes_of(getattr(body, name).state_dict(prefix=f"{name}."))
    fits = wanted.items() <= given.items()
    return body, name, classes if fits else None


def _build(network: str, seed: int = 0, classes: int | None = None, random: bool = False) -> tuple[nn.Module, str]:
    """Returns the network as torchvision initialises it, and the name of its head.

    Args:
        random: whether the weights are to be used.
    """
    # Inception's own initialisation takes seconds.
    options = {"init_weights": random, "aux_logits": False} if network.startswith("inception") else {}
    with building():
        seed_weights(seed, network)
        body = _zoo().get_model(network, weights=None, num_classes=classes or _classes(network), **options)
    return body, "fc" if hasattr(body, "fc") else "classifier"


def _cut(network: str, body: nn.Module, name: str) -> nn.Module:
    """Takes the head off the body, and returns it."""
    head = getattr(body, name)
    setattr(body, name, nn.Identity())
    if network.startswith(("alexnet", "vgg")):
        head = nn.Sequential(body.avgpool, nn.Flatten(), head)
        body.avgpool = nn.Identity()
    return head


def _without_auxiliary(shapes: Shapes) -> Shapes:
    """Leaves out the second head with which Inception was trained."""
    return {name: shape for name, shape in shapes.items() if not name.startswith("AuxLogits.")}
