"""Exports a trained model, in the format of `bundle`."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from iglo.disentangle.model import ClassContentModel
from iglo.errors import IgloWarning, UserError, warn
from iglo.export.bundle import VERSION, CodeStatistics, Record, prior_geometry
from iglo.export.model_card import model_card
from iglo.export.onnx import check_onnx_packages, write_onnx
from iglo.files.io import file_digest, read_json, whole_folder, write_json
from iglo.latent.priors import Prior, PriorChoice, fit_prior
from iglo.models.glo import Model, save_network
from iglo.params.fields import parse
from iglo.params.run_record import OF, Network, Provenance, folder_digest
from iglo.params.sections import ClassContentParams, Params
from iglo.runtime.device import runtime_on


class RecordWarning(IgloWarning):
    """The model card lacks something, because it may not belong to the model."""


def export_model(
    out: str | Path,
    model_folder: str | Path,
    priors: str | Path | None,
    params: Params | ClassContentParams | None = None,
    metrics: Mapping[str, Any] | None = None,
    onnx: bool = False,
) -> None:
    """Writes an exported model to the folder `out`, as a whole or not at all.

    Args:
        model_folder: folder of a trained model with an encoder.
        priors: folder of fitted priors; the chosen one is exported. A model of class and content has none: it
            draws content from the Gaussian fitted to its content codes.
        params: params of the run, only used if the model has no record of its run.
        metrics: metrics for the model card, nested, as the run wrote them. Those of another model are left out, with a
            warning.
        onnx: also write both networks as ONNX, checked against torch.

    Raises:
        UserError: the model, its encoder, its record, its prior or the packages for ONNX are missing; or priors or
            params are those of another model.
    """
    runtime, with_classes = runtime_on("cpu"), is_class_content(model_folder)
    model = (ClassContentModel if with_classes else Model).load(model_folder, runtime)
    if model.encoder is None:
        raise UserError(f"{model_folder}: has no encoder; name the folder of a later stage.")
    provenance, digest = _provenance(model, model_folder, params), folder_digest(model_folder)
    geometry = prior_geometry(model.shape)
    if with_classes:
        prior = fit_prior("gaussian", model.content_codes, geometry, provenance.run.seed)
    else:
        choice = PriorChoice.load(priors, geometry)
        prior, about = choice.priors[choice.chosen], choice.about
        if about.get("model", digest) != digest:
            raise UserError(f"{priors}: holds priors of another model than {model_folder}; run their stage again.")
        provenance = dataclasses.replace(
            provenance, feature_network=_network(about.get("feature_network")) or provenance.feature_network
        )
    write_bundle(out, model, prior, _with_metrics(provenance, metrics, digest), onnx)


def write_bundle(
    out: str | Path,
    model: Model | ClassContentModel,
    prior: Prior,
    provenance: Provenance,
    onnx: bool = False,
) -> None:
    """Writes a model in memory to the folder `out`; arguments and errors as for `export_model`."""
    if onnx:
        check_onnx_packages()
    with whole_folder(out) as folder:
        save_network(model.generator, folder / "generator.safetensors")
        save_network(model.encoder, folder / "encoder.safetensors")
        prior.save(folder / "prior.safetensors")
        if isinstance(model, ClassContentModel):
            save_file({"class_codes": model.class_codes.contiguous()}, folder / "classes.safetensors")
        digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        record = _record(model, prior, provenance, digests)
        write_json(folder / "model.json", asdict(record))
        if onnx:
            write_onnx(folder, model.generator, model.encoder, model.shape)
        card = model_card(provenance, model.shape, len(model.codes), model.log, prior.name, record.classes)
        (folder / "README.md").write_text(card, encoding="utf-8")


def is_class_content(folder: str | Path) -> bool:
    """Whether a folder holds a trained model of class and content.

    Raises:
        UserError: there is no trained model.
        OSError: the folder cannot be read.
    """
    path = Path(folder) / "model.json"
    try:
        os.stat(path)
    except FileNotFoundError:
        raise UserError(
            f"{folder}: holds no trained model (there is no {path.name}); run `dvc repro` (for class and content in "
            "disentangle/), or name another folder."
        ) from None
    record = read_json(path)
    return isinstance(record, dict) and "class_content" in record


def _provenance(
    model: Model | ClassContentModel, folder: str | Path, params: Params | ClassContentParams | None
) -> Provenance:
    """The provenance in the model's record; if it has none, the one that follows from the params."""
    if model.run is not None:
        return Provenance(model.run)
    if params is None:
        raise UserError(
            f"{folder}: has no record of its run, because an earlier iglo made it; name the params of that run "
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
    """The provenance with the metrics of this model, and with the network of its clusters, which they name."""
    if metrics is None:
        return provenance
    about = metrics.get(OF, {}) if isinstance(metrics, Mapping) else None
    if not isinstance(about, Mapping):
        raise UserError("metrics: must be a mapping of names to numbers, as the run wrote them; name another file.")
    if about.get("model", digest) != digest:
        warn(
            "metrics: were measured on another model, so the model card has none; measure this one.",
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
    """The network without the folder of its weights file; a path below the working folder stays."""
    path = Path(network.weights)
    inside = not path.is_absolute() and ".." not in path.parts
    return network if inside else dataclasses.replace(network, weights=path.name)


def _record(model: Model | ClassContentModel, prior: Prior, provenance: Provenance, digests: dict[str, str]) -> Record:
    codes, feature_network = model.codes.double(), provenance.feature_network
    with_classes = isinstance(model, ClassContentModel)
    return Record(
        format="iglo",
        version=VERSION,
        kind="class_content" if with_classes else "glo",
        shape=asdict(model.shape),
        encoder_width=model.encoder.width,
        prior=prior.name,
        codes=CodeStatistics(
            len(codes),
            tuple(codes.mean(0).tolist()),
            tuple(codes.std(0, correction=0).tolist()),
            codes.norm(dim=1).mean().item(),
        ),
        loss=_portable(provenance.run.loss),
        feature_network=None if with_classes or feature_network is None else _portable(feature_network),
        seed=provenance.run.seed,
        classes=tuple(model.classes) if with_classes else (),
        digests=digests,
    )
