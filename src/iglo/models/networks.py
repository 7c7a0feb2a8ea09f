"""Generators and encoders: DCGAN networks (Radford et al. 2016). A larger image has more blocks."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.runtime.process import building


class Generator(nn.Module):
    """Code → image. A first layer gives 4×4, then stride-2 transposed convolutions with batch norm and ReLU double the
    side; the last one ends in a sigmoid.

    Args:
        dimension: length d of a code.
        image_size: side of the image in pixels: 16, 32, 64 or 128.
        channels: channels of the image, 1 or 3.
        width: channels before the last layer. Each block towards the code has twice as many, at most 8 times as many.
    """

    @building()
    def __init__(self, dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        widths = body_widths(image_size, width)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(dimension, widths[0], 4, bias=False)]
        for before, after in pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, d) → (B, C, H, W) in [0, 1], float32."""
        return self.body(codes[:, :, None, None]).float().sigmoid()


class ModulatedGenerator(nn.Module):
    """A generator of both codes, whose blocks are also scaled and shifted by the class code (FiLM: Perez et al. 2018;
    Gabbay & Hoshen 2019 use the same idea as adaptive instance normalisation).

    The first layer reads both codes. Scales and shifts are the same at every place of an image, so they could not draw
    the shape of a class by themselves.

    Args:
        class_dimension, content_dimension: lengths of the two codes, which come side by side, the class first.
        image_size, channels, width: as for `Generator`.
    """

    @building()
    def __init__(self, class_dimension: int, content_dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        self.class_dimension = class_dimension
        widths = [*body_widths(image_size, width)[::-1], channels]
        self.start = nn.ConvTranspose2d(class_dimension + content_dimension, widths[0], 4, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(count, affine=False) for count in widths[:-1])
        self.modulations = nn.ModuleList(nn.Linear(class_dimension, 2 * count) for count in widths[:-1])
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=after == channels)
            for before, after in pairwise(widths)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(B, class + content) → (B, C, H, W) in [0, 1], float32."""
        class_codes, images = codes[:, : self.class_dimension], self.start(codes[:, :, None, None])
        for norm, modulation, layer in zip(self.norms, self.modulations, self.layers, strict=True):
            scale, shift = modulation(class_codes)[:, :, None, None].chunk(2, dim=1)
            images = layer(functional.relu(norm(images) * (1 + scale) + shift))
        return images.float().sigmoid()


class PairEncoder(nn.Module):
    """Image → class code and content code side by side. Each code has its own encoder.

    Args:
        class_dimension, content_dimension: lengths of the two codes.
        image_size, channels, width: as for `Generator`.
    """

    @building()
    def __init__(self, class_dimension: int, content_dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        self.width = width
        dimensions = (class_dimension, content_dimension)
        self.encoders = nn.ModuleList(Encoder(dimension, image_size, channels, width) for dimension in dimensions)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] → (B, class + content), float32."""
        return torch.cat([encoder(images) for encoder in self.encoders], dim=1)


class Encoder(nn.Module):
    """Image → code: the discriminator of DCGAN, with a linear layer at its end. Arguments as for `Generator`."""

    @building()
    def __init__(self, dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        self.width = width
        widths = body_widths(image_size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * 4 * 4, dimension)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] → (B, d), float32."""
        return self.head(self.body(2 * images - 1).flatten(1)).float()


def body_widths(image_size: int, width: int) -> list[int]:
    """Channels of the blocks, in order from the image (side image_size/2) to the code (4×4)."""
    return [width * min(2**block, 8) for block in range(int(math.log2(image_size)) - 2)]


def initialise(network: nn.Module, rng: torch.Generator) -> nn.Module:
    """Draws the starting weights of DCGAN from `rng`: weights N(0, 0.02²), batch-norm scales N(1, 0.02²), biases 0."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                module.weight.normal_(0, 0.02, generator=rng)
            elif isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.normal_(1, 0.02, generator=rng)
            else:
                continue
            if module.bias is not None:
                module.bias.zero_()
    return network
