"""Loads networks by name, with pretrained or random weights: torchvision's, timm's as `timm/NAME`, and `small_cnn`.

`weights` is `imagenet` (the library's default weights, from its download cache), `random` (seeded), `digits` (of
`small_cnn`, shipped with iglo), or the path of a `.safetensors` file with the library's names of weights.

The weights decide about the size of images. ImageNet weights ask for a size, and so does a file whose head has as many
classes as ImageNet's weights of the network (1000). With other weights images keep their size, because a file does not
say for which size it was trained. A perceptual loss prepares images itself, so this does not concern it.

Messages begin with the key `network` or `weights`. The caller puts the section before it with `params.validate.within`.
"""

from pathlib import Path

from torch import Tensor, nn

from iglo.backbones import small_cnn, timm_networks, torchvision_networks
from iglo.backbones.backbone import BILINEAR, Backbone, Transform, run_blocks
from iglo.backbones.weights import file_state
from iglo.errors import UserError


class SmallCNNBackbone(Backbone):
    """iglo's own small network, which makes images grey and resizes them itself."""

    def prepare(self, images: Tensor, image_size: int | None = None) -> Tensor:
        """Prepares images for the body: grey, of its own size, in [-1, 1]."""
        return self.body.prepare(images)

    def maps(self, prepared: Tensor) -> Tensor:
        return self.block_outputs(prepared)[-1]

    def pool(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))

    def score(self, maps: Tensor) -> Tensor:
        return self.body.head(self.pool(maps))

    def block_outputs(self, prepared: Tensor) -> list[Tensor]:
        return run_blocks(self.body.blocks, prepared)


def load_backbone(network: str, weights: str, seed: int) -> Backbone:
    """Loads a network.

    Args:
        network: torchvision's name, `timm/NAME`, or `small_cnn`.
        weights: imagenet, random, digits, or the path of a .safetensors file.
        seed: seed of random weights.

    Raises:
        UserError: the network is unknown or unsupported, or its weights are missing, damaged or of another network.
    """
    if network == small_cnn.NETWORK:
        body = small_cnn.load_small_cnn(weights, seed)
        transform = Transform((0.5,), (0.5,), BILINEAR, small_cnn.SIDE, small_cnn.SIDE)
        backbone = SmallCNNBackbone(
            network, body, transform, classes=None if weights == "random" else body.head.out_features
        )
    else:
        _check_digits(network, weights)
        load = timm_networks.load_timm if is_timm(network) else torchvision_networks.load_torchvision
        backbone = load(network, weights, seed)
    backbone.name = backbone_name(network, weights)
    return backbone


def check_network(network: str) -> None:
    """Raises UserError unless `load_backbone` can build the network."""
    if is_timm(network):
        timm_networks.check_timm(network)
    elif network != small_cnn.NETWORK:
        torchvision_networks.check_torchvision(network)


def check_weights(network: str, weights: str) -> None:
    """Raises UserError unless the network can have these weights; downloads those of timm, and no others.

    It reads the numbers in a file too, because a run that has trained for hours is too late to find that one is NaN.
    """
    if network == small_cnn.NETWORK:
        small_cnn.load_small_cnn(weights, seed=0)
        return
    _check_digits(network, weights)
    if weights == "imagenet" and is_timm(network):
        timm_networks.find_timm(network)
    if weights not in ("imagenet", "random"):
        check = timm_networks.check_timm_file if is_timm(network) else torchvision_networks.check_torchvision_file
        check(network, weights)
        file_state(network, weights)


def is_timm(network: str) -> bool:
    """Tells whether a network is one of timm's."""
    return network.startswith(timm_networks.PREFIX)


def vgg_blocks(network: str, weights: str, blocks: int, seed: int) -> nn.ModuleList:
    """Returns the first `blocks` blocks of a VGG, frozen. A block ends at its last ReLU; pooling begins the next block.

    The blocks of vgg16 end at relu1_2, relu2_2, relu3_3, relu4_3, relu5_3. The first one takes images that are
    normalised with IMAGENET_MEAN and IMAGENET_STD.
    """
    check_vgg(network)
    return torchvision_networks.blocks_of(load_backbone(network, weights, seed))[:blocks]


def check_vgg(network: str) -> None:
    """Raises UserError unless a perceptual loss can use the network."""
    check_network(network)
    if not network.startswith("vgg"):
        raise UserError(f"network: must be one of torchvision's VGGs (e.g. vgg16), got {network!r}.")


def backbone_name(network: str, weights: str) -> str:
    """Returns a network's name in the keys of metrics.

    Examples are `vgg16_imagenet`, `random_vgg16`, `vgg16_STEM` for a file, and `timm_NAME_imagenet`.
    """
    library, _, bare = network.rpartition("/")
    prefix = f"{library}_" if library else ""
    if weights == "random":
        name = f"random_{prefix}{bare}"
    else:
        stem = Path(weights).stem if weights.endswith(".safetensors") else weights
        name = prefix + (stem if stem.startswith(f"{bare}_") else f"{bare}_{stem}")
    return name.replace(".", "_")  # a dot separates the levels of a key


def _check_digits(network: str, weights: str) -> None:
    if weights == "digits":
        raise UserError(
            f"weights: digits are the weights of {small_cnn.NETWORK}, got network {network!r}; set network to "
            f"{small_cnn.NETWORK}, or weights to imagenet, random or a .safetensors file."
        )
