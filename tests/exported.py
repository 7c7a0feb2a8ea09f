"""Untrained models on a few tiny images, as the stages leave them and exported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

from iglo.disentangle.model import start_class_content
from iglo.export.writing import export_model, fit_model_prior
from iglo.latent.priors import PRIORS, PriorChoice
from iglo.models.glo import recalibrate_bn
from iglo.models.history import ArrivalRecord
from iglo.models.networks import initialise
from iglo.params.run_record import RunRecord, data_record, folder_digest
from iglo.training.glo_stages import start_model
from tests.tiny import ROOT, RUNTIME, generator, tiny_class_params, tiny_images, tiny_params

IMAGES, LABELS, CLASSES = tiny_images(12), np.arange(12) % 3, ("ant", "bee", "cat/dog")
PARAMS = tiny_params(evaluate__network="squeezenet1_1", evaluate__weights="random")
CLASS_PARAMS = tiny_class_params()
GLO_FILES = {"generator.safetensors", "encoder.safetensors", "prior.safetensors", "codes.safetensors"}
GLO_FILES |= {"model.json", "README.md"}
ARRIVALS = (  # the last five of IMAGES
    ArrivalRecord("2026-12", 7, 4, 1, 2, 3, "images"),
    ArrivalRecord("2027-01", 11, 1, 0, 0, 0, "none"),
)
METRICS = {
    "train": {"recon": {"psnr": 21.75}},
    "samples": {"kd": 0.5, "se": {"kd": 0.0123}},
    "priors": {"gmm": {"kd": 0.7}},
}


def trained(
    folder: Path, params=PARAMS, encoder: bool = True, record: bool = True, classes=CLASSES, arrivals=()
) -> Path:
    """Writes the folder of a model and its history; without `record` as an earlier iglo did."""
    if params is CLASS_PARAMS:
        model, history = start_class_content(IMAGES, LABELS, classes, params, RUNTIME)
    else:
        model, history = start_model(IMAGES, params, RUNTIME)
    if record:
        history.run = RunRecord.of(params, {**data_record(params.data), "train": 12, "validation": 4, "test": 5})
    history.log = [
        {"stage": "full", "epoch": epoch, "images_seen": 12 * epoch, "reconstruction": 0.1} for epoch in (1, 2)
    ]
    history.arrivals += arrivals
    with torch.no_grad():
        for weights in model.generator.parameters():
            if weights.dim() == 4:
                weights.mul_(10)  # so that images have contrast, and differ
    recalibrate_bn(model.generator, model.codes.values)
    if encoder:
        model.encoder = RUNTIME.to_device(initialise(model.config.encoder(4), generator(1)))
        with torch.no_grad():
            for weights in model.encoder.parameters():
                if weights.dim() > 1:
                    weights.mul_(10)
    folder.mkdir(parents=True)
    model.save(folder)
    history.save(folder)
    return folder


def fitted(folder: Path, params=PARAMS, model_folder: Path | None = None) -> Path:
    """Writes a folder of priors of `model_folder`; the full Gaussian is chosen."""
    model, _ = start_model(IMAGES, params, RUNTIME)
    folder.mkdir(parents=True)
    gaussian = fit_model_prior("gaussian", model, 0)
    feature_network = {key: getattr(params.evaluate, key) for key in ("network", "weights", "seed")}
    about = {"model": folder_digest(model_folder), "feature_network": feature_network} if model_folder else {}
    PriorChoice(dict.fromkeys(PRIORS, gaussian), "gaussian", dict.fromkeys(PRIORS, 0.5), about=about).save(folder)
    return folder


def export(folder: Path, params=PARAMS, out: str = "export", **options) -> Path:
    """An exported model's folder, below `folder`."""
    model = trained(folder / "model", params)
    priors = None if params is CLASS_PARAMS else fitted(folder / "priors", model_folder=model)
    export_model(folder / out, model, priors, metrics=measured(model), **options)
    return folder / out


def measured(model: Path) -> dict:
    """The metrics of a model, as the pipeline writes them."""
    features = {"network": "pixels", "weights": "random"}
    return {**METRICS, "of": {"model": folder_digest(model), "features": features}}


def write_params(folder: Path, params=PARAMS, arrivals: tuple[str, ...] = ()) -> None:
    """The file of PARAMS or CLASS_PARAMS, where the command looks for it; `arrivals` are ids."""
    source = ROOT / "disentangle" if params is CLASS_PARAMS else ROOT
    values = yaml.safe_load((source / "params.yaml").read_text(encoding="utf-8"))
    values["data"].update(image_size=16, channels=1)
    values["generator"]["width"] = 4
    if arrivals:
        pairs = zip(arrivals, ("joint", *arrivals), strict=False)
        values["arrivals"] = [
            {"id": each, "after": before, "keep": "images", "path": f"data/arrivals/{each}"} for each, before in pairs
        ]
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def changed(params, **loss):
    return replace(params, loss=replace(params.loss, **loss))
