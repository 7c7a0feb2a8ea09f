"""Every value that a run depends on: frozen dataclasses, one per section of a params.yaml.

`load_params` refuses an unknown, missing, mistyped or out-of-range key with one sentence that names the dotted key,
the requirement and the value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from iglo.errors import UserError
from iglo.params.fields import (
    Check,
    ImageSize,
    NonNegativeInt,
    PositiveInt,
    Rate,
    Share,
    Weight,
    at_least,
    at_most,
    between,
    parse,
    read_yaml,
    shown,
    within,
)

# No useful run is above these bounds. `needs` checks whether a run fits into the memory of this machine.
Batch = Annotated[PositiveInt, at_most(65_536)]
Dimension = Annotated[PositiveInt, at_most(4096)]
Epochs = Annotated[PositiveInt, at_most(1_000_000)]
EpochsOrNone = Annotated[NonNegativeInt, at_most(1_000_000)]
Radius = Annotated[Rate, between(1e-6, 1e6)]  # far beyond, 32-bit codes are zero or infinite
Side = Annotated[PositiveInt, at_most(1024)]  # in pixels
Width = Annotated[PositiveInt, at_most(1024)]


@dataclass(frozen=True)
class DataParams:
    """Where the images come from and how they are cut to shape."""

    source: Literal["digits", "folder", "torchvision", "git"]
    path: str  # folder: the folder of images
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10", "CelebA"]  # torchvision
    root: str | None  # torchvision: a folder that already holds the files; null downloads them
    classes: tuple[str, ...]  # torchvision: keep these classes only; [] keeps all
    url: str  # git: the repository
    rev: str  # git: branch, tag or commit
    subdir: str  # git: the folder of images inside the repository
    image_size: ImageSize
    channels: Annotated[int, Check("1 or 3", lambda v: v in (1, 3))]
    train: PositiveInt | None  # images for training; null takes all but the test images
    test: PositiveInt | None  # images held out; null takes all the rest
    shuffle: bool  # split after a seeded shuffle; false: by count, in order, as in the paper
    fit: Literal["resize", "pad"]  # pad: a smaller image keeps its pixels, in the middle of black
    on_error: Literal["fail", "skip"]  # an image that cannot be read: stop, or leave it out and report it


@dataclass(frozen=True)
class NetworkParams:
    """A frozen network that looks at images: a torchvision name and its weights."""

    network: str  # torchvision's name; or `pixels`, where features are asked for
    weights: str  # imagenet, random, or the path of a .safetensors file


@dataclass(frozen=True)
class FeatureParams(NetworkParams):
    """The features in which images are clustered (Helman et al. 2019, section 3)."""

    image_size: Side | None  # side in pixels that images are resized to; null: that of the weights
    batch_size: Batch


@dataclass(frozen=True)
class ClusterParams:
    components: PositiveInt  # of the PCA, at most
    minibatch_above: PositiveInt  # images; above it, mini-batch k-means


@dataclass(frozen=True)
class RoundParams:
    """One round of the split and the subset that it yields; the last round takes all that is left."""

    id: PositiveInt  # 1, 2, 3, …
    after: NonNegativeInt  # id of the round before; 0 for the first
    clusters: PositiveInt
    per_cluster: PositiveInt | None  # images taken from each cluster; null takes all
    epochs: EpochsOrNone  # passes over this round's subset


@dataclass(frozen=True)
class LatentParams:
    dimension: Dimension
    constraint: Literal["none", "ball", "sphere"]
    radius: Radius | None  # null: the square root of the dimension
    init: Literal["pca", "normal"]


@dataclass(frozen=True)
class GeneratorParams:
    width: Width  # channels before the last layer; doubles with every block towards the code
    ema: Annotated[float, Check("at least 0 and less than 1", lambda v: 0 <= v < 1)]  # decay per step; 0: none


@dataclass(frozen=True)
class LossParams(NetworkParams):
    """The distance between an image and its reconstruction."""

    name: Literal["perceptual", "l1", "l2", "l1_l2", "lap_l1"]
    blocks: Annotated[int, between(1, 5)]  # perceptual: how many blocks of the VGG are compared
    cache_gb: Weight  # memory for features of the targets; over it they are computed at each step


@dataclass(frozen=True)
class OptimizerParams:
    name: Literal["adam", "dense_adam", "sgd"]  # adam: on codes only the batch's rows; dense_adam: all rows, always
    generator_rate: Rate
    code_rate: Rate
    schedule: Literal["constant", "linear", "cosine"]
    reshuffle: bool  # false: the same batches in every epoch


@dataclass(frozen=True)
class StagedParams:
    """Growing from subset to subset: alpha keeps what was learned, beta learns what is new."""

    start: Literal["own", "encoder"]  # a later subset's codes: as `latent.init` made them | as an encoder reads them,
    start_epochs: Epochs  # passes of the starting encoder over the images learned so far
    alpha: Weight
    beta: Annotated[Rate, at_most(1e6)]
    earlier_batch: Batch  # images of earlier subsets in a step
    current_batch: Batch  # images of the current subset in a step


@dataclass(frozen=True)
class FullParams:
    epochs: EpochsOrNone
    batch_size: Batch


@dataclass(frozen=True)
class EncoderParams:
    """From an image to its code (Helman et al. 2019, section 3.4), with rendered images as further data."""

    mode: Literal["codes", "joint"]  # joint: afterwards generator and encoder learn together
    width: Width
    epochs: Epochs
    batch_size: Batch
    rate: Rate
    schedule: Literal["constant", "linear", "cosine"]
    l1: Weight  # λ1
    l2: Weight  # λ2
    pairs: Weight  # of rendered pairs (G(z'), z'), z' = z + N(0, pairs_sigma²)
    pairs_sigma: Weight
    held_out: Annotated[float, Check("greater than 0 and less than 1", lambda v: 0 < v < 1)]


@dataclass(frozen=True)
class JointParams:
    """Generator and encoder together (Gabbay & Hoshen 2019, second stage)."""

    epochs: EpochsOrNone
    rate: Rate
    schedule: Literal["constant", "linear", "cosine"]
    code_weight: Weight  # of the distance of E(x) to z and of the rendered pairs
    keep_weight: Weight  # of the reconstruction of G(z), with noise as in the last stage
    flip: bool  # images that the encoder sees: mirrored at random,
    shift: NonNegativeInt  # shifted by at most so many pixels,
    gain: Share  # and each channel brightened or darkened by at most this share


@dataclass(frozen=True)
class EvaluateParams(NetworkParams):
    """The feature network: a network other than the one that was trained against."""

    pairs: Annotated[PositiveInt, at_most(100_000)]  # of training codes, for interpolation
    steps: Annotated[PositiveInt, at_most(1000)]  # K; a path has 2K + 1 points
    samples: Annotated[PositiveInt, at_most(1_000_000)]


@dataclass(frozen=True)
class Params:
    seed: NonNegativeInt
    method: Literal["glo", "incremental"]  # glo: plain, one stage on all images, at the same number of images seen
    precision: Literal["fp32", "tf32", "bf16"]
    alpha: Weight  # full: weight of the reconstruction of G(z)
    beta: Weight  # full: weight of the reconstruction of G(z + noise)
    sigma: Weight  # full: standard deviation of the noise, per coordinate
    sigma_end: Weight | None  # full: what sigma falls to in a straight line; null: sigma
    prior: Literal["best", "normal", "gaussian_diag", "gaussian", "gmm", "imle"]  # best: the least kernel distance
    data: DataParams
    features: FeatureParams
    clustering: ClusterParams
    rounds: tuple[RoundParams, ...]
    latent: LatentParams
    generator: GeneratorParams
    loss: LossParams
    optimizer: OptimizerParams
    staged: StagedParams
    full: FullParams
    encoder: EncoderParams
    joint: JointParams
    evaluate: EvaluateParams

    @property
    def last_sigma(self) -> float:
        """Standard deviation of the noise with which the last stage ends."""
        if self.method == "glo" or not self.beta:
            return 0.0
        return self.sigma if self.sigma_end is None else self.sigma_end


@dataclass(frozen=True)
class MethodParams:
    """One way to train that is compared with others."""

    title: str  # in tables and figures
    about: str  # one clause
    learner: Literal["stages", "autoencoder"]
    subsets: Literal["clusters", "random"]  # stages: the subsets of the split, or random ones of the same lengths
    changes: dict[str, Any]  # to `base`, by section and key


@dataclass(frozen=True)
class MeasureParams:
    probes: PositiveInt  # measurements of the training images' PSNR along a run
    probed: PositiveInt  # how many training images they take
    inverted: PositiveInt  # held-out images whose codes are optimised
    steps: tuple[NonNegativeInt, ...]  # of optimisation, after which those are measured; the first is 0
    rate: Rate  # of that optimisation
    code_penalty: Weight  # of the autoencoder


@dataclass(frozen=True)
class Comparison:
    """A matrix of methods and seeds. `base` holds every key of params.yaml; a method changes some of them."""

    seeds: tuple[NonNegativeInt, ...]
    budget: PositiveInt  # images seen by the generator, forward and backward, in every method
    run: tuple[str, ...]  # names of methods, in the order of the tables
    joint: tuple[str, ...]  # methods that are also measured after generator and encoder have learned together
    measure: MeasureParams
    base: dict[str, Any]
    methods: dict[str, MethodParams]

    def params(self, method: str | None = None, seed: int | None = None) -> Params:
        """`base` as a method changes it, with another seed."""
        values = _merged(self.base, self.methods[method].changes if method else {})
        return parse_params(values | ({} if seed is None else {"seed": seed}))


def _merged(values: Any, changes: Any) -> Any:
    """`changes` in place of `values`; two mappings are merged key by key."""
    if not isinstance(values, dict) or not isinstance(changes, dict):
        return changes
    return values | {key: _merged(values.get(key), new) for key, new in changes.items()}


@dataclass(frozen=True)
class ClassContentLatentParams:
    class_dimension: Dimension
    content_dimension: Dimension
    content_init: Literal["normal", "pca"]


@dataclass(frozen=True)
class ClassContentOptimizerParams:
    """Adam for the generator; Adam on the batch's rows for class and for content codes."""

    generator_rate: Rate
    class_rate: Rate
    content_rate: Rate
    schedule: Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class TrainParams:
    epochs: Epochs
    batch_size: Batch


@dataclass(frozen=True)
class ClassifierParams:
    """The classifier that says which class an image shows; it sees none of the pipeline's images."""

    width: Width
    epochs: Epochs
    batch_size: Batch
    rate: Rate
    held_out: PositiveInt  # of its images, on which its own accuracy is measured


@dataclass(frozen=True)
class RendersParams:
    unseen: PositiveInt  # of the test images, the first so many are converted; the rest is the classifier's
    converted: Annotated[int, at_least(2)]  # training images that are converted to every class
    samples: Annotated[PositiveInt, at_most(100_000)]  # per class


@dataclass(frozen=True)
class SweepParams:
    """Values that are tried one by one, all else as above."""

    sigma: tuple[Weight, ...]
    decay: tuple[Weight, ...]
    loss: tuple[Literal["perceptual", "l1", "l2", "l1_l2", "lap_l1"], ...]
    content_init: tuple[Literal["normal", "pca"], ...]


@dataclass(frozen=True)
class ClassContentParams:
    """A code per class and a code per image (Gabbay & Hoshen 2019)."""

    seed: NonNegativeInt
    precision: Literal["fp32", "tf32", "bf16"]
    sigma: Weight  # standard deviation of the noise on content codes, per coordinate
    decay: Weight  # of the squared length of content codes
    combine: Literal["concat", "film"]  # how both codes reach the generator: side by side | the class in every block
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


AnyParams = Params | ClassContentParams | Comparison


def load_params(path: str | Path, kind: type | None = None) -> Any:
    """The validated params in the YAML file at `path`.

    Args:
        kind: Params, Comparison or ClassContentParams; object: the kind that the file holds; None: the same, but of a
            comparison only its base.

    Raises:
        UserError: the file is missing or not YAML, or a key is unknown, missing, of the wrong type or out of range.
    """
    values = read_yaml(path)
    params = parse_params(values, _kind_of(values) if kind in (None, object) else kind)
    return params.params() if kind is None and isinstance(params, Comparison) else params


def runs(params: AnyParams) -> dict[str, Params | ClassContentParams]:
    """The runs of a params file, by the prefix of their keys in messages: "methods.NAME.changes: " or nothing."""
    if isinstance(params, Comparison):
        return {f"methods.{method}.changes: ": params.params(method) for method in params.run}
    return {"": params}


def _kind_of(values: Any) -> type:
    """The kind whose keys are most like the file's, so that a key that is misspelt or missing is told as that."""
    keys = values.keys() if isinstance(values, dict) else ()
    return max(CHECKS, key=lambda kind: len({field.name for field in fields(kind)}.intersection(keys)))


def parse_params(values: Any, kind: type = Params) -> Any:
    """Validated params from plain values; UserError as `load_params`."""
    params = parse(_without_launch(values), kind)
    if check := CHECKS.get(kind):
        check(params)
    return params


def _without_launch(values: Any) -> Any:
    """`launch` is for dvc.yaml, the command that starts a stage, and does not change what the stage computes."""
    if not isinstance(values, dict) or "launch" not in values:
        return values
    launch = values["launch"]
    if not isinstance(launch, str) or not launch.strip():
        raise UserError(f"launch: must be the command that starts a stage, such as python, got {shown(launch)}.")
    return {key: value for key, value in values.items() if key != "launch"}


def _check_together(params: Params) -> None:
    """Requirements that bind several keys."""
    rounds = params.rounds
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
            need = "null, so that the last round takes all that is left" if last else "a number, since rounds follow"
            raise UserError(f"rounds.{index}.per_cluster: must be {need}, got {item.per_cluster!r}.")
    if params.alpha == 0 and params.beta == 0:
        raise UserError("alpha, beta: at least one must be greater than 0, got 0 and 0.")
    if params.joint.shift >= params.data.image_size:
        raise UserError(f"joint.shift: must be less than data.image_size, got {params.joint.shift}.")
    if params.encoder.l1 == 0 and params.encoder.l2 == 0:
        raise UserError("encoder.l1, encoder.l2: at least one must be greater than 0, got 0 and 0.")
    check_counts(params, params.data.train, params.data.test)


def check_counts(params: Params | ClassContentParams, train: int | None, test: int | None) -> None:
    """Raises UserError if a run has too few training or test images; a number may be None: not known yet."""
    if train is None and test is None:
        raise UserError("data.train, data.test: at most one may be null, got null and null.")
    if train is not None:
        if isinstance(params, Params):
            check_rounds(params.rounds, train)
        share = params.encoder.held_out
        if max(1, round(share * train)) >= train:
            raise UserError(
                f"encoder.held_out: must leave at least one of the {train} training images, got {share}; lower it, or "
                "use more images."
            )
    if test is not None and isinstance(params, ClassContentParams):
        taken = params.renders.unseen + params.classifier.held_out
        if test <= taken:
            raise UserError(
                f"data.test: must be more than renders.unseen + classifier.held_out, {taken} images, because the "
                f"classifier learns from the rest, got {test}."
            )


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


def check_counted(path: str | Path, images: int) -> None:
    """Runs `check_counts` for every run of the params file at `path`, for this number of images."""
    for prefix, params in runs(load_params(path, object)).items():
        train, test = params.data.train, params.data.test
        with within(prefix):
            check_counts(params, images - test if train is None else train, images - train if test is None else test)


def _check_comparison(comparison: Comparison) -> None:
    for name in comparison.methods:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise UserError(f"methods: must have names of letters, digits, _ and -, got {shown(name)}.")
    _check_different("run", comparison.run)
    if comparison.joint:
        _check_different("joint", comparison.joint)
    for key, names, known in (("run", comparison.run, comparison.methods), ("joint", comparison.joint, comparison.run)):
        for name in names:
            if name not in known:
                raise UserError(f"{key}: must name methods among {', '.join(known)}, got {name!r}.")
    _check_different("seeds", comparison.seeds, "numbers")
    steps = comparison.measure.steps
    if not steps or steps[0] != 0 or list(steps) != sorted(set(steps)):
        raise UserError(f"measure.steps: must start with 0 and increase, got {list(steps)}.")
    if comparison.measure.probes > comparison.budget:
        raise UserError(
            f"measure.probes: must be at most budget, {comparison.budget}, got {comparison.measure.probes}."
        )
    for method in (None, *comparison.methods):
        place = f"methods.{method}.changes" if method else "base"
        with within(f"{place}: "):
            prior = comparison.params(method).prior
        if prior == "best":
            raise UserError(f"{place}.prior: must name a prior, so that methods can be compared, got 'best'.")


def _check_different(key: str, values: Sequence[Any], words: str = "values") -> None:
    if not values or len(set(values)) < len(values):
        raise UserError(f"{key}: must be one or more different {words}, got {shown(list(values))}.")


def _check_class_content(params: ClassContentParams) -> None:
    if params.joint.shift >= params.data.image_size:
        raise UserError(f"joint.shift: must be less than data.image_size, got {params.joint.shift}.")
    check_counts(params, params.data.train, params.data.test)
    for key, values in vars(params.sweep).items():
        _check_different(f"sweep.{key}", values)


CHECKS = {Params: _check_together, Comparison: _check_comparison, ClassContentParams: _check_class_content}
