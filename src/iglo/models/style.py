"""A generator in the spirit of StyleGAN: upsampling, convolutions that the code modulates, and a sum of images."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.runtime.process import building

SLOPE, GAIN = 0.2, math.sqrt(2)  # of the leaky ReLU; the gain keeps the variance of its output about 1
IMAGE_SCALE = 0.3  # standard deviation, at the start, of what each resolution adds to the image


class StyleGenerator(nn.Module):
    """Renders images from codes: the code makes the first 4×4 map, and modulates every block after it.

    Each block doubles the side. Each resolution from 8×8 on adds to the image, as in StyleGAN2 (Karras et al. 2020),
    before a sigmoid ends it. There is no batch norm, so an image depends on its own code only, also in training. There
    is no noise input, so it depends on nothing else.

    StyleGAN starts from a constant map. Here the code makes the map, because modulation scales whole channels and
    could not place the content of an image. There is no mapping network, because codes are learned freely.

    The arguments are those of `Generator`. The block whose side is half that of the image has `width` channels, the
    last block has half as many, and earlier blocks have twice as many each, up to 4 times `width`.
    """

    @building()
    def __init__(self, dimension: int, image_size: int, channels: int, width: int):
        super().__init__()
        widths = block_widths(image_size, width)
        self.start = nn.Linear(dimension, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(StyleBlock(dimension, before, after) for before, after in pairwise(widths))
        self.to_image = nn.ModuleList(nn.Conv2d(after, channels, 1) for after in widths[1:])

    def forward(self, codes: Tensor) -> Tensor:
        """Renders codes: (B, d) → (B, C, H, W) in [0, 1], float32."""
        maps = _activate(self.start(codes)).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        image = None
        for block, to_image in zip(self.blocks, self.to_image, strict=True):
            maps = block(maps, codes)
            added = to_image(maps).float()
            image = added if image is None else added + functional.interpolate(image, scale_factor=2, mode="bilinear")
        return image.sigmoid()

    @torch.no_grad()
    def initialise(self, rng: torch.Generator) -> None:
        """Draws starting weights that keep the variance of the maps: N(0, 1/inputs) (He et al. 2015), biases 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.normal_(0, 1 / math.sqrt(module.weight[0].numel()), generator=rng)
                if module.bias is not None:
                    module.bias.zero_()
        for layer in self.to_image:
            layer.weight *= IMAGE_SCALE


class StyleBlock(nn.Module):
    """Doubles the side of maps, convolves them, normalises them, and lets the code scale and shift each channel.

    This is StyleGAN's adaptive instance normalisation (Karras et al. 2019): each channel of each image gets mean 0 and
    variance 1 first. With the weight demodulation of
    StyleGAN2 it learned more slowly.

    Args:
        dimension: length d of a code.
        before, after: channels of its input and of its output.
    """

    def __init__(self, dimension: int, before: int, after: int):
        super().__init__()
        self.layer = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.style = nn.Linear(dimension, 2 * after)

    def forward(self, maps: Tensor, codes: Tensor) -> Tensor:
        """(B, before, H, W) maps and (B, d) codes → (B, after, 2H, 2W)."""
        maps = self.layer(functional.interpolate(maps, scale_factor=2, mode="nearest"))
        scale, shift = self.style(codes).to(maps.dtype)[:, :, None, None].chunk(2, dim=1)
        return _activate(torch.addcmul(shift, functional.instance_norm(maps), 1 + scale))


def block_widths(image_size: int, width: int) -> list[int]:
    """Computes the channels of the maps, from 4×4 to `image_size`."""
    count = int(math.log2(image_size)) - 1
    return [max(1, width * min(2**block, 8) // 2) for block in range(count)][::-1]


def _activate(maps: Tensor) -> Tensor:
    return functional.leaky_relu(maps, SLOPE) * GAIN
