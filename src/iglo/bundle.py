"""An exported model: one folder with all that is needed to use it, and nothing of its training.

generator.safetensors, encoder.safetensors, sampler.safetensors   weights and arrays
classes.safetensors   of a model of class and content: the code of every class
model.json            what the rest is, with the version of this format
generator.onnx, encoder.onnx   where asked for
README.md             the model card
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iglo.class_content import ClassContentModel, ClassContentShape
from iglo.errors import UserError
from iglo.files import read_json, whole_folder, write_json
from iglo.geometry import Euclidean, make_geometry
from iglo.model import Model, Shape, load_network, save_network
from iglo.model_card import model_card
from iglo.onnx_files import check_onnx_packages, write_onnx
from iglo.params import ClassContentParams, Params
from iglo.randomness import torch_generator
from iglo.runtime import Runtime, runtime_on
from iglo.sampling import SAMPLERS, Sampler, SamplerChoice, fit_sampler
from iglo.validation import Count, CountOrNone, Weight, between, parse

VERSION = 1
SHAPES = {"glo": Shape, "class_content": ClassContentShape}
FILES = (
    *("generator.safetensors", "encoder.safetensors", "sampler.safetensors", "classes.safetensors"),
    *("generator.onnx", "encoder.onnx", "model.json", "README.md"),
)


@dataclass(frozen=True)
class Network:
    """A network that looks at images: torchvision's name, and imagenet, random or a .safetensors file."""

    network: str
    weights: str


@dataclass(frozen=True)
class Loss(Network):
    """The distance that the model was trained with, by which codes of further images are found."""

    name: Literal["perceptual", "l1", "l2", "l1_l2", "lap_l1"]
    blocks: Annotated[int, between(1, 5)]


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
    """

    record: Record
    shape: Shape | ClassContentShape
    generator: nn.Module
    encoder: nn.Module
    sampler: Sampler
    class_codes: Tensor | None


# --- Writing ---


def export_model(
    out: str | Path,
    model_folder: str | Path,
    samplers: str | Path | None,
    params: Params | ClassContentParams,
    metrics: Mapping[str, Any] | None = None,
    onnx: bool = False,
) -> None:
    """Writes the folder `out`, as a whole or not at all.

    Args:
        model_folder: of a trained model with an encoder.
        samplers: the folder of fitted samplers, of which the chosen one is taken. A model of class and content has
            none: its content is drawn from the Gaussian fitted to its content codes.
        params: of the run that made the model.
        metrics: for the model card, nested, as that run wrote them.
        onnx: also write both networks as ONNX, checked against torch.

    Raises:
        UserError: no such model, no encoder, no sampler, params of another model, or packages for ONNX are missing.
    """
    runtime = runtime_on("cpu")
    kind = "class_content" if isinstance(params, ClassContentParams) else "glo"
    model = (ClassContentModel if kind == "class_content" else Model).load(model_folder, runtime)
    _check_model(model, model_folder, params)
    geometry = sampler_geometry(model.shape)
    if kind == "class_content":
        sampler = fit_sampler("gaussian", model.content_codes, geometry, params.seed)
    else:
        choice = SamplerChoice.load(samplers, geometry)
        sampler = choice.samplers[choice.chosen]
    write_bundle(out, model, sampler, params, metrics, onnx)


def write_bundle(
    out: str | Path,
    model: Model | ClassContentModel,
    sampler: Sampler,
    params: Params | ClassContentParams,
    metrics: Mapping[str, Any] | None = None,
    onnx: bool = False,
) -> None:
    """Writes the folder `out` of a model in memory; arguments and errors as `export_model`."""
    if onnx:
        check_onnx_packages()
    kind = "class_content" if isinstance(params, ClassContentParams) else "glo"
    with whole_folder(out) as folder:
        save_network(model.generator, folder / "generator.safetensors")
        save_network(model.encoder, folder / "encoder.safetensors")
        sampler.save(folder / "sampler.safetensors")
        if kind == "class_content":
            save_file({"class_codes": model.class_codes.contiguous()}, folder / "classes.safetensors")
        record = _record(kind, model, sampler, params, {path.name: _digest(path) for path in sorted(folder.iterdir())})
        write_json(folder / "model.json", asdict(record))
        if onnx:
            write_onnx(folder, model.generator, model.encoder, model.shape)
        card = model_card(params, len(model.codes), model.log, sampler.name, record.classes, metrics)
        (folder / "README.md").write_text(card, encoding="utf-8")


def sampler_geometry(shape: Shape | ClassContentShape) -> Euclidean:
    """Where the codes that a sampler draws may lie."""
    if isinstance(shape, ClassContentShape):
        return make_geometry("none", None, shape.content_dimension)
    return shape.geometry()


def _check_model(model: Model | ClassContentModel, folder: str | Path, params: Params | ClassContentParams) -> None:
    if model.encoder is None:
        raise UserError(f"{folder}: has no encoder; name the folder of a later stage.")
    shape = model.shape
    pairs = {
        "data.image_size": (shape.image_size, params.data.image_size),
        "data.channels": (shape.channels, params.data.channels),
        "generator.width": (shape.width, params.generator.width),
    }
    for key, (made, given) in pairs.items():
        if made != given:
            raise UserError(f"{key}: is {given}, but {folder} was made with {made}; name the params of its run.")


def _record(
    kind: str,
    model: Model | ClassContentModel,
    sampler: Sampler,
    params: Params | ClassContentParams,
    digests: dict[str, str],
) -> Record:
    codes, loss = model.codes.double(), params.loss
    judge = None if kind == "class_content" else Network(params.evaluate.network, params.evaluate.weights)
    return Record(
        format="iglo",
        version=VERSION,
        kind=kind,
        shape=asdict(model.shape),
        encoder_width=model.encoder.width,
        sampler=sampler.name,
        codes=CodeStatistics(
            len(codes),
            tuple(codes.mean(0).tolist()),
            tuple(codes.std(0, correction=0).tolist()),
            codes.norm(dim=1).mean().item(),
        ),
        loss=Loss(loss.network, loss.weights, loss.name, loss.blocks),
        judge=judge,
        seed=params.seed,
        classes=tuple(model.classes) if kind == "class_content" else (),
        digests=digests,
    )


# --- Reading ---


def load_bundle(folder: str | Path, runtime: Runtime) -> Bundle:
    """The model in a folder that `export_model` wrote.

    Raises:
        UserError: no such folder, a newer format, or a file that is missing or damaged.
    """
    folder = Path(folder)
    record = _read_record(folder)
    shape = _parsed(record.shape, SHAPES[record.kind], folder, "shape")

    def read(name: str, load: Callable[[Path], Any]) -> Any:
        return _read(folder / f"{name}.safetensors", record, load)

    networks = [
        read("generator", lambda path: load_network(shape.generator(), path)),
        read("encoder", lambda path: load_network(shape.encoder(record.encoder_width), path)),
    ]
    sampler = read("sampler", lambda path: _load_sampler(path, record, shape))
    class_codes = read("classes", lambda path: _load_classes(path, record, shape)) if record.classes else None
    placed = (runtime.place(network.eval().requires_grad_(False)) for network in networks)
    return Bundle(record, shape, *placed, sampler, class_codes)


def _read_record(folder: Path) -> Record:
    path = folder / "model.json"
    if not path.is_file():
        why = "it has no model.json" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{folder}: not an exported model ({why}); name a folder that `iglo export` made.")
    try:
        values = read_json(path)
    except UserError:
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
    return _parsed(values, Record, folder)


def _parsed(values: Any, kind: type, folder: Path, prefix: str = "") -> Any:
    try:
        return parse(values, kind, prefix)
    except UserError as error:
        reason = str(error).partition(";")[0].rstrip(".")
        raise UserError(f"{folder / 'model.json'}: describes no model ({reason}); export the model again.") from None


def _read(path: Path, record: Record, load: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: is missing; export the model again.")
    try:
        if _digest(path) != record.digests.get(path.name):
            raise ValueError
        return load(path)
    except (UserError, OSError, SafetensorError, KeyError, ValueError, RuntimeError, IndexError):
        raise UserError(f"{path}: truncated, damaged or of another model; export the model again.") from None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load_sampler(path: Path, record: Record, shape: Shape | ClassContentShape) -> Sampler:
    geometry = sampler_geometry(shape)
    sampler = Sampler.load(path, geometry)
    wanted = shape.content_dimension if record.classes else shape.dimension
    if sampler.name != record.sampler or sampler.draw(1, torch_generator(0, "check")).shape != (1, wanted):
        raise ValueError
    return sampler


def _load_classes(path: Path, record: Record, shape: ClassContentShape) -> Tensor:
    codes = load_file(path)["class_codes"]
    if codes.shape != (len(record.classes), shape.class_dimension) or not torch.isfinite(codes).all():
        raise ValueError
    return codes
