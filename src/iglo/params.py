"""Every value that a run depends on: frozen dataclasses, one per section of params.yaml.

`load_params` refuses an unknown, missing, mistyped or out-of-range key with one sentence that names the dotted key,
the requirement and the value. Ranges are written as `Annotated[type, check]` beside each field.
"""

import dataclasses
import difflib
import math
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from iglo.errors import UserError


@dataclass(frozen=True)
class Check:
    """A requirement in words and as a predicate."""

    words: str
    holds: Any


def at_least(low: float) -> Check:
    return Check(f"at least {low}", lambda value: value >= low)


def above(low: float) -> Check:
    return Check(f"greater than {low}", lambda value: value > low)


def between(low: float, high: float) -> Check:
    return Check(f"from {low} to {high}", lambda value: low <= value <= high)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int, at_least(0)]
Rate = Annotated[float, above(0)]
Weight = Annotated[float, at_least(0)]
Share = Annotated[float, between(0, 1)]
ImageSize = Annotated[int, Check("a power of two from 16 to 128", lambda v: _is_power_of_two(v) and 16 <= v <= 128)]


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
    train: Count | None  # images for training; null takes all but the test images
    test: Count | None  # images held out; null takes all the rest
    shuffle: bool  # split after a seeded shuffle; false: by count, in order, as in the paper
    on_error: Literal["fail", "skip"]  # an image that cannot be read: stop, or leave it out and report it


@dataclass(frozen=True)
class NetworkParams:
    """A frozen network that looks at images: a torchvision name and its weights."""

    network: str  # torchvision's name; or `pixels`, where features are asked for
    weights: str  # imagenet, random, or the path of a .safetensors file


@dataclass(frozen=True)
class FeatureParams(NetworkParams):
    """The features in which images are clustered (Helman et al. 2019, section 3)."""

    image_size: Count | None  # side that images are resized to; null: what the weights ask for
    batch_size: Count


@dataclass(frozen=True)
class ClusterParams:
    components: Count  # of the PCA, at most
    minibatch_above: Count  # images; above it, mini-batch k-means


@dataclass(frozen=True)
class RoundParams:
    """One round of the split and the subset that it yields; the last round takes all that is left."""

    id: Count  # 1, 2, 3, …
    after: CountOrNone  # id of the round before; 0 for the first
    clusters: Count
    per_cluster: Count | None  # images taken from each cluster; null takes all
    epochs: CountOrNone  # passes over this round's subset


@dataclass(frozen=True)
class LatentParams:
    dimension: Count
    constraint: Literal["none", "ball", "sphere"]
    radius: Rate | None  # null: the square root of the dimension
    init: Literal["pca", "normal"]


@dataclass(frozen=True)
class GeneratorParams:
    width: Count  # channels before the last layer; doubles with every block towards the code
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
    start_epochs: Count  # which is fitted to the images learned so far, for so many passes over them
    alpha: Weight
    beta: Rate
    earlier_batch: Count  # images of earlier subsets in a step
    current_batch: Count  # images of the current subset in a step


@dataclass(frozen=True)
class FullParams:
    epochs: CountOrNone
    batch_size: Count


@dataclass(frozen=True)
class EncoderParams:
    """From an image to its code (Helman et al. 2019, section 3.4), with rendered images as further data."""

    mode: Literal["codes", "joint"]  # joint: afterwards generator and encoder learn together
    width: Count
    epochs: Count
    batch_size: Count
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

    epochs: CountOrNone
    rate: Rate
    schedule: Literal["constant", "linear", "cosine"]
    code_weight: Weight  # of the distance of E(x) to z and of the rendered pairs
    keep_weight: Weight  # of the reconstruction of G(z), with noise as in the last stage
    flip: bool  # images that the encoder sees: mirrored at random,
    shift: CountOrNone  # shifted by at most so many pixels,
    gain: Share  # and each channel brightened or darkened by at most this share


@dataclass(frozen=True)
class EvaluateParams(NetworkParams):
    """The judge: a network other than the one that was trained against."""

    pairs: Count  # of training codes, for interpolations
    steps: Count  # K; a path has 2K + 1 points
    samples: Count


@dataclass(frozen=True)
class Params:
    seed: CountOrNone
    method: Literal["glo", "incremental"]  # glo: plain, one stage on all images, at the same number of presentations
    precision: Literal["fp32", "bf16"]
    alpha: Weight  # full: weight of the reconstruction of G(z)
    beta: Weight  # full: weight of the reconstruction of G(z + noise)
    sigma: Weight  # full: standard deviation of the noise, per coordinate
    sigma_end: Weight | None  # full: what sigma falls to in a straight line; null: sigma
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
class ArmParams:
    """One way to train that is compared with others."""

    title: str  # in tables and figures
    about: str  # one clause
    learner: Literal["stages", "autoencoder"]
    subsets: Literal["clusters", "random"]  # stages: the subsets of the split, or random ones of the same lengths
    changes: dict[str, Any]  # to `base`, by section and key


@dataclass(frozen=True)
class MeasureParams:
    probes: Count  # measurements of the training images' PSNR along a run
    probed: Count  # how many training images they take
    inverted: Count  # held-out images whose codes are optimised
    steps: tuple[CountOrNone, ...]  # of optimisation, after which those are measured; the first is 0
    rate: Rate  # of that optimisation
    code_penalty: Weight  # of the autoencoder


@dataclass(frozen=True)
class Comparison:
    """A matrix of arms and seeds. `base` holds every key of params.yaml; an arm changes some of them."""

    seeds: tuple[CountOrNone, ...]
    budget: Count  # images presented to the generator, forward and backward, in every arm
    run: tuple[str, ...]  # names of arms, in the order of the tables
    joint: tuple[str, ...]  # arms that are also measured after generator and encoder have learned together
    measure: MeasureParams
    base: dict[str, Any]
    arms: dict[str, ArmParams]

    def params(self, arm: str | None = None, seed: int | None = None) -> Params:
        """`base` as an arm changes it, with another seed."""
        values = _merged(self.base, self.arms[arm].changes if arm else {})
        return parse_params(values | ({} if seed is None else {"seed": seed}))


def _merged(values: dict, changes: dict) -> dict:
    inner = {key: _merged(values.get(key, {}), new) if isinstance(new, dict) else new for key, new in changes.items()}
    return values | inner


def load_params(path: str | Path, kind: type = Params) -> Any:
    """The validated params in the YAML file at `path`.

    Raises:
        UserError: no such file, no YAML, or a key that is unknown, missing, of the wrong type or out of range.
    """
    try:
        values = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the params file ({error.strerror}).") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    if kind is Params and isinstance(values, dict) and "base" in values:
        return load_params(path, Comparison).params()
    return parse_params(values, kind)


def parse_params(values: Any, kind: type = Params) -> Any:
    """Validated params from plain values; UserError as `load_params`."""
    params = _section(values, kind, "")
    if isinstance(params, Params):
        _check_together(params)
    if isinstance(params, Comparison):
        _check_comparison(params)
    return params


def _section(values: Any, kind: type, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{prefix or 'params'}: must be a mapping of keys to values, got {values!r}.")
    hints = get_type_hints(kind, include_extras=True)
    dot = f"{prefix}." if prefix else ""
    for key in values:
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            raise UserError(f"{dot}{key}: unknown key" + (f"; did you mean {dot}{close[0]}?" if close else "."))
    for key in hints:
        if key not in values:
            raise UserError(f"{dot}{key}: missing; every key of params.yaml must be given.")
    return kind(**{key: _value(values[key], hint, dot + key) for key, hint in hints.items()})


def _value(value: Any, hint: Any, key: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _section(value, hint, key)
    if origin in (Union, types.UnionType):  # only `X | None` is used
        return None if value is None else _value(value, get_args(hint)[0], key)
    if origin is Annotated:
        base, check = get_args(hint)
        value = _value(value, base, key)
        if not check.holds(value):
            raise UserError(f"{key}: must be {check.words}, got {value!r}.")
        return value
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise UserError(f"{key}: must be one of {', '.join(map(str, get_args(hint)))}, got {value!r}.")
        return value
    if origin is dict:
        return _mapping(value, get_args(hint)[1], key)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{key}: must be a list, got {value!r}.")
        return tuple(_value(item, get_args(hint)[0], f"{key}.{index}") for index, item in enumerate(value))
    return _scalar(value, hint, key)


def _mapping(values: Any, inner: Any, key: str) -> dict:
    if not isinstance(values, dict):
        raise UserError(f"{key}: must be a mapping of keys to values, got {values!r}.")
    return values if inner is Any else {name: _value(value, inner, f"{key}.{name}") for name, value in values.items()}


def _scalar(value: Any, kind: type, key: str) -> Any:
    words = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}[kind]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a text
        value = _float_or_text(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UserError(f"{key}: must be {words}, got {value!r}.")
    return value


def _float_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


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
    if params.data.train is None and params.data.test is None:
        raise UserError("data.train, data.test: at most one may be null, got null and null.")
    if params.alpha == 0 and params.beta == 0:
        raise UserError("alpha, beta: at least one must be greater than 0, got 0 and 0.")
    if params.joint.shift >= params.data.image_size:
        raise UserError(f"joint.shift: must be less than data.image_size, got {params.joint.shift}.")
    if params.encoder.l1 == 0 and params.encoder.l2 == 0:
        raise UserError("encoder.l1, encoder.l2: at least one must be greater than 0, got 0 and 0.")


def _check_comparison(comparison: Comparison) -> None:
    for key, names, known in (("run", comparison.run, comparison.arms), ("joint", comparison.joint, comparison.run)):
        for name in names:
            if name not in known:
                raise UserError(f"{key}: must name arms among {', '.join(known)}, got {name!r}.")
    if len(set(comparison.seeds)) < len(comparison.seeds) or not comparison.seeds:
        raise UserError(f"seeds: must be one or more different numbers, got {list(comparison.seeds)}.")
    steps = comparison.measure.steps
    if not steps or steps[0] != 0 or list(steps) != sorted(set(steps)):
        raise UserError(f"measure.steps: must start with 0 and increase, got {list(steps)}.")
    for arm in (None, *comparison.arms):
        try:
            comparison.params(arm)
        except UserError as error:
            raise UserError(f"{f'arms.{arm}.changes' if arm else 'base'}: {error}") from None
