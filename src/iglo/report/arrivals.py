"""Measures an arrival and draws its figures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from iglo.evaluation.arrivals import ArrivedRun, measure_arrival
from iglo.evaluation.image_sets import EvaluationNetworks, Values
from iglo.evaluation.measure import through_encoder
from iglo.evaluation.run import some_rows
from iglo.models.glo import GLOModel, render
from iglo.report import plots
from iglo.report.axes import Labels
from iglo.report.run_figures import COLUMNS, draw_grid, draw_samples_grid
from iglo.runtime.device import Runtime

Rows = list[tuple[str, np.ndarray]]


def write_arrival_report(folder: Path, run: ArrivedRun, networks: EvaluationNetworks, runtime: Runtime) -> Values:
    """Draws the figures of an arrival into `folder` and returns its numbers."""
    measured = measure_arrival(run, networks, runtime)
    values = measured.values
    rows = _Rows(run, runtime)
    draw_grid(
        folder / "arrival.png",
        [*rows.earlier(values["earlier"]), *rows.new_train(values["new"]), *rows.new_test(values["new"])],
        f"Before and after the arrival {run.record.id}; PSNR is the mean over all images of the kind",
    )
    draw_forgetting(folder / "forgetting.png", run, measured.groups)
    draw_samples_grid(folder, measured.samples, run.choice.priors[run.choice.chosen])
    return values


def draw_forgetting(path: Path, run: ArrivedRun, groups: Mapping[str, tuple[float, float]]) -> None:
    """Draws the PSNR of the training images of each group before and after an arrival.

    Args:
        groups: name → PSNR before and after, as `MeasuredArrival` has them.
    """
    counts = {name: rows.stop - rows.start for name, rows in run.groups.items()} | {run.record.id: run.record.count}
    named = {f"{name}, {counts[name]} image{'s' * (counts[name] > 1)}": values for name, values in groups.items()}
    title = f"Training images before and after the arrival {run.record.id}"
    legend = "before: G(z), and G(E(x)) of the new images", "after: G(z)"
    plots.save_changes(path, named, Labels(title, "PSNR in dB"), legend)


class _Rows:
    """The rows of the grid of an arrival: a few images of each kind, as they are, before and after."""

    def __init__(self, run: ArrivedRun, runtime: Runtime):
        self.run, self.runtime, self.seed = run, runtime, run.params.evaluate.seed

    def earlier(self, values: Values) -> Rows:
        """Returns earlier training images and their G(z); without the images, G(z) only."""
        run = self.run
        there = values["train"]
        if len(run.rows_there):
            chosen = self._chosen(len(run.rows_there), "earlier")
            rows = run.rows_there[chosen]
            originals = [("earlier training images", run.earlier.part("train")[chosen])]
            labels = f"before: G(z)\n{_db(there['before'])}", f"after: G(z)\n{_db(there['after'])}"
        else:
            rows, originals = self._chosen(run.record.first, "earlier"), []
            labels = "earlier training images: G(z) before", f"G(z) after\n{_db(there['against_renders'])} to before"
        rendered = (self._codes(each, rows) for each in (run.before, run.after))
        return [*originals, *zip(labels, rendered, strict=True)]

    def new_train(self, values: Values) -> Rows:
        """Returns new training images, G(E(x)) before the arrival, and G(z) after it."""
        run, chosen = self.run, self._chosen(self.run.record.count, "train")
        images = run.new.train[chosen]
        return [
            ("new training images", images),
            (f"before: G(E(x))\n{_db(values['train']['before'])}", through_encoder(run.before, images, self.runtime)),
            (f"after: G(z)\n{_db(values['train']['after'])}", self._codes(run.after, run.record.first + chosen)),
        ]

    def new_test(self, values: Values) -> Rows:
        """Returns new test images, and G(E(x)) before and after; nothing if there are none."""
        run = self.run
        if not len(run.new.test):
            return []
        images = run.new.test[self._chosen(len(run.new.test), "test")]
        encoded = (
            (f"{when}: G(E(x))\n{_db(values['test'][when])}", through_encoder(model, images, self.runtime))
            for when, model in (("before", run.before), ("after", run.after))
        )
        return [("new test images", images), *encoded]

    def _chosen(self, count: int, part: str) -> np.ndarray:
        return some_rows(count, COLUMNS, self.seed, f"shown/{part}")

    def _codes(self, model: GLOModel, rows: np.ndarray) -> np.ndarray:
        return render(model.generator, model.codes.values[torch.from_numpy(rows)], self.runtime)


def _db(values: Values) -> str:
    return f"{values['psnr']:.1f} dB"
