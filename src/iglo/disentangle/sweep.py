"""Studies of class and content. A study changes one value (σ, decay, loss or start); it has a run for each value."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from iglo.data.store import ImageStore
from iglo.disentangle.renders import Renders
from iglo.files.io import read_array, read_json, whole_file, write_array, write_json
from iglo.files.markdown import markdown_table
from iglo.params.class_content import ClassContentParams, SweepParams
from iglo.params.pipeline import parse_params
from iglo.report import figures, plots
from iglo.report.fonts import drawable

COLUMNS = 12  # images in a row of a figure
CONVERTED = 2  # images whose conversions are shown
TITLES = {
    "sigma": "Noise on the content codes: σ",
    "decay": "Decay of the content codes",
    "loss": "Loss",
    "content_init": "Start of the content codes",
}
PLACES = {"loss": ("loss", "name"), "content_init": ("latent", "content_init")}  # studies of a key in a section
NUMBERS = {  # titles of the columns → keys in numbers.json
    "loss while training": ("final", "reconstruction"),
    "L1 + L2": ("train", "l1_l2"),
    "spread in a class": ("train", "spread"),
    "leakage, logistic": ("leakage", "logistic"),
    "leakage, MLP": ("leakage", "mlp"),
    "content kept": ("conversion", "content_kept"),
    "conversion": ("conversion", "recognised_of_classifier"),
    "scratch, N(0, I)": ("scratch", "normal", "recognised_of_classifier"),
    "scratch, fitted": ("scratch", "gaussian", "recognised_of_classifier"),
}


def params_of_run(params: ClassContentParams, study: str, value: Any) -> ClassContentParams:
    """Returns the params of a run: `params` with the value of the study.

    Raises:
        UserError: the value is not valid.
    """
    values = asdict(params)
    *sections, key = PLACES.get(study, (study,))
    place = values
    for section in sections:
        place = place[section]
    place[key] = value
    return parse_params(values, ClassContentParams)


def save_run(folder: Path, renders: Renders, values: dict, rows: Sequence[dict]) -> None:
    """Writes what the report needs from one run: its numbers, its curve and a few 8-bit images."""
    final = {key: value for key, value in rows[-1].items() if key not in ("epoch", "images_seen", "loss")}
    write_json(folder / "numbers.json", values | {"final": final})
    write_array(folder / "curve.npy", np.array([[row["epoch"], row["reconstruction"]] for row in rows]))
    images = {
        "reconstructed": renders.reconstructed[renders.chosen[:COLUMNS]],
        "converted": renders.converted[:CONVERTED],
        "scratch": renders.scratch["gaussian"][:, :1],
    }
    for name, array in images.items():
        write_array(folder / f"{name}.npy", (array * 255).round().astype(np.uint8))
    write_array(folder / "chosen.npy", renders.chosen)


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        curve: (E, 2) epochs and losses while training.
        images: uint8, by the names that `save_run` gives them.
        chosen: ids of the reconstructed and converted images.
    """

    name: str
    numbers: dict
    curve: np.ndarray
    images: dict[str, np.ndarray]
    chosen: np.ndarray

    @classmethod
    def load(cls, folder: Path, name: str) -> "Run":
        images = {key: read_array(folder / f"{key}.npy") for key in ("reconstructed", "converted", "scratch")}
        numbers, curve = read_json(folder / "numbers.json"), read_array(folder / "curve.npy")
        return cls(name, numbers, curve, images, read_array(folder / "chosen.npy"))

    def number(self, place: Sequence[str]) -> float:
        """Returns the number at nested keys of `numbers`."""
        value = self.numbers
        for key in place:
            value = value[key]
        return value


def write_sweep_report(
    path: Path, figures_folder: Path, runs: Path, params: ClassContentParams, store: ImageStore
) -> dict:
    """Writes report.md and its figures, and returns the numbers: study → value of the study → title → number.

    Args:
        runs: has a folder `<study>/<value>` for each run.

    Raises:
        UserError: a file is missing.
    """
    studies = {
        field.name: [_run_of(runs / field.name, value) for value in getattr(params.sweep, field.name)]
        for field in fields(SweepParams)
    }
    lines = [
        "# Class and content: the effect of each value",
        "",
        f"{store.parts.train:,} training images, {params.train.epochs} epochs for each value, seed {params.seed}, "
        f"{params.combine}. Loss while training: the mean over the last epoch, with noise. L1 + L2: of reconstructions "
        "from the codes without noise, images in [0, 1]. Spread: the variance of a pixel over the reconstructions of a "
        "class. Leakage: the share of images whose class is predicted from their content code. Content kept: R² of the "
        "content that the encoder reads from conversions. Conversion and scratch: the share that the classifier "
        "recognises, divided by its accuracy on real images.",
        "",
    ]
    for study, runs in studies.items():
        lines += [f"## {TITLES[study]}", "", *_table(runs), ""]
        for name in _draw_study(figures_folder, study, runs, store):
            lines += [f"![{name}](figures/{name})", ""]
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines), encoding="utf-8")
    return {
        study: {run.name: {title: run.number(place) for title, place in NUMBERS.items()} for run in runs}
        for study, runs in studies.items()
    }


def _run_of(study: Path, value: Any) -> Run:
    """Loads the run of a value. Its folder has the value as params.yaml writes it: 2.0 or 2."""
    names = [str(value), f"{value:g}"] if isinstance(value, float) else [value]
    name = next((name for name in names if (study / name).is_dir()), names[0])
    return Run.load(study / name, name)


def _table(runs: Sequence[Run]) -> list[str]:
    rows = [[run.name, *(f"{run.number(place):.3f}" for place in NUMBERS.values())] for run in runs]
    chance = runs[0].number(("leakage", "chance"))
    real = {"spread in a class": runs[0].number(("real", "spread"))}
    real |= {"leakage, logistic": chance, "leakage, MLP": chance}
    rows.append(["*real images; chance*", *(f"{real[head]:.3f}" if head in real else "–" for head in NUMBERS)])
    return markdown_table(["", *NUMBERS], rows)


def _draw_study(folder: Path, study: str, runs: Sequence[Run], store: ImageStore) -> list[str]:
    """Draws the figures of a study and returns the names of their files."""
    title, names, drawn = TITLES[study], [run.name for run in runs], []

    def path_of(name: str) -> Path:
        drawn.append(f"{study}-{name}.png")
        return folder / drawn[-1]

    losses = {run.name: (run.curve[:, 0], run.curve[:, 1]) for run in runs}
    log_y = study != "loss"
    labels = plots.Labels(title, "epoch", "loss while training")
    plots.save_curves(path_of("losses"), losses, labels, log_y=log_y)
    if study == "sigma":
        final = {"while training": NUMBERS["loss while training"], "without noise": NUMBERS["L1 + L2"]}
        _draw_over_sigma(path_of("final-loss"), runs, final)
        shown = ("leakage, logistic", "leakage, MLP", "content kept", "L1 + L2")
        tradeoff = {name: NUMBERS[name] for name in shown} | {"chance": ("leakage", "chance")}
        _draw_over_sigma(path_of("trade-off"), runs, tradeoff)
    originals = store.train[runs[0].chosen[:COLUMNS]]
    rows = [originals, *(run.images["reconstructed"] for run in runs)]
    figures.save_grid(path_of("reconstructions"), rows, f"{title}: reconstructions", ["original", *names])
    rows = [
        np.concatenate([originals[index][None], run.images["converted"][index]])
        for index in range(CONVERTED)
        for run in runs
    ]
    classes = ["image", *drawable(store.classes, "class")]
    figures.save_grid(path_of("conversions"), rows, f"{title}: one image in every class", names * CONVERTED, classes)
    rows = [run.images["scratch"][:, 0] for run in runs]
    figures.save_grid(path_of("scratch"), rows, f"{title}: random content in every class", names)
    return drawn


def _draw_over_sigma(path: Path, runs: Sequence[Run], places: dict[str, Sequence[str]]) -> None:
    """Draws curves of numbers over σ. The values of σ are evenly spaced on the axis."""
    x, none = np.arange(len(runs)), np.zeros(len(runs))
    curves = {name: (x, np.array([run.number(place) for run in runs]), none) for name, place in places.items()}
    plots.save_bands(path, curves, plots.Labels(TITLES["sigma"], "σ"), x_ticks=[run.name for run in runs])
