"""Writes exported models, in the format that `bundle` describes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from iglo.errors import IgloWarning, UserError, warn
from iglo.export.bundle import VERSION, ArrivedRows, CodeStatistics, Record
from iglo.export.model_card import model_card
from iglo.export.onnx import check_onnx_packages, write_onnx
from iglo.files.io import file_digest, whole_folder, write_json
from iglo.latent.priors import Prior, PriorChoice, fit_prior
from iglo.models.config import config_record
from iglo.models.glo import GLOModel, kind_of, save_network
from iglo.models.history import ArrivalRecord, History
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import Params
from iglo.params.run_record import OF, FeatureNetworkRecord, Network, Provenance, folder_digest
from iglo.params.validate import parse
from iglo.runtime.device import runtime_on

RUN_METHODS = {
    "glo": ("glo", "incremental"),
    "class_content": ("class_content",),
}  # kind of model → methods that train it


class RecordWarning(IgloWarning):
    """Something is left out of the model card, because it may be that of another model."""


def export_model(
    out: str | Path,
    model_folder: str | Path,
    priors: str | Path | None,
    params: Params | ClassContentParams | None = None,
    metrics: Mapping[str, Any] | None = None,
    onnx: bool = False,
) -> None:
    """Exports a trained model to the folder `out`, completely or not at all.

    Args:
        model_folder: folder of a trained model with an encoder.
        priors: folder of fitted priors; the chosen one is exported. None: a Gaussian is fitted to the codes (in class
            and content, to the content codes).
        params: params of the run. They are used only if the model has no record of its run.
        metrics: metrics for the model card, nested, as the run wrote them. Those of another model are left out with a
            warning.
        onnx: whether to write both networks as ONNX files too, compared with torch.

    Raises:
        UserError: the model, its encoder, its record, its prior or the packages for ONNX are missing, or the priors or
            params are those of another model.
    """
    kind_of(model_folder)  # raises UserError if the folder holds no trained model
    model, history = GLOModel.load(model_folder, runtime_on("cpu")), History.load(model_folder)
    if model.encoder is None:
        raise UserError(f"{model_folder}: has no encoder; name the folder of a later stage.")
    provenance, digest = _provenance(model, history, model_folder, params), folder_digest(model_folder)
    if priors is None:
        prior = fit_model_prior("gaussian", model, provenance.run.seed)
    else:
        choice = PriorChoice.load(priors, model.config.tables()[model.config.prior_table].geometry)
        prior, about = choice.priors[choice.chosen], choice.about
        if about.get("model", digest) != digest:
            raise UserError(f"{priors}: holds priors of another model than {model_folder}; run their stage again.")
        provenance = dataclasses.replace(
            provenance, feature_network=_network(about.get("feature_network")) or provenance.feature_network
        )
    provenance = _with_metrics(provenance, metrics, digest)
    write_bundle(out, model, history.log, prior, provenance, onnx, history.arrivals)


def fit_model_prior(name: str, model: GLOModel, seed: int) -> Prior:
    """Fits a prior to the learned codes of a model; in class and content, to the content codes."""
    drawn = model.config.prior_table
    return fit_prior(name, model.codes.tables[drawn].values, model.config.tables()[drawn].geometry, seed)


def write_bundle(
    out: str | Path,
    model: GLOModel,
    log: Sequence[Mapping[str, Any]],
    prior: Prior,
    provenance: Provenance,
    onnx: bool = False,
    arrivals: Sequence[ArrivalRecord] = (),
) -> None:
    """Exports a model in memory to the folder `out`.

    Args:
        log: a row per stage of training and epoch, for the model card.
        provenance: the record of the run, for model.json and the model card.
        arrivals: the images that came after the first run, in their order.

    The other arguments and the errors are those of `export_model`.
    """
    if onnx:
        check_onnx_packages()
    with whole_folder(out) as folder:
        save_network(model.generator, folder / "generator.safetensors")
        save_network(model.encoder, folder / "encoder.safetensors")
        prior.save(folder / "prior.safetensors")
        if model.config.classes:
            class_codes = model.codes.tables["class"].weight.detach().cpu().contiguous()
            save_file({"class_codes": class_codes}, folder / "classes.safetensors")
        save_file({"codes": model.codes.values.cpu().float().contiguous()}, folder / "codes.safetensors")
        digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        record = _record(model, prior, provenance, arrivals, digests)
        left_out = () if arrivals else ("arrivals",)  # so that an earlier iglo can load a model without arrivals
        write_json(folder / "model.json", {key: value for key, value in asdict(record).items() if key not in left_out})
        if onnx:
            write_onnx(folder, model.generator, model.encoder, model.config)
        card = model_card(provenance, model.config, record.codes.count, log, prior, arrivals)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _provenance(
    model: GLOModel, history: History, folder: str | Path, params: Params | ClassContentParams | None
) -> Provenance:
    """Returns the provenance in the history; if the history has none, makes it from the params."""
    if history.run is not None:
        return Provenance(history.run)
    if params is None:
        raise UserError(
            f"{folder}: has no record of its run, because an earlier iglo made it; name the params of that run "
            "(--params), or run its stage again."
        )
    if Provenance.of(params).run.method not in RUN_METHODS[model.config.kind]:
        raise UserError(f"params: are those of another kind of model than {folder}; name the params of its run.")
    config = model.config
    pairs = {
        "data.image_size": (config.image_size, params.data.image_size),
        "data.channels": (config.channels, params.data.channels),
        "generator.width": (config.width, params.generator.width),
        "generator.network": (config.network, getattr(params.generator, "network", "dcgan")),
    }
    for key, (made, given) in pairs.items():
        if made != given:
            raise UserError(f"{key}: is {given}, but {folder} was made with {made}; name the params of its run.")
    return Provenance.of(params)


def _with_metrics(provenance: Provenance, metrics: Mapping[str, Any] | None, digest: str) -> Provenance:
    """Adds the metrics to the provenance, and the network of the clusters, which the metrics name."""
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


def _network(record: Any) -> FeatureNetworkRecord | None:
    return None if record is None else parse(record, FeatureNetworkRecord)


def _portable(network: Network) -> Network:
    """Removes the folder from the path of the weights file, unless it is below the working folder."""
    path = Path(network.weights)
    inside = not path.is_absolute() and ".." not in path.parts
    return network if inside else dataclasses.replace(network, weights=path.name)


def _record(
    model: GLOModel,
    prior: Prior,
    provenance: Provenance,
    arrivals: Sequence[ArrivalRecord],
    digests: dict[str, str],
) -> Record:
    codes, feature_network = model.codes.values.double(), provenance.feature_network
    return Record(
        format="iglo",
        version=VERSION,
        config=config_record(model.config),
        encoder_width=model.encoder.width,
        prior=prior.name,
        codes=CodeStatistics(
            len(codes),
            tuple(codes.mean(0).tolist()),
            tuple(codes.std(0, correction=0).tolist()),
            codes.norm(dim=1).mean().item(),
        ),
        loss=_portable(provenance.run.loss),
        feature_network=feature_network and _portable(feature_network),
        seed=provenance.run.seed,
        digests=digests,
        arrivals=tuple(ArrivedRows(each.id, each.first, each.count, each.keep) for each in arrivals),
    )
