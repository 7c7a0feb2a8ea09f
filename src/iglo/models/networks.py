"""Generators and encoders: DCGAN networks (Radford et al. 2016). A larger image has more blocks."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.models.style import StyleGenerator
from iglo.runtime.process import building


class CodeToMap(nn.ConvTranspose2d):
    """Makes 4×4 maps from codes: (B, d) → (B, C, 4, 4).

    It is the first transposed convolution of DCGAN, with its weights (d, C, 4, 4). A code is a map of one pixel, for
    which a matrix product gives the same, many times faster.
    """

    def __init__(self, dimension: int, channels: int):
        super().__init__(dimension, channels, 4, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        maps = codes @ self.weight.permute(0, 2, 3, 1).flatten(1)  # a view if the weights are channels-last
        return maps.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)


class MapToImage(nn.ConvTranspose2d):
    """Makes images from maps of half their side: (B, C, H, W) → (B, channels, 2H, 2W).

    It is the last transposed convolution of DCGAN, with its weights (C, channels, 4, 4). Each pixel of the map makes a
    square of four pixels from itself and its neighbours, so a 3×3 convolution to four times as many channels gives the
    same. It is faster where there are few channels.
    """

    def __init__(self, before: int, channels: int):
        super().__init__(before, channels, 4, stride=2, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        # Pixel 2i + p of the image is the sum of weight[3 + p − 2j] · map[i + j − 1] over j = 0, 1, 2. In `taps`, the
        # weight of (j, p) is at place 2j + 1 − p along each axis.
        taps = functional.pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        taps = taps.unflatten(3, (3, 2)).unflatten(2, (3, 2)).flip(3, 5).permute(1, 3, 5, 0, 2, 4)
        squares = functional.conv2d(maps, taps.flatten(0, 2), self.bias.repeat_interleave(4), padding=1)
        return functional.pixel_shuffle(squares, 2)


class Generator(nn.Module):
    """Renders images from codes.

    The first layer makes a 4×4 map. Transposed convolutions with stride 2, batch norm and ReLU then double the side.
    The last layer ends in a sigmoid.

    Args:
        dimension: length d of a code.
        image_size: side of the image in pixels: 16, 32, 64 or 128.
        channels: channels of the image, 1 or 3.
        width: channels before the last layer. The block before it has twice as many, and so on back to the code, up to
            8 times `width`.
    """

    @building()
    def __init__(self, dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        widths = body_widths(image_size, width)[::-1]
        layers: list[nn.Module] = [CodeToMap(dimension, widths[0])]
        for before, after in pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        layers += [MapToImage(widths[-1], channels)]
        self.body = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """Renders codes: (B, d) → (B, C, H, W) in [0, 1], float32."""
        return self.body(codes).float().sigmoid()


class ModulatedGenerator(nn.Module):
    """Renders images from a class code and a content code. The class code also scales and shifts every block.

    This is FiLM (Perez et al. 2018); the adaptive instance normalisation of Gabbay & Hoshen 2019 is the same idea. The
    first layer reads both codes, because scales and shifts are the same at every pixel: they alone could not draw the
    shape of a class.

    Args:
        class_dimension, content_dimension: lengths of the two codes. They come side by side, the class code first.
        image_size, channels, width: as for `Generator`.
    """

    @building()
    def __init__(self, class_dimension: int, content_dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        self.class_dimension = class_dimension
        widths = body_widths(image_size, width)[::-1]
        self.start = CodeToMap(class_dimension + content_dimension, widths[0])
        self.norms = nn.ModuleList(nn.BatchNorm2d(count, affine=False) for count in widths)
        self.modulations = nn.ModuleList(nn.Linear(class_dimension, 2 * count) for count in widths)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False) for before, after in pairwise(widths)
        )
        self.layers.append(MapToImage(widths[-1], channels))

    def forward(self, codes: Tensor) -> Tensor:
        """Renders codes: (B, class + content) → (B, C, H, W) in [0, 1], float32."""
        class_codes, maps = codes[:, : self.class_dimension], self.start(codes)
        for norm, modulation, layer in zip(self.norms, self.modulations, self.layers, strict=True):
            scale, shift = modulation(class_codes)[:, :, None, None].chunk(2, dim=1)
            maps = layer(functional.relu(norm(maps) * (1 + scale) + shift))
        return maps.float().sigmoid()


class PairEncoder(nn.Module):
    """Encodes images as class code and content code, side by side. Each code has its own encoder.

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
        """Encodes images: (B, C, H, W) in [0, 1] → (B, class + content), float32."""
        return torch.cat([encoder(images) for encoder in self.encoders], dim=1)


class Encoder(nn.Module):
    """Encodes images as codes: the discriminator of DCGAN with a linear layer at its end.

    The arguments are those of `Generator`; `width` counts the channels after the first layer.
    """

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
        """Encodes images: (B, C, H, W) in [0, 1] → (B, d), float32."""
        return self.head(self.body(2 * images - 1).flatten(1)).float()


GENERATORS = {"dcgan": Generator, "style": StyleGenerator}


def body_widths(image_size: int, width: int) -> list[int]:
    """Computes the channels of the blocks, from the image (side image_size/2) to the code (4×4)."""
    return [width * min(2**block, 8) for block in range(int(math.log2(image_size)) - 2)]


def initialise(network: nn.Module, rng: torch.Generator) -> nn.Module:
    """Draws starting weights from `rng`.

    They are those of DCGAN: weights N(0, 0.02²), batch-norm scales N(1, 0.02²), biases 0. `StyleGenerator` has its own.
    """
    if isinstance(network, StyleGenerator):
        network.initialise(rng)
        return network
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
