"""An exported model: one folder with all that is needed to use it, and nothing of its training.

generator.safetensors, encoder.safetensors, sampler.safetensors   weights and arrays
classes.safetensors   of a model of class and content: the code of every class
model.json            what the rest is, with the version of this format
generator.onnx, encoder.onnx   where asked for
README.md             the model card
"""

<<<<<<< HEAD
import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
=======
from collections.abc import Callable
from dataclasses import dataclass
>>>>>>> refs/wt/export
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

<<<<<<< HEAD
from iglo.class_content import ClassContentModel, ClassContentShape
from iglo.errors import IgloWarning, UserError, shown, warn
from iglo.files import read_json, whole_folder, write_json
=======
from iglo.class_content import ClassContentShape
from iglo.errors import UserError, shown
from iglo.files import read_json
>>>>>>> refs/wt/export
from iglo.geometry import Euclidean, make_geometry
from iglo.model import Shape, load_network
from iglo.randomness import torch_generator
from iglo.run_record import Loss, Network, file_digest
from iglo.runtime import Runtime
from iglo.sampling import SAMPLERS, Sampler
from iglo.validation import Count, CountOrNone, Weight, parse

VERSION = 1
SHAPES = {"glo": Shape, "class_content": ClassContentShape}
FILES = (
    *("generator.safetensors", "encoder.safetensors", "sampler.safetensors", "classes.safetensors"),
    *("generator.onnx", "encoder.onnx", "model.json", "README.md"),
)
LONGEST_RECORD = 2**24  # bytes of model.json
LONGEST_REASON = 300  # characters of a message


<<<<<<< HEAD
class RecordWarning(IgloWarning):
    """Something was left off the model card, for it is not known to belong to the model."""


=======
>>>>>>> refs/wt/export
@dataclass(frozen=True)
class CodeStatistics:
    """Of the learned codes: how many, mean and standard deviation of each coordinate, and mean length."""

    count: Count
    mean: tuple[float, ...]
    std: tuple[float, ...]
    length: Weight


@dataclass(frozen=True)
class Record:
    """What model.json says."""

    format: Literal["iglo"]
    version: Count
    kind: Literal["glo", "class_content"]
    shape: dict[str, Any]
    encoder_width: Count
    sampler: Literal[SAMPLERS]
    codes: CodeStatistics
    loss: Loss
    judge: Network | None
    seed: CountOrNone
    classes: tuple[str, ...]
    digests: dict[str, str]  # SHA-256 of the files of weights and arrays, by their names


@dataclass(frozen=True, eq=False)
class Bundle:
    """An exported model in memory. It has the attributes of a model that inversion needs.

    Attributes:
        sampler: of whole codes; with classes, of content codes.
        class_codes: (K, class) with classes, else None.
        folder: where it was loaded from.
    """

    record: Record
    shape: Shape | ClassContentShape
    generator: nn.Module
    encoder: nn.Module
    sampler: Sampler
    class_codes: Tensor | None
    folder: Path


def sampler_geometry(shape: Shape | ClassContentShape) -> Euclidean:
    """Where the codes that a sampler draws may lie."""
    if isinstance(shape, ClassContentShape):
        return make_geometry("none", None, shape.content_dimension)
    return shape.geometry()


<<<<<<< HEAD
def _provenance(
    model: Model | ClassContentModel, folder: str | Path, params: Params | ClassContentParams | None
) -> Provenance:
    """What the model has on record; of a model without a record, what the params say."""
    if model.run is not None:
        return Provenance(model.run)
    if params is None:
        raise UserError(
            f"{folder}: has no record of its run, for an earlier iglo made it; name the params of that run "
            "(--params), or run its stage again."
        )
    if isinstance(params, ClassContentParams) is not isinstance(model, ClassContentModel):
        raise UserError(f"params: are those of another kind of model than {folder}; name the params of its run.")
    shape = model.shape
    pairs = {
        "data.image_size": (shape.image_size, params.data.image_size),
        "data.channels": (shape.channels, params.data.channels),
        "generator.width": (shape.width, params.generator.width),
    }
    for key, (made, given) in pairs.items():
        if made != given:
            raise UserError(f"{key}: is {given}, but {folder} was made with {made}; name the params of its run.")
    return Provenance.of(params)


def _with_metrics(provenance: Provenance, metrics: Mapping[str, Any] | None, digest: str) -> Provenance:
    """The provenance with the metrics of this model, and with the features of its clusters, which they tell."""
    if metrics is None:
        return provenance
    about = metrics.get(OF, {}) if isinstance(metrics, Mapping) else None
    if not isinstance(about, Mapping):
        raise UserError("metrics: must be a mapping of names to numbers, as the run wrote them; name another file.")
    if about.get("model", digest) != digest:
        warn(
            "metrics: were measured on another model, and are not on the model card; measure this one.",
            RecordWarning,
        )
        return provenance
    numbers = {key: value for key, value in metrics.items() if key != OF}
    return dataclasses.replace(
        provenance, metrics=numbers, features=_network(about.get("features")) or provenance.features
    )


def _network(record: Any) -> Network | None:
    return None if record is None else parse(record, Network)


def _portable(network: Network) -> Network:
    """Without the place of a weights file on this machine; a path below the working folder stays."""
    path = Path(network.weights)
    inside = not path.is_absolute() and ".." not in path.parts
    return network if inside else dataclasses.replace(network, weights=path.name)


def _record(
    model: Model | ClassContentModel, sampler: Sampler, provenance: Provenance, digests: dict[str, str]
) -> Record:
    codes, judge = model.codes.double(), provenance.judge
    with_classes = isinstance(model, ClassContentModel)
    return Record(
        format="iglo",
        version=VERSION,
        kind="class_content" if with_classes else "glo",
        shape=asdict(model.shape),
        encoder_width=model.encoder.width,
        sampler=sampler.name,
        codes=CodeStatistics(
            len(codes),
            tuple(codes.mean(0).tolist()),
            tuple(codes.std(0, correction=0).tolist()),
            codes.norm(dim=1).mean().item(),
        ),
        loss=_portable(provenance.run.loss),
        judge=None if with_classes or judge is None else _portable(judge),
        seed=provenance.run.seed,
        classes=tuple(model.classes) if with_classes else (),
        digests=digests,
    )


# --- Reading ---


=======
>>>>>>> refs/wt/export
def load_bundle(folder: str | Path, runtime: Runtime) -> Bundle:
    """The model in a folder that `export_model` wrote.

    Nothing is allocated for a network before its weights are known to be in the file.

    Raises:
        UserError: no such folder, a newer format, or a file that is missing, cannot be read or is damaged.
    """
    folder = Path(folder)
    try:
        return _load_bundle(folder, runtime)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{shown(str(error.filename or folder))}: cannot be read ({reason}).") from None


def _load_bundle(folder: Path, runtime: Runtime) -> Bundle:
    record = _read_record(folder)
    shape = _parsed(record.shape, SHAPES[record.kind], folder, "shape")

    def read(name: str, load: Callable[[Path], Any]) -> Any:
        return _read(folder / f"{name}.safetensors", record, load)

    networks = [
        read("generator", lambda path: _load_network(shape.generator, path)),
        read("encoder", lambda path: _load_network(lambda: shape.encoder(record.encoder_width), path)),
    ]
    sampler = read("sampler", lambda path: _load_sampler(path, record, shape))
    class_codes = read("classes", lambda path: _load_classes(path, record, shape)) if record.classes else None
    placed = (runtime.place(network.eval().requires_grad_(False)) for network in networks)
    return Bundle(record, shape, *placed, sampler, class_codes, folder)


def _read_record(folder: Path) -> Record:
    path = folder / "model.json"
    if not path.is_file():
        why = "it has no model.json" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{shown(str(folder))}: not an exported model ({why}); name a folder that `iglo export` made.")
    with open(path, "rb") as file:  # so that a file that may not be read is not called damaged
        long = len(file.read(LONGEST_RECORD + 1)) > LONGEST_RECORD
    try:
        values = None if long else read_json(path)
    except (UserError, RecursionError):
        raise UserError(f"{path}: truncated or damaged; export the model again.") from None
    if not isinstance(values, dict) or values.get("format") != "iglo" or not isinstance(values.get("version"), int):
        raise UserError(
            f"{folder}: not an exported model; `iglo export --model {folder}` makes one of a trained model."
        )
    if values["version"] > VERSION:
        raise UserError(
            f"{folder}: is of format version {values['version']}, newer than this iglo reads ({VERSION}); "
            "install a newer iglo."
        )
    record = _parsed(values, Record, folder)
    if (record.kind == "class_content") is not bool(record.classes):
        kind = "must name the classes of this model" if not record.classes else "must be empty in a model without any"
        raise UserError(f"{path}: describes no model (classes: {kind}); export the model again.")
    return record


def _parsed(values: Any, kind: type, folder: Path, prefix: str = "") -> Any:
    try:
        return parse(values, kind, prefix)
    except (UserError, OverflowError, RecursionError) as error:
        reason = str(error).partition(";")[0].rstrip(".")
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        raise UserError(f"{folder / 'model.json'}: describes no model ({reason}); export the model again.") from None


def _read(path: Path, record: Record, load: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: is missing; export the model again.")
    digest = file_digest(path)  # an OSError is no damage
    try:
        if digest != record.digests.get(path.name):
            raise ValueError
        return load(path)
    except (UserError, OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError, OverflowError):
        raise UserError(f"{path}: truncated, damaged or of another model; export the model again.") from None


def _load_network(make: Callable[[], nn.Module], path: Path) -> nn.Module:
    """The network with the weights in the file; ValueError when they are of other sizes, or no weights at all."""
    with torch.device("meta"):  # shapes alone: no memory, and no random numbers
        network = make().float()  # whatever the default type of the process
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with safe_open(path, "pt") as file:
        if wanted != {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}:  # noqa: SIM118
            raise ValueError
    network = load_network(network.to_empty(device="cpu"), path)
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all() or (name.endswith("running_var") and (tensor < 0).any()):
            raise ValueError
    return network


def _load_sampler(path: Path, record: Record, shape: Shape | ClassContentShape) -> Sampler:
    sampler = Sampler.load(path, sampler_geometry(shape))
    wanted = shape.content_dimension if record.classes else shape.dimension
    if sampler.name != record.sampler or sampler.draw(1, torch_generator(0, "check")).shape != (1, wanted):
        raise ValueError
    if not all(torch.isfinite(array).all() for array in sampler.arrays.values()):
        raise ValueError
    return sampler


def _load_classes(path: Path, record: Record, shape: ClassContentShape) -> Tensor:
    codes = load_file(path)["class_codes"]
    if codes.shape != (len(record.classes), shape.class_dimension) or not torch.isfinite(codes).all():
        raise ValueError
    return codes
