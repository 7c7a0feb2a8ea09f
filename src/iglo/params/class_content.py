"""The params of disentangle/: a code per class and a code per image (Gabbay & Hoshen 2019)."""

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from iglo.errors import UserError
from iglo.params.fields import (
    Batch,
    Dimension,
    Epochs,
    LossName,
    Many,
    NonNegativeInt,
    PositiveInt,
    Precision,
    Rate,
    Schedule,
    Weight,
    Width,
    section,
)
from iglo.params.sections import (
    DataParams,
    EncoderParams,
    GeneratorParams,
    JointParams,
    LossParams,
    Parts,
    check_encoder,
    check_shift,
)
from iglo.params.validate import check_different

ContentInit = Literal["normal", "pca"]


@section
class ClassContentLatentParams:
    """The codes of classes and of content."""

    class_dimension: Dimension
    """The number of coordinates of a class code."""
    content_dimension: Dimension
    """The number of coordinates of a content code."""
    content_init: ContentInit
    """Content codes start from a normal distribution, or from the PCA of the images."""


@section
class ClassContentOptimizerParams:
    """Adam for the generator and for the codes of the batch."""

    generator_rate: Rate
    """The learning rate of the generator."""
    class_rate: Rate
    """The learning rate of the class codes."""
    content_rate: Rate
    """The learning rate of the content codes."""
    schedule: Schedule
    """How the learning rates fall."""


@section
class TrainParams:
    """The training of generator and codes."""

    epochs: Epochs
    """Passes over the training images."""
    batch_size: Batch
    """Images per step."""


@section
class ClassifierParams:
    """The classifier that says which class an image shows. It learns from the validation images."""

    width: Width
    """Channels after the first layer."""
    epochs: Epochs
    """Passes over its images."""
    batch_size: Batch
    """Images per step."""
    rate: Rate
    """The learning rate."""


@section
class RendersParams:
    """The images that are rendered for figures and metrics."""

    seed: NonNegativeInt
    """Draws the images that are converted and the random contents, and trains the classifier."""
    unseen: PositiveInt
    """The number of test images that are converted to every class, at most."""
    converted: Annotated[PositiveInt, Field(ge=2)]
    """The number of training images that are converted to every class."""
    samples: Annotated[PositiveInt, Field(le=100_000)]
    """The number of samples per class."""


@section
class SweepParams:
    """Values that are tried one by one. All other values stay as in the other sections."""

    sigma: Many[Weight]
    """Values of `sigma`."""
    decay: Many[Weight]
    """Values of `decay`."""
    loss: Many[LossName]
    """Values of `loss.name`."""
    content_init: Many[ContentInit]
    """Values of `latent.content_init`."""


@section
class ClassContentParams:
    """A run of the class/content pipeline."""

    seed: NonNegativeInt
    """Moves the training: first weights and codes, batches and noise."""
    precision: Precision
    """tf32: the faster products of a GPU. bf16: mixed precision."""
    sigma: Weight
    """Standard deviation of the noise on content codes, per coordinate."""
    decay: Weight
    """The weight of the squared length of content codes."""
    combine: Literal["concat", "film"]
    """concat: the generator takes both codes side by side. film: the class code acts in every block."""
    data: DataParams
    latent: ClassContentLatentParams
    generator: GeneratorParams
    loss: LossParams
    optimizer: ClassContentOptimizerParams
    train: TrainParams
    encoder: EncoderParams
    joint: JointParams
    classifier: ClassifierParams
    renders: RendersParams
    sweep: SweepParams

    @property
    def last_sigma(self) -> float:
        """Standard deviation of the noise with which training ends."""
        return self.sigma

    @model_validator(mode="after")
    def _check_together(self) -> "ClassContentParams":
        """Checks the requirements that bind several keys."""
        check_shift(self.joint, self.data)
        check_encoder(self.data.train, self.encoder.held_out)
        self._check_validation(self.data.validation)
        for field in fields(self.sweep):
            check_different(f"sweep.{field.name}", getattr(self.sweep, field.name))
        return self

    def check_parts(self, parts: Parts) -> None:
        """Raises UserError if a part has too few images."""
        check_encoder(parts.train, self.encoder.held_out)
        self._check_validation(parts.validation)

    def _check_validation(self, count: int | None) -> None:
        if count == 0:
            raise UserError("data.validation: must be at least 1, because the classifier learns from them, got 0.")
