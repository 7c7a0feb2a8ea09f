"""Builds torchvision's networks with pretrained or random weights, and prepares images for them.

`weights` is `imagenet` (torchvision's default weights, from its download cache), `random` (seeded), or the path of a
`.safetensors` file with torchvision's names of weights. The classification head is not used, so a file may have no head
or one for other classes.

Messages begin with the key `network` or `weights`. The caller puts the section before it with `params.validate.within`.
"""

import difflib
import re
from pathlib import Path

import torch
from torch import nn
from torchvision import models
from torchvision.transforms.functional import normalize, resize

from iglo.backbones.weights import check_shapes, file_shapes, file_state, find_imagenet, shapes_of
from iglo.errors import UserError
from iglo.randomness import derived_seed
from iglo.runtime.process import building

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The head of these networks is one module after the last pooling. Transformers and Inception differ.
FAMILIES = (
    "alexnet", "convnext", "densenet", "efficientnet", "mnasnet", "mobilenet", "regnet", "resnet", "resnext",
    "shufflenet", "squeezenet", "vgg", "wide_resnet",
)  # fmt: skip


class Backbone(nn.Module):
    """A frozen network without its head: float images in [0, 1] (B, 1 or 3, H, W) to pooled features (B, D).

    Attributes:
        name: its name in the keys of metrics; see `backbone_name`.
        network: torchvision's name.
        preset: torchvision's transform of ImageNet weights; None for other weights.
        body: the network.
        smallest_side: of images, in pixels; smaller images are enlarged.
    """

    def __init__(self, name: str, network: str, body: nn.Module, preset: nn.Module | None = None):
        super().__init__()
        self.name, self.network, self.preset = name, network, preset
        self.body = body
        # The pooling of AlexNet needs 63 pixels, and that of the other families 32.
        self.smallest_side = 64 if network == "alexnet" else 32
        freeze(self)

    def prepare(self, images: torch.Tensor, image_size: int | None = None) -> torch.Tensor:
        """Prepares images for the body: three channels, resized, normalised.

        Without an `image_size`, images are resized and cropped by the transform of ImageNet weights. For other weights
        they keep their size, or are enlarged to `smallest_side`.
        """
        images = three_channels(images)
        if self.preset is not None and image_size is None:
            return self.preset(images)
        images = resized(images, max(image_size or min(images.shape[-2:]), self.smallest_side))
        if self.preset is not None:
            return normalize(images, self.preset.mean, self.preset.std)
        return normalize(images, IMAGENET_MEAN, IMAGENET_STD)

    def forward(self, images: torch.Tensor, image_size: int | None = None) -> torch.Tensor:
        return self.body(self.prepare(images, image_size)).flatten(1)


def load_backbone(network: str, weights: str, seed: int) -> Backbone:
    """Loads a torchvision network up to its last pooling layer; VGG, AlexNet and SqueezeNet up to `features`, averaged.

    Args:
        network: torchvision's name, of one of FAMILIES.
        weights: imagenet, random, or the path of a .safetensors file.
        seed: seed of random weights.

    Raises:
        UserError: the network is unknown or unsupported, or its weights are missing, damaged or of another network.
    """
    check_network(network)
    name, preset = backbone_name(network, weights), None
    body, head = _random_body(network, seed)
    if weights == "imagenet":
        find_imagenet({"weights": network})
        choice = models.get_model_weights(network).DEFAULT
        preset, source = choice.transforms(), f"torchvision's {choice}"
        state = choice.get_state_dict(weights_only=True)  # reads tensors and no other pickled objects
        if network.startswith("densenet"):  # the files have older names: norm.1 for norm1
            state = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", key): value for key, value in state.items()}
        _load(body, state, head, network, source)
    elif weights != "random":
        _load(body, file_state(network, weights), head, network, weights)
    return Backbone(name, network, body, preset)


def check_file(network: str, weights: str) -> None:
    """Raises UserError unless the file `weights` has the network's weights; does not read the tensors."""
    given = file_shapes(network, weights)
    body, head = _random_body(network, seed=0)
    check_shapes(shapes_of(body.state_dict()), given, head, network, weights)


def vgg_blocks(network: str, weights: str, blocks: int, seed: int) -> nn.ModuleList:
    """Returns the first `blocks` blocks of a VGG, frozen. A block ends at its last ReLU; pooling begins the next block.

    The blocks of vgg16 end at relu1_2, relu2_2, relu3_3, relu4_3, relu5_3. The first one takes images that are
    normalised with IMAGENET_MEAN and IMAGENET_STD.
    """
    check_vgg(network)
    return blocks_of(load_backbone(network, weights, seed))[:blocks]


def check_vgg(network: str) -> None:
    """Raises UserError unless a perceptual loss can use the network."""
    check_network(network)
    if not network.startswith("vgg"):
        raise UserError(f"network: must be one of torchvision's VGGs (e.g. vgg16), got {network!r}.")


def check_blocks(network: str) -> None:
    """Raises UserError unless `blocks_of` can cut the network into blocks."""
    check_network(network)
    if not network.startswith(("vgg", "resnet", "resnext", "wide_resnet")):
        raise UserError(f"network: must be a VGG or a ResNet (e.g. vgg16, resnet50), got {network!r}.")


def blocks_of(backbone: Backbone) -> nn.ModuleList:
    """Returns the blocks of a VGG or a ResNet in order. Each takes the output of the block before it.

    A VGG is cut before each pooling, and its last pooling is left out. The blocks of a ResNet are its stem up to the
    first ReLU, and its four layers.
    """
    body = backbone.body
    if isinstance(body, models.ResNet):
        stem, first = nn.Sequential(body.conv1, body.bn1, body.relu), nn.Sequential(body.maxpool, body.layer1)
        return nn.ModuleList([stem, first, body.layer2, body.layer3, body.layer4])
    check_blocks(backbone.network)
    parts = [[]]
    for layer in body.features:
        if isinstance(layer, nn.MaxPool2d):
            parts.append([])
        parts[-1].append(layer)
    return nn.ModuleList(nn.Sequential(*part) for part in parts[:-1])


def backbone_name(network: str, weights: str) -> str:
    """Returns a network's name in the keys of metrics: `vgg16_imagenet`, `random_vgg16`, `vgg16_STEM` for a file."""
    if weights == "random":
        return f"random_{network}"
    stem = weights if weights == "imagenet" else Path(weights).stem
    return stem if stem.startswith(f"{network}_") else f"{network}_{stem}"


def check_network(network: str) -> None:
    """Raises UserError unless `load_backbone` can build the network."""
    known = [name for name in models.list_models(module=models) if name.startswith(FAMILIES)]
    if network in known:
        return
    close = difflib.get_close_matches(network, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(name + '…' for name in FAMILIES)}."
    if network in models.list_models():
        raise UserError(f"network: {network!r} has no pooled features here; supported are {', '.join(FAMILIES)}.")
    raise UserError(f"network: torchvision has no network {network!r}; {hint}")


def three_channels(images: torch.Tensor) -> torch.Tensor:
    """Repeats the channel of grey images (B, 1, H, W); leaves others as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Resizes square images to side × side: bilinear, with antialiasing if they get smaller."""
    return images if images.shape[-2:] == (side, side) else resize(images, [side, side], antialias=True)


def freeze(module: nn.Module) -> nn.Module:
    """Sets a module to evaluation, without gradients for its weights."""
    return module.eval().requires_grad_(False)


def _random_body(network: str, seed: int) -> tuple[nn.Module, str]:
    """Returns the network without its head, initialised by torchvision, and the head's name."""
    with building():
        # torch.manual_seed would also seed the generators of the GPUs
        torch.default_generator.manual_seed(derived_seed(seed, f"backbone/{network}"))
        body = models.get_model(network, weights=None)
    head = "fc" if hasattr(body, "fc") else "classifier"
    if hasattr(body, "avgpool"):
        body.avgpool = nn.AdaptiveAvgPool2d(1)
    # SqueezeNet has its pooling in the head
    setattr(body, head, nn.AdaptiveAvgPool2d(1) if network.startswith("squeezenet") else nn.Identity())
    return body, head


def _load(body: nn.Module, state: dict[str, torch.Tensor], head: str, network: str, source: str) -> None:
    """Copies weights into the body. Their names and shapes must be the body's; the head and counters are ignored."""
    wanted = check_shapes(shapes_of(body.state_dict()), shapes_of(state), head, network, source)
    body.load_state_dict({name: state[name].float() for name in wanted}, strict=False)
