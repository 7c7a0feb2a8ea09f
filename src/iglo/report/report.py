"""Measures a run and draws its figures."""

from pathlib import Path

import torch

from iglo.data.store import UnitImages
from iglo.evaluation.image_sets import EvaluationNetworks, Values
from iglo.evaluation.measure import through_encoder
from iglo.evaluation.run import Measured, Run, measure_run, some_rows
from iglo.models.glo import render
from iglo.report import run_figures as draw
from iglo.report.run_figures import BLOCKS, COLUMNS
from iglo.runtime.device import Runtime


def write_report(folder: Path, run: Run, networks: EvaluationNetworks, runtime: Runtime) -> Values:
    """Draws the figures of a run into `folder` and returns its metrics, nested as in metrics-all.json.

    A measure that needs more images is left out, and so is its figure. With several ranks, all ranks measure, and the
    first rank draws.
    """
    measured = measure_run(run, networks, runtime)
    if runtime.is_main:
        _draw_images(folder, run, measured, runtime)
        _draw_the_rest(folder, run, measured)
    return measured.values


def _draw_images(folder: Path, run: Run, measured: Measured, runtime: Runtime) -> None:
    """Draws reconstructions, the encoder's images, interpolations and the overview, on this rank only."""
    model, seed, values = run.model, run.params.evaluate.seed, measured.values
    parts = {"train": run.store.train, "test": run.store.test}
    shown = {part: some_rows(len(images), BLOCKS * COLUMNS, seed, f"shown/{part}") for part, images in parts.items()}
    originals = {part: UnitImages(images)[shown[part]] for part, images in parts.items()}
    reconstructed = render(
        model.generator, model.codes.values[torch.from_numpy(shown["train"])], runtime.single_process
    )
    encoded = {
        part: through_encoder(model, images[shown[part]], runtime.single_process) for part, images in parts.items()
    }
    draw.draw_reconstructions(folder, originals["train"], reconstructed, values["train"]["recon"]["psnr"])
    for part in parts:
        draw.draw_encoder(folder, part, originals[part], encoded[part], values[part]["encoder"]["psnr"])
    draw.draw_interpolations(folder, measured.paths)
    draw.draw_midpoints(folder, measured.paths, measured.graph_midpoints)
    draw.draw_overview(
        folder / "overview.png", originals["train"], reconstructed, measured.paths, originals["test"], encoded["test"]
    )


def _draw_the_rest(folder: Path, run: Run, measured: Measured) -> None:
    chosen, train, samples = run.choice.chosen, run.store.train, measured.samples
    draw.draw_stages(folder, run.history, train)
    draw.draw_losses(folder, run.history.log)
    draw.draw_samples_grid(folder, samples[chosen], run.choice.priors[chosen])
    draw.draw_priors(folder, samples, run.choice)
    draw.draw_neighbours(folder, samples[chosen], UnitImages(train), measured.near)
    draw.draw_nearness(folder, measured.near)
    draw.draw_split(folder, run.history, train, run.split)
