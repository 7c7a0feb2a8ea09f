"""A small convolutional network for 32 × 32 grey images; its weights for scikit-learn's digits come with iglo.

`tools/train_digits.py` made the weights.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from iglo.backbones.backbone import resized
from iglo.backbones.weights import check_shapes, file_state, shapes_of
from iglo.errors import UserError
from iglo.randomness import derived_seed
from iglo.runtime.process import building

NETWORK = "small_cnn"  # its name in params
DIGITS = Path(__file__).with_name("digits.safetensors")  # half precision; the classes are 0 to 9
SIDE = 32  # pixels
WIDTHS = (16, 32, 64, 128)  # channels of the blocks


class SmallCNN(nn.Module):
    """Blocks of convolution, batch normalisation and ReLU; the mean over all places gives the features.

    Attributes:
        blocks: each takes the output of the block before it; the first one takes what `prepare` returns. A later block
            begins with the pooling, which halves the side.
        head: 128 features to logits.
    """

    def __init__(self, classes: int = 10):
        super().__init__()
        self.blocks = nn.ModuleList(_block(*channels) for channels in zip((1, *WIDTHS), WIDTHS, strict=False))
        self.head = nn.Linear(WIDTHS[-1], classes)

    @staticmethod
    def prepare(images: Tensor) -> Tensor:
        """Makes images (B, 1 or 3, H, W) in [0, 1] grey, resizes them with antialiasing, and scales them to [-1, 1]."""
        if images.shape[1] == 3:
            from torchvision.transforms.functional import rgb_to_grayscale  # here, because torchvision takes a second

            images = rgb_to_grayscale(images)
        return 2 * resized(images, SIDE) - 1

    def forward_features(self, images: Tensor) -> Tensor:
        """Computes features (B, 128), at least 0, of images (B, 1 or 3, H, W) in [0, 1]."""
        maps = self.prepare(images)
        for block in self.blocks:
            maps = block(maps)
        return maps.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits (B, classes) of images (B, 1 or 3, H, W) in [0, 1]."""
        return self.head(self.forward_features(images))


def load_small_cnn(weights: str, seed: int) -> SmallCNN:
    """Returns a frozen network.

    Args:
        weights: digits, random, or the path of a .safetensors file.
        seed: seed of random weights.

    Raises:
        UserError: `weights` is none of these; or the file is missing, damaged or of another network, or has no head.
    """
    if weights == "imagenet":
        raise UserError(f"weights: there are no imagenet weights of {NETWORK}; set digits, random or a file.")
    state = None if weights == "random" else small_cnn_state(weights)
    with building():
        torch.default_generator.manual_seed(derived_seed(seed, f"backbone/{NETWORK}"))
        network = SmallCNN(10 if state is None else len(state["head.bias"]))
    if state is not None:
        network.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def small_cnn_state(weights: str) -> dict[str, Tensor]:
    """Reads and checks the weights `digits` or a .safetensors file; raises UserError as `load_small_cnn` does."""
    source = str(DIGITS) if weights == "digits" else weights
    state = file_state(NETWORK, source)
    classes = next(iter(shapes_of(state).get("head.bias", ())), 0) or 10  # a head without classes is refused below
    with torch.device("meta"):
        wanted = shapes_of(SmallCNN(classes).state_dict())
    check_shapes(wanted, shapes_of(state), "", NETWORK, source)
    return state


def _block(inputs: int, outputs: int) -> nn.Sequential:
    pooling = [] if inputs == 1 else [nn.MaxPool2d(2)]
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)  # batch normalisation adds the bias
    return nn.Sequential(*pooling, convolution, nn.BatchNorm2d(outputs), nn.ReLU())
