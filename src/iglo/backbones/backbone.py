"""What all feature networks have in common: the transform of images, pooled features, class scores, and blocks."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from iglo.randomness import derived_seed

BILINEAR = "bilinear"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Transform:
    """How images become the input of a network.

    Attributes:
        mean, std: of the three channels; they normalise images in [0, 1].
        interpolation: how images are resized, such as `bilinear`. If they get smaller, it is with antialiasing (Parmar,
            Zhang & Zhu 2022).
        side: the side of the images that the weights were trained for, in pixels; None: images keep their size.
        resize: before a square of `side` pixels is cropped from the middle, the shorter side is resized to this.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = BILINEAR
    side: int | None = None
    resize: int | None = None

    def any_size(self) -> "Transform":
        """Returns the same transform for weights that were trained for an unknown size: images keep their size."""
        return replace(self, interpolation=BILINEAR, side=None, resize=None)

    def cropped(self, images: Tensor) -> Tensor:
        """Resizes and crops images as the weights ask for."""
        from torchvision.transforms.functional import center_crop  # here, because torchvision takes a second

        return center_crop(_resize(images, [self.resize], self.interpolation), [self.side])


class Backbone(nn.Module):
    """A frozen network: float images in [0, 1] (B, 1 or 3, H, W) to pooled features (B, D) and class scores.

    Attributes:
        name: its name in the keys of metrics, such as `vgg16_imagenet`.
        network: its name in params.
        body: the network.
        classes: how many it was trained to tell apart; None: it has random weights, or weights without a head.
        transform: of its weights.
        smallest_side: of images, in pixels; smaller images are enlarged.
    """

    def __init__(self, network: str, body: nn.Module, transform: Transform, classes: int | None):
        super().__init__()
        self.name = self.network = network
        self.body, self.transform, self.classes = body, transform, classes
        self.smallest_side = 32
        freeze(self)

    def prepare(self, images: Tensor, image_size: int | None = None) -> Tensor:
        """Prepares images for the body: three channels, resized, normalised.

        Without an `image_size`, images are resized and cropped as the weights ask for. If the weights do not ask for a
        size, images keep theirs, or are enlarged to `smallest_side`.
        """
        from torchvision.transforms.functional import normalize  # here, because torchvision takes a second

        images, transform = three_channels(images), self.transform
        if transform.side is not None and image_size is None:
            images = transform.cropped(images)
        else:
            side = max(image_size or min(images.shape[-2:]), self.smallest_side)
            images = resized(images, side, transform.interpolation)
        return normalize(images, transform.mean, transform.std)

    def prepare_whole(self, images: Tensor) -> Tensor:
        """Prepares images for the body as `prepare` does, but resizes the whole image and crops nothing."""
        return self.prepare(images, self.transform.side)

    def forward(self, images: Tensor, image_size: int | None = None) -> Tensor:
        """Computes pooled features (B, D)."""
        return self.pool(self.maps(self.prepare(images, image_size)))

    def maps(self, prepared: Tensor) -> Tensor:
        """Computes the last maps, of which `pool` makes features and `score` makes class scores."""
        raise NotImplementedError

    def pool(self, maps: Tensor) -> Tensor:
        """Pools the last maps: features (B, D)."""
        raise NotImplementedError

    def score(self, maps: Tensor) -> Tensor:
        """Computes class scores (logits) (B, K) of the last maps; only for a network with `classes`."""
        raise NotImplementedError

    def block_outputs(self, prepared: Tensor) -> list[Tensor]:
        """Computes the maps (B, C, H, W) at the end of each block."""
        raise NotImplementedError


def three_channels(images: Tensor) -> Tensor:
    """Repeats the channel of grey images (B, 1, H, W); leaves others as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def resized(images: Tensor, side: int, interpolation: str = BILINEAR) -> Tensor:
    """Resizes square images to side × side, with antialiasing if they get smaller."""
    return images if images.shape[-2:] == (side, side) else _resize(images, [side, side], interpolation)


def _resize(images: Tensor, size: list[int], interpolation: str) -> Tensor:
    from torchvision.transforms import InterpolationMode, functional  # here, because torchvision takes a second

    images = functional.resize(images, size, InterpolationMode(interpolation), antialias=True)
    return images.clamp(0, 1) if interpolation == "bicubic" else images  # which overshoots at edges


def run_blocks(blocks: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Runs blocks one after another, and returns the output of each."""
    outputs = []
    for block in blocks:
        images = block(images)
        outputs.append(images)
    return outputs


def freeze(module: nn.Module) -> nn.Module:
    """Sets a module to evaluation, without gradients for its weights."""
    return module.eval().requires_grad_(False)


def seed_weights(seed: int, network: str) -> None:
    """Seeds the random weights of a network; called within `runtime.process.building`."""
    # torch.manual_seed would also seed the generators of the GPUs
    torch.default_generator.manual_seed(derived_seed(seed, f"backbone/{network}"))
