"""The sections that the params of every pipeline have."""

from typing import Literal, NamedTuple

from iglo.errors import UserError
from iglo.params.fields import (
    Batch,
    Blocks,
    Channels,
    Epochs,
    EpochsOrZero,
    Flag,
    ImageSize,
    LossName,
    Many,
    NonNegativeInt,
    PositiveInt,
    Rate,
    Schedule,
    Share,
    ShareBelowOne,
    ShareWithin,
    Text,
    Weight,
    Width,
    section,
)


@section
class DataParams:
    """Where the images come from, and how they are cut to shape."""

    source: Literal["digits", "lines", "folder", "torchvision", "git"]
    """Where the images come from; each source uses its own keys below."""
    path: Text
    """folder: the folder of images."""
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10", "CelebA"]
    """torchvision: the data set."""
    root: Text | None
    """torchvision: a folder that already holds the files; null downloads them."""
    classes: Many[Text]
    """torchvision: keep the images of these classes only; [] keeps all."""
    url: Text
    """git: the address of the repository."""
    rev: Text
    """git: the branch, tag or commit."""
    subdir: Text
    """git: the folder of images inside the repository."""
    image_size: ImageSize
    """Height and width of the images, in pixels."""
    channels: Channels
    """1: grey images. 3: colour images."""
    seed: NonNegativeInt
    """Decides which images belong to which part, and the clusters and subsets of the training images."""
    train: PositiveInt | None
    """The number of images for training; null: all that the other parts leave."""
    validation: NonNegativeInt | None
    """The number of images on which the prior is chosen; null: see `part_sizes`."""
    test: PositiveInt | None
    """The number of images on which the results are measured; nothing else uses them; null: see `part_sizes`."""
    shuffle: Flag
    """true: a seeded shuffle comes before the split. false: the first images are for training, as in the paper, the
    next ones for validation."""
    fit: Literal["resize", "pad"]
    """pad: an image that is smaller than `image_size` keeps its pixels, in the middle of black."""
    on_error: Literal["fail", "skip"]
    """An image that cannot be read stops the run, or is left out and reported."""


@section
class NetworkParams:
    """A frozen network that takes images."""

    network: Text
    """torchvision's name of the network. `features` also takes `pixels`: the pixels are the features."""
    weights: Text
    """imagenet, random, or the path of a .safetensors file."""


@section
class GeneratorParams:
    """The network that draws an image from a code."""

    width: Width
    """Channels before the last layer; they double with every block towards the code."""
    ema: ShareBelowOne
    """The decay per step of the moving average of the weights; 0: no average."""


@section
class ChosenGeneratorParams(GeneratorParams):
    """The network that draws an image from a code, of one of two kinds."""

    network: Literal["dcgan", "style"]
    """dcgan: transposed convolutions with batch norm. style: upsampling and convolutions that the code modulates."""


@section
class LossParams(NetworkParams):
    """The distance between an image and its reconstruction."""

    name: LossName
    """perceptual uses `network`, `weights` and the keys below."""
    blocks: Blocks
    """perceptual: the number of blocks of the VGG that are compared."""
    pixel_weight: Weight
    """perceptual: the weight of the mean absolute error of the pixels; each block has weight 1."""
    cache_gb: Weight
    """Memory for the features of the targets, in GB (10⁹ bytes); if it is too small, each step computes them."""


@section
class EncoderParams:
    """The network that reads a code from an image (Helman et al. 2019, section 3.4)."""

    mode: Literal["codes", "joint"]
    """joint: after the encoder, generator and encoder learn together."""
    width: Width
    """Channels after the first layer; they double with every block."""
    epochs: Epochs
    """Passes over the training images."""
    batch_size: Batch
    """Images per step."""
    rate: Rate
    """The learning rate."""
    schedule: Schedule
    """How the learning rate falls."""
    l1: Weight
    """λ1, the weight of the mean absolute error of the codes."""
    l2: Weight
    """λ2, the weight of the mean squared error of the codes."""
    pairs: Weight
    """The weight of rendered pairs (G(z'), z'), z' = z + N(0, pairs_sigma²): more data for the encoder."""
    pairs_sigma: Weight
    """The standard deviation of z' around a code, per coordinate."""
    held_out: ShareWithin
    """The share of the training images that chooses the epoch."""


@section
class JointParams:
    """Generator and encoder learn together (Gabbay & Hoshen 2019, second stage)."""

    epochs: EpochsOrZero
    """Passes over the training images."""
    rate: Rate
    """The learning rate."""
    schedule: Schedule
    """How the learning rate falls."""
    code_weight: Weight
    """The weight of the distance of E(x) to z, and of the rendered pairs."""
    keep_weight: Weight
    """The weight of the reconstruction of G(z), with noise as in the last stage."""
    flip: Flag
    """true: the encoder sees images that are mirrored at random."""
    shift: NonNegativeInt
    """The encoder sees images that are shifted by at most this number of pixels."""
    gain: Share
    """The encoder sees images with each channel brightened or darkened by at most this share."""


class Parts(NamedTuple):
    """The numbers of images in the three parts of the data."""

    train: int
    validation: int
    test: int


def part_sizes(data: DataParams, count: int) -> Parts:
    """Returns the sizes of the parts of `count` images; a size is below 1 if there are too few images.

    If `train` is null, a null `validation` or `test` is a tenth of all images, and `train` takes the rest. If `train`
    is given, a null `validation` or `test` takes the rest; if both are null, each takes half of the rest.
    """
    train, validation, test = data.train, data.validation, data.test
    if train is None:
        tenth = max(1, round(count / 10))
        validation, test = (tenth if size is None else size for size in (validation, test))
        return Parts(count - validation - test, validation, test)
    if validation is None:
        rest = count - train - (test or 0)
        validation = rest if test is not None else rest // 2
    return Parts(train, validation, count - train - validation if test is None else test)


def check_encoder(train: int | None, held_out: float) -> None:
    """Raises UserError if too few training images are left for the encoder.

    Args:
        train: number of training images; None: not known yet.
        held_out: `encoder.held_out`.
    """
    if train is not None and max(1, round(held_out * train)) >= train:
        raise UserError(
            f"encoder.held_out: must leave at least one of the {train} training images, got {held_out}; lower it, or "
            "use more images."
        )


def check_shift(joint: JointParams, data: DataParams) -> None:
    """Raises UserError if images may be shifted out of sight."""
    if joint.shift >= data.image_size:
        raise UserError(f"joint.shift: must be less than data.image_size, got {joint.shift}.")
