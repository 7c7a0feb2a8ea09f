"""Untrained models on a few tiny images, as the stages leave them and exported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

from iglo.bundle import export_model, sampler_geometry
from iglo.class_content import start_class_content
from iglo.model import settle_batch_norm
from iglo.networks import initialise
from iglo.recipes import start_model
from iglo.sampling import SAMPLERS, SamplerChoice, fit_sampler
from tests.tiny import ROOT, RUNTIME, generator, tiny_class_params, tiny_images, tiny_params

IMAGES, LABELS, CLASSES = tiny_images(12), np.arange(12) % 3, ("ant", "bee", "cat/dog")
PARAMS = tiny_params(evaluate__network="squeezenet1_1", evaluate__weights="random")
CLASS_PARAMS = tiny_class_params()
METRICS = {"train": {"recon": {"psnr": 21.75}}, "samples": {"kd": 0.5}}


def trained(folder: Path, params=PARAMS, encoder: bool = True) -> Path:
    """A model's folder, as the stages leave it."""
    if params is CLASS_PARAMS:
        model = start_class_content(IMAGES, LABELS, CLASSES, params, RUNTIME)
    else:
        model = start_model(IMAGES, params, RUNTIME)
    model.log = [{"stage": "full", "epoch": epoch, "presented": 12 * epoch, "reconstruction": 0.1} for epoch in (1, 2)]
    with torch.no_grad():
        for weights in model.generator.parameters():
            if weights.dim() == 4:
                weights.mul_(10)  # so that images have contrast, and differ
    settle_batch_norm(model.generator, model.codes)
    if encoder:
        model.encoder = RUNTIME.place(initialise(model.shape.encoder(4), generator(1)))
        with torch.no_grad():
            for weights in model.encoder.parameters():
                if weights.dim() > 1:
                    weights.mul_(10)
    folder.mkdir(parents=True)
    model.save(folder)
    return folder


def fitted(folder: Path, params=PARAMS) -> Path:
    """A folder of samplers, of which the full Gaussian is the chosen one."""
    model = start_model(IMAGES, params, RUNTIME)
    folder.mkdir(parents=True)
    gaussian = fit_sampler("gaussian", model.codes, sampler_geometry(model.shape), 0)
    SamplerChoice(dict.fromkeys(SAMPLERS, gaussian), "gaussian", dict.fromkeys(SAMPLERS, 0.5)).save(folder)
    return folder


def export(folder: Path, params=PARAMS, out: str = "export", **options) -> Path:
    """An exported model's folder, below `folder`."""
    export_model(
        folder / out, trained(folder / "model", params), fitted(folder / "samplers"), params, METRICS, **options
    )
    return folder / out


def write_params(folder: Path, params=PARAMS) -> None:
    """The file of PARAMS or CLASS_PARAMS, where the command looks for it."""
    source = ROOT / "disentangle" if params is CLASS_PARAMS else ROOT
    values = yaml.safe_load((source / "params.yaml").read_text(encoding="utf-8"))
    values["data"].update(image_size=16, channels=1)
    values["generator"]["width"] = 4
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def changed(params, **loss):
    return replace(params, loss=replace(params.loss, **loss))
