"""What σ, decay, loss and start do to class and content: each value's run beside the others, as tables and figures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from iglo.data.store import ImageStore
from iglo.disentangle.renders import Renders
from iglo.files.io import read_array, read_json, whole_file, write_array, write_json
from iglo.params.sections import ClassContentParams, SweepParams, parse_params
from iglo.report import figures, plots
from iglo.report.fonts import drawable

COLUMNS = 12  # images of a row
CONVERTED = 2  # images whose conversions are shown
TITLES = {
    "sigma": "Noise on the content codes: σ",
    "decay": "Decay of the content codes",
    "loss": "Loss",
    "content_init": "Start of the content codes",
}
PLACES = {"loss": ("loss", "name"), "content_init": ("latent", "content_init")}  # in params, where not at the top
NUMBERS = {  # of the table and of metrics
    "loss while training": ("final", "reconstruction"),
    "L1 + L2": ("train", "l1_l2"),
    "spread in a class": ("train", "spread"),
    "leakage, logistic": ("leakage", "logistic"),
    "leakage, MLP": ("leakage", "mlp"),
    "content kept": ("conversion", "content_kept"),
    "conversion": ("conversion", "recognised_of_judge"),
    "scratch, N(0, I)": ("scratch", "normal", "recognised_of_judge"),
    "scratch, fitted": ("scratch", "gaussian", "recognised_of_judge"),
}


def changed(params: ClassContentParams, study: str, value: Any) -> ClassContentParams:
    """The params of a study's run; UserError where the value makes no sense."""
    values = asdict(params)
    *sections, key = PLACES.get(study, (study,))
    place = values
    for section in sections:
        place = place[section]
    place[key] = value
    return parse_params(_lists(values), ClassContentParams)


def _lists(values: Any) -> Any:
    """Plain values with lists where dataclasses have tuples."""
    if isinstance(values, dict):
        return {key: _lists(value) for key, value in values.items()}
    return [_lists(value) for value in values] if isinstance(values, (list, tuple)) else values


def save_run(folder: Path, drawn: Renders, values: dict, rows: Sequence[dict]) -> None:
    """What the report needs of one run: its numbers, its curve and a few 8-bit images."""
    final = {key: value for key, value in rows[-1].items() if key not in ("epoch", "images_seen", "loss")}
    write_json(folder / "numbers.json", values | {"final": final})
    write_array(folder / "curve.npy", np.array([[row["epoch"], row["reconstruction"]] for row in rows]))
    images = {
        "reconstructed": drawn.reconstructed[drawn.chosen[:COLUMNS]],
        "converted": drawn.converted[:CONVERTED],
        "scratch": drawn.scratch["gaussian"][:, :1],
    }
    for name, array in images.items():
        write_array(folder / f"{name}.npy", (array * 255).round().astype(np.uint8))
    write_array(folder / "chosen.npy", drawn.chosen)


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        curve: (E, 2) epoch and loss while training.
        images: as `save_cell` names them, uint8.
        chosen: ids of the images that are reconstructed and converted.
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
        value = self.numbers
        for key in place:
            value = value[key]
        return value


def write_sweep_report(
    path: Path, figures_folder: Path, runs: Path, params: ClassContentParams, store: ImageStore
) -> dict:
    """Writes report.md and its figures; returns study → value → number → value.

    Args:
        runs: a folder `<study>/<value>` for each run.

    Raises:
        UserError: naming a file that is missing.
    """
    studies = {
        field.name: [_run_of(runs / field.name, value) for value in getattr(params.sweep, field.name)]
        for field in fields(SweepParams)
    }
    lines = [
        "# Class and content: what each value does",
        "",
        f"{store.train_count:,} training images, {params.train.epochs} epochs each, seed {params.seed}, "
        f"{params.combine}. Loss while training: with noise, its mean over the last epoch. L1 + L2: of reconstructions "
        "from the codes as they are, images in [0, 1]. Spread: variance of a pixel across the reconstructions of a "
        "class. Leakage: share of images whose class is predicted from their content code. Content kept: R² of the "
        "content that the encoder reads from conversions. Conversion and scratch: share that the classifier "
        "recognises, over its own accuracy.",
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
    """The run of a value, whose folder is named as the value was written: 2.0 or 2."""
    names = [str(value), f"{value:g}"] if isinstance(value, float) else [value]
    name = next((name for name in names if (study / name).is_dir()), names[0])
    return Run.load(study / name, name)


def _table(runs: Sequence[Run]) -> list[str]:
    lines = [["", *NUMBERS], ["---"] * (len(NUMBERS) + 1)]
    lines += [[run.name, *(f"{run.number(place):.3f}" for place in NUMBERS.values())] for run in runs]
    real = {"spread in a class": runs[0].number(("real", "spread"))}
    chance = runs[0].number(("leakage", "chance"))
    real |= {"leakage, logistic": chance, "leakage, MLP": chance}
    lines.append(["*real images; chance*", *(f"{real[title]:.3f}" if title in real else "–" for title in NUMBERS)])
    return [f"| {' | '.join(line)} |" for line in lines]


def _draw_study(folder: Path, study: str, runs: Sequence[Run], store: ImageStore) -> list[str]:
    """Draws a study's figures; returns the names of their files."""
    title, names = TITLES[study], [run.name for run in runs]
    drawn = {}
    losses = {run.name: (run.curve[:, 0], run.curve[:, 1]) for run in runs}
    drawn[f"{study}-losses.png"] = lambda path: plots.save_curves(
        path, losses, plots.Labels(title, "epoch", "loss while training"), log_y=study != "loss"
    )
    if study == "sigma":
        drawn["sigma-final-loss.png"] = lambda path: _against(
            path, runs, {"while training": NUMBERS["loss while training"], "from codes as they are": NUMBERS["L1 + L2"]}
        )
        shown = ("leakage, logistic", "leakage, MLP", "content kept", "L1 + L2")
        tradeoff = {name: NUMBERS[name] for name in shown} | {"chance": ("leakage", "chance")}
        drawn["sigma-trade-off.png"] = lambda path: _against(path, runs, tradeoff)
    originals = store.train[runs[0].chosen[:COLUMNS]]
    drawn[f"{study}-reconstructions.png"] = lambda path: figures.save_grid(
        path,
        [originals, *(run.images["reconstructed"] for run in runs)],
        f"{title}: reconstructions",
        ["original", *names],
    )
    drawn[f"{study}-conversions.png"] = lambda path: figures.save_grid(
        path,
        [row for index in range(CONVERTED) for row in _conversion_rows(runs, originals, index)],
        f"{title}: one image in every class",
        [name for _ in range(CONVERTED) for name in names],
        ["image", *drawable(store.classes, "class")],
    )
    drawn[f"{study}-scratch.png"] = lambda path: figures.save_grid(
        path, [run.images["scratch"][:, 0] for run in runs], f"{title}: random content in every class", names
    )
    for name, draw in drawn.items():
        draw(folder / name)
    return list(drawn)


def _conversion_rows(runs: Sequence[Run], originals: np.ndarray, index: int) -> list[np.ndarray]:
    return [np.concatenate([originals[index][None], run.images["converted"][index]]) for run in runs]


def _against(path: Path, runs: Sequence[Run], places: dict[str, Sequence[str]]) -> None:
    """Numbers against σ, evenly spaced."""
    x, none = np.arange(len(runs)), np.zeros(len(runs))
    curves = {name: (x, np.array([run.number(place) for run in runs]), none) for name, place in places.items()}
    plots.save_bands(path, curves, plots.Labels(TITLES["sigma"], "σ"), x_ticks=[run.name for run in runs])
