"""Loads exported models. An exported model is a folder with all that is needed to use the model:

generator.safetensors, encoder.safetensors, prior.safetensors   weights and arrays
classes.safetensors   the code of every class; only for class and content
codes.safetensors   the code of every training image; an earlier iglo did not write it
model.json            the record of the model, and the version of this format
generator.onnx, encoder.onnx   only on request
README.md             the model card
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from iglo.errors import UserError, shown
from iglo.files.io import file_digest, read_json
from iglo.latent.priors import PRIORS, Prior
from iglo.models.config import ModelConfig, parse_config
from iglo.models.glo import load_network
from iglo.params.fields import NonNegativeInt, Number, PositiveInt, Text, need, number
from iglo.params.run_record import FeatureNetworkRecord, Loss
from iglo.params.validate import parse
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime

VERSION = 2
FILES = (
    *("generator.safetensors", "encoder.safetensors", "prior.safetensors", "classes.safetensors", "codes.safetensors"),
    *("generator.onnx", "encoder.onnx", "model.json", "README.md"),
)
KEPT_BY = {"images": "images", "generated": "generated images", "none": "nothing"}  # in words: `keep` of an arrival
LONGEST_RECORD = 2**24  # bytes of model.json
LONGEST_REASON = 300  # characters of the reason in an error message


@dataclass(frozen=True)
class CodeStatistics:
    """Statistics of the learned codes: count, mean and standard deviation of each coordinate, mean length."""

    count: PositiveInt
    mean: tuple[Number, ...]
    std: tuple[Number, ...]
    length: number(ge=0)


@dataclass(frozen=True)
class ArrivedRows:
    """The codes of images that arrived after the first run: the rows first, …, first + count - 1.

    Attributes:
        id: name of the arrival.
        keep: what kept the earlier images while these were learned, as in params.yaml.
    """

    id: Annotated[Text, need("a name of one folder", lambda name: Path(name).name == name != "..")]
    first: PositiveInt
    count: PositiveInt
    keep: Literal["images", "generated", "none"]

    def __str__(self) -> str:
        last = self.first + self.count - 1
        rows = f"1 image, row {last}" if self.count == 1 else f"{self.count} images, rows {self.first} to {last}"
        return f"{self.id} ({rows}, kept by {KEPT_BY[self.keep]})"


@dataclass(frozen=True)
class Record:
    """The contents of model.json.

    Attributes:
        config: the kind and the sizes of the model, as `models.config` writes them.
        digests: SHA-256 of each file of weights and arrays, by file name.
        arrivals: the images that came after the first run, in the order of their codes; the file has no such key if
            there are none.
    """

    format: Literal["iglo"]
    version: PositiveInt
    config: dict[str, Any]
    encoder_width: PositiveInt
    prior: Literal[PRIORS]
    codes: CodeStatistics
    loss: Loss
    feature_network: FeatureNetworkRecord | None
    seed: NonNegativeInt
    digests: dict[str, str]
    arrivals: tuple[ArrivedRows, ...] = ()

    def __post_init__(self) -> None:
        """Raises UserError unless the rows of the arrivals follow those of the first run, up to the last code."""
        if self.arrivals:
            ends = [each.first + each.count for each in self.arrivals]
            if [each.first for each in self.arrivals[1:]] + [self.codes.count] != ends:
                raise UserError(
                    "arrivals: their rows must follow each other, up to the last code; run the model's stage again."
                )


@dataclass(frozen=True, eq=False)
class Bundle:
    """An exported model in memory. Inversion takes it in place of a GLOModel.

    Attributes:
        prior: draws new codes; in a model with classes, content codes.
        class_codes: (K, d) codes of the K classes; None in a model without classes.
        folder: the folder that it was loaded from.
    """

    record: Record
    config: ModelConfig
    generator: nn.Module
    encoder: nn.Module
    prior: Prior
    class_codes: Tensor | None
    folder: Path


def load_bundle(folder: str | Path, runtime: Runtime) -> Bundle:
    """Loads an exported model from its folder.

    The sizes of the weights in a file are checked before memory for the network is allocated.

    Raises:
        UserError: there is no such folder, its format has another version, or a file is missing, unreadable or damaged.
    """
    folder = Path(folder)
    try:
        return _load_bundle(folder, runtime)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{shown(str(error.filename or folder))}: cannot be read ({reason}).") from None


def _load_bundle(folder: Path, runtime: Runtime) -> Bundle:
    record, config = _read_record(folder)

    def read(name: str, load: Callable[[Path], Any]) -> Any:
        return _read(folder / f"{name}.safetensors", record, load)

    networks = [
        read("generator", lambda path: _load_network(config.generator, path)),
        read("encoder", lambda path: _load_network(lambda: config.encoder(record.encoder_width), path)),
    ]
    prior = read("prior", lambda path: _load_prior(path, record, config))
    class_codes = read("classes", lambda path: _load_classes(path, config)) if config.classes else None
    placed = (runtime.to_device(network.eval().requires_grad_(False)) for network in networks)
    return Bundle(record, config, *placed, prior, class_codes, folder)


def describe(bundle: Bundle) -> dict[str, Any]:
    """Describes an exported model in plain values."""
    record, config = bundle.record, bundle.config
    return {
        "kind": config.kind,
        "format_version": record.version,
        **asdict(config),
        "dimension": config.dimension,
        "encoder_width": record.encoder_width,
        "generator_weights": sum(each.numel() for each in bundle.generator.parameters()),
        "encoder_weights": sum(each.numel() for each in bundle.encoder.parameters()),
        "prior": record.prior,
        **{f"prior_{name}": value for name, value in bundle.prior.settings.items()},
        "training_images": record.codes.count,
        "mean_code_length": record.codes.length,
        "loss": record.loss.name,
        "seed": record.seed,
        **({"classes": list(config.classes)} if config.classes else {}),
        **({"arrivals": [str(each) for each in record.arrivals]} if record.arrivals else {}),
    }


def load_codes(bundle: Bundle) -> Tensor:
    """Reads the codes (N, d) float32 of the training images, from the folder of an exported model.

    Raises:
        UserError: the folder has no codes, or their file is missing or damaged.
    """
    path, record = bundle.folder / "codes.safetensors", bundle.record
    if path.name not in record.digests:
        raise UserError(
            f"{shown(str(bundle.folder))}: has no codes of training images, because an earlier iglo made it; export "
            "the model again."
        )
    return _read(path, record, lambda file: _load_codes(file, record, bundle.config))


def _read_record(folder: Path) -> tuple[Record, ModelConfig]:
    path = folder / "model.json"
    if not path.is_file():
        why = "it has no model.json" if folder.is_dir() else "there is no such folder"
        raise UserError(
            f"{shown(str(folder))}: not an exported model ({why}); run `iglo export`, or name a folder that it made."
        )
    with open(path, "rb") as file:  # an OSError here, such as a missing permission, does not mean damage
        long = len(file.read(LONGEST_RECORD + 1)) > LONGEST_RECORD
    try:
        values = None if long else read_json(path)
    except (UserError, RecursionError):
        raise UserError(f"{path}: truncated or damaged; export the model again.") from None
    if not isinstance(values, dict) or values.get("format") != "iglo" or not isinstance(values.get("version"), int):
        raise UserError(
            f"{folder}: not an exported model; `iglo export --model {folder}` makes one of a trained model."
        )
    if values["version"] != VERSION:
        newer = values["version"] > VERSION
        raise UserError(
            f"{folder}: has format version {values['version']}, {'newer' if newer else 'older'} than this iglo reads "
            f"({VERSION}); {'install a newer iglo' if newer else 'export the model again'}."
        )
    record = _parsed(lambda: parse(values, Record), folder)
    return record, _parsed(lambda: parse_config(record.config), folder)


def _parsed(read: Callable[[], Any], folder: Path) -> Any:
    try:
        return read()
    except (UserError, OverflowError, RecursionError) as error:
        reason = str(error).partition(";")[0].rstrip(".")
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        raise UserError(f"{folder / 'model.json'}: describes no model ({reason}); export the model again.") from None


def _read(path: Path, record: Record, load: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: is missing; export the model again.")
    digest = file_digest(path)  # an OSError here does not mean damage
    try:
        if digest != record.digests.get(path.name):
            raise ValueError
        return load(path)
    except (UserError, OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError, OverflowError):
        raise UserError(f"{path}: truncated, damaged or of another model; export the model again.") from None


def _load_network(make: Callable[[], nn.Module], path: Path) -> nn.Module:
    """Makes a network with the weights in a file.

    Raises:
        ValueError: names or sizes differ, or a weight is not finite.
    """
    with torch.device("meta"):  # only shapes: takes no memory and no random numbers
        network = make().float()  # float32, whatever the default type of the process
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with safe_open(path, "pt") as file:
        if wanted != {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}:  # noqa: SIM118
            raise ValueError
    network = load_network(network.to_empty(device="cpu"), path)
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all() or (name.endswith("running_var") and (tensor < 0).any()):
            raise ValueError
    return network


def _load_prior(path: Path, record: Record, config: ModelConfig) -> Prior:
    table = config.tables()[config.prior_table]
    prior = Prior.load(path, table.geometry)
    if prior.name != record.prior or prior.draw(1, torch_generator(0, "check")).shape != (1, table.dimension):
        raise ValueError
    if not all(torch.isfinite(array).all() for array in prior.arrays.values()):
        raise ValueError
    return prior


def _load_classes(path: Path, config: ModelConfig) -> Tensor:
    codes = load_file(path)["class_codes"]
    if codes.shape != (len(config.classes), config.class_dimension) or not torch.isfinite(codes).all():
        raise ValueError
    return codes


def _load_codes(path: Path, record: Record, config: ModelConfig) -> Tensor:
    codes = load_file(path)["codes"]
    if codes.shape != (record.codes.count, config.dimension) or not torch.isfinite(codes).all():
        raise ValueError
    return codes.float()
