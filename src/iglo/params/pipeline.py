"""The params of a run of the main pipeline: one model per section of params.yaml."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from iglo.errors import UserError
from iglo.params.arrivals import Arrival, ArrivalParams, check_arrivals
from iglo.params.fields import (
    Batch,
    Dimension,
    Epochs,
    EpochsOrZero,
    Flag,
    Many,
    NonNegativeInt,
    PositiveInt,
    Precision,
    Radius,
    Rate,
    Schedule,
    Side,
    Text,
    Weight,
    number,
    section,
)
from iglo.params.sections import (
    ChosenGeneratorParams,
    DataParams,
    EncoderParams,
    JointParams,
    LossParams,
    NetworkParams,
    Parts,
    check_encoder,
    check_shift,
)
from iglo.params.validate import parse, short_repr


@section
class FeatureParams(NetworkParams):
    """The features in which images are clustered (Helman et al. 2019, section 3)."""

    image_size: Side | None
    """Images are resized to this side, in pixels; null: the side that the weights ask for."""
    batch_size: Batch
    """Images per step."""


@section
class ClusterParams:
    """PCA of the features, then k-means."""

    components: PositiveInt
    """The PCA has at most this number of components."""
    minibatch_above: PositiveInt
    """With more images than this, k-means takes mini-batches."""


@section
class RoundParams:
    """One round of the split, and the subset that it yields. The last round takes all that is left."""

    id: PositiveInt
    """1, 2, 3, …"""
    after: NonNegativeInt
    """The id of the round before; 0 for the first round."""
    clusters: PositiveInt
    """The number of clusters."""
    per_cluster: PositiveInt | None
    """How many images are taken from each cluster; null takes all."""
    epochs: EpochsOrZero
    """Passes over the subset of this round."""


@section
class LatentParams:
    """The codes of the images."""

    dimension: Dimension
    """The number of coordinates of a code."""
    constraint: Literal["none", "ball", "sphere"]
    """Where codes may lie."""
    radius: Radius | None
    """The radius of the ball or sphere; null: the square root of the dimension."""
    init: Literal["pca", "normal"]
    """Codes start from the PCA of the images, or from a normal distribution."""


@section
class OptimizerParams:
    """The optimizer of the generator and of the codes."""

    name: Literal["adam", "dense_adam", "sgd"]
    """adam: a step moves the codes of the batch. dense_adam: a step moves all codes."""
    generator_rate: Rate
    """The learning rate of the generator."""
    code_rate: Rate
    """The learning rate of the codes."""
    schedule: Schedule
    """How the learning rates fall."""
    reshuffle: Flag
    """false: the same batches in every epoch."""


@section
class StagedParams:
    """Training that grows from subset to subset."""

    start: Literal["own", "encoder"]
    """own: codes of a later subset start as `latent.init` says. encoder: an encoder of earlier images gives them."""
    start_epochs: Epochs
    """Passes of that encoder over the images learned so far."""
    alpha: Weight
    """The weight of the loss that keeps what was learned."""
    beta: number(gt=0, le=1e6)
    """The weight of the loss on the current subset."""
    earlier_batch: Batch
    """Images of earlier subsets in a step."""
    current_batch: Batch
    """Images of the current subset in a step."""


@section
class FullParams:
    """The last stage, on all training images."""

    epochs: EpochsOrZero
    """Passes over the training images."""
    batch_size: Batch
    """Images per step."""


@section
class EvaluateParams(NetworkParams):
    """The feature network of the metrics: another network than the one of the loss."""

    seed: NonNegativeInt
    """Draws the pairs, the samples, the noise and the shown images, and the weights of a random network."""
    fid_weights: Text | None
    """The weights of the Inception of the FID: null for none, `download`, or the path of their file."""
    pairs: Annotated[PositiveInt, Field(le=100_000)]
    """Pairs of training codes, for interpolation."""
    steps: Annotated[PositiveInt, Field(le=1000)]
    """K: a path between two codes has 2K + 1 points."""
    samples: Annotated[PositiveInt, Field(le=1_000_000)]
    """The number of samples that are drawn."""


@section
class Params:
    """A run of the pipeline."""

    seed: NonNegativeInt
    """Moves the training: first weights and codes, batches and noise, and the fits of priors."""
    method: Literal["glo", "incremental"]
    """glo: one stage on all images, with the same number of images seen."""
    precision: Precision
    """tf32: the faster products of a GPU. bf16: mixed precision."""
    alpha: Weight
    """The last stage: weight of the reconstruction of G(z)."""
    beta: Weight
    """The last stage: weight of the reconstruction of G(z + noise)."""
    sigma: Weight
    """The last stage: standard deviation of the noise, per coordinate of a code."""
    sigma_end: Weight | None
    """The last stage: sigma falls to this value in a straight line; null: it does not fall."""
    prior: Literal["best", "normal", "gaussian_diag", "gaussian", "gmm", "imle", "neighbours", "flow"]
    """The distribution of new codes; best: the one with the least kernel distance to validation images."""
    data: DataParams
    features: FeatureParams
    clustering: ClusterParams
    rounds: Many[RoundParams]
    latent: LatentParams
    generator: ChosenGeneratorParams
    loss: LossParams
    optimizer: OptimizerParams
    staged: StagedParams
    full: FullParams
    encoder: EncoderParams
    joint: JointParams
    evaluate: EvaluateParams
    arrivals: Many[Arrival] = ()
    """Images that are learned after the first run, in this order."""
    arrival: ArrivalParams | None = None
    """How they are learned; null: there are none."""

    @property
    def last_sigma(self) -> float:
        """Standard deviation of the noise with which the last stage ends."""
        if self.method == "glo" or not self.beta:
            return 0.0
        return self.sigma if self.sigma_end is None else self.sigma_end

    @model_validator(mode="after")
    def _check_together(self) -> "Params":
        """Checks the requirements that bind several keys."""
        _check_order(self.rounds)
        check_arrivals(self.arrivals, self.arrival)
        if self.alpha == 0 and self.beta == 0:
            raise UserError("alpha, beta: at least one must be greater than 0, got 0 and 0.")
        check_shift(self.joint, self.data)
        if self.encoder.l1 == 0 and self.encoder.l2 == 0:
            raise UserError("encoder.l1, encoder.l2: at least one must be greater than 0, got 0 and 0.")
        self._check_train(self.data.train)
        return self

    def check_parts(self, parts: Parts) -> None:
        """Raises UserError if a part has too few images."""
        self._check_train(parts.train)

    def _check_train(self, train: int | None) -> None:
        if train is not None:
            check_rounds(self.rounds, train)
        check_encoder(train, self.encoder.held_out)


def _check_order(rounds: Sequence[RoundParams]) -> None:
    if not rounds:
        raise UserError("rounds: must hold at least one round, got an empty list.")
    for index, item in enumerate(rounds):
        if (item.id, item.after) != (index + 1, index):
            raise UserError(
                f"rounds.{index}: must be numbered in order, id {index + 1} after {index}, "
                f"got id {item.id} after {item.after}."
            )
        last = index == len(rounds) - 1
        if last != (item.per_cluster is None):
            words = "null, so that the last round takes all that is left" if last else "a number, since rounds follow"
            raise UserError(f"rounds.{index}.per_cluster: must be {words}, got {item.per_cluster!r}.")


def check_rounds(rounds: Sequence[RoundParams], count: int) -> None:
    """Raises UserError if too few images may be left for a round, which needs one for each of its clusters.

    Args:
        count: number of training images. A round takes at most `clusters` × `per_cluster` of them.
    """
    left = count
    for index, item in enumerate(rounds):
        if item.clusters > left:
            before = f", of which the rounds before take up to {count - left}" if index else ""
            raise UserError(
                f"rounds.{index}.clusters: must be at most {max(left, 0)}, since there are {count} training images"
                f"{before}, got {item.clusters}; ask for fewer clusters, fewer images per cluster or more images."
            )
        left -= item.clusters * (item.per_cluster or 0)


def parse_params(values: Any, kind: type = Params) -> Any:
    """Returns the params of a whole file, of `kind`, from plain values; UserError as for `parse`."""
    return parse(_without_launch(values), kind)


def _without_launch(values: Any) -> Any:
    """Returns the values without `launch`, the command with which dvc.yaml starts a stage: it changes no result."""
    if not isinstance(values, dict) or "launch" not in values:
        return values
    launch = values["launch"]
    if not isinstance(launch, str) or not launch.strip():
        raise UserError(f"launch: must be the command that starts a stage, such as python, got {short_repr(launch)}.")
    return {key: value for key, value in values.items() if key != "launch"}
