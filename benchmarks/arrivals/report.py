"""Writes the report: tables and a figure for each scenario, from results.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from iglo.files.io import whole_file
from iglo.files.markdown import markdown_table
from iglo.report.axes import Labels
from iglo.report.plots import save_bands

INTRODUCTION = """\
# Images that arrive later: what is forgotten, learned and saved

A first run learns some images. Then other images arrive, in turn. Each arrival starts from the model before it and is
learned in one of three ways:

- *images*: earlier images are replayed.
- *generated*: no earlier image is opened. Renders are replayed: for each earlier code, what the generator rendered when
  it had just learned it; and what the model before renders of codes between earlier codes.
- *none*: nothing is replayed.

*From scratch* learns all images together, as a first run does. Its generator sees as many images as the generator of
*images* in its first run and all arrivals together.

    python -m benchmarks.arrivals --frogs FOLDER --emoji FOLDER --loss-weights FILE --judge-weights FILE

measures what has no result yet, and writes this page from `results.json`.

The settings are those of the presets, with one exception: on frogs, *generated* has `generator_rate: 2e-3` and
`earlier_weight: 2`. Methods and seeds that are not in a table were not run.

- **PSNR** is a mean over images, in dB: of G(z) for training images, of G(E(x)) for test images.
- **Forgotten**: PSNR of the training images of the first run after the first run, minus that at the end. It is negative
  if they became better.
- **Images seen** counts the images that the generator renders in training, and those that the encoder sees when it is
  trained alone. *Cost* divides it by an estimate for learning all images up to then anew: the number of the first run,
  times all images over those of the first run.
- **Seconds** are those of one thread on a machine that had other work to do, so they are rough. They are left out where
  a training was stopped in between.
- With several seeds, ± is the standard deviation over the seeds.
"""
TITLES = {
    "digits": "Digits: 500, then four times 250, then one",
    "classes": "Digits 0 to 4, then 5 to 9",
    "frogs": "Frogs, 32×32: 500, then four times 250, then emoji",
}
METHODS = ("images", "generated", "none")
Runs = Mapping[str, Mapping[str, Mapping]]  # seed → method → result


def write_report(folder: Path, record: Mapping[str, Runs]) -> None:
    """Writes report.md, and NAME.png for each scenario."""
    for name, title in TITLES.items():
        if name in record:
            _draw(folder / f"{name}.png", title, record[name])
    with whole_file(folder / "report.md") as partial:
        partial.write_text(report_text(record), encoding="utf-8")


def report_text(record: Mapping[str, Runs]) -> str:
    """Returns the report as Markdown."""
    lines = [INTRODUCTION]
    for name, title in TITLES.items():
        if name in record:
            lines += [f"## {title}", "", *_scenario(record[name]), f"![PSNR after each arrival]({name}.png)", ""]
    return "\n".join(lines)


def _scenario(runs: Runs) -> list[str]:
    methods = [method for method in METHODS if _of(runs, method)]
    tables = (_summary, _seen_by_network, _by_group, _costs)
    return [line for table in tables for line in table(runs, methods)]


def _of(runs: Runs, method: str) -> list[list[Mapping]]:
    """Returns the steps of a method, for each seed that has it."""
    return [run[method]["steps"] for _, run in sorted(runs.items()) if method in run]


def _summary(runs: Runs, methods: Sequence[str]) -> list[str]:
    """Compares the methods after the last arrival that training from scratch counts."""
    scratch = _of(runs, "scratch")
    shortest = min(len(run) for method in methods for run in _of(runs, method))
    counted = len(scratch[0][0]["groups"]) if scratch else shortest
    rows = []
    for method in methods:
        steps = [run[:counted] for run in _of(runs, method)]
        ends = [run[-1]["groups"] for run in steps]
        first = next(iter(ends[0]))
        key = "train", "psnr"
        before = [_value(run[0]["groups"], first, *key) for run in steps]
        forgotten = np.subtract(before, [_value(end, first, *key) for end in ends])
        tests = np.subtract(
            [_value(run[0]["groups"], first, "test", "psnr") for run in steps],
            [_value(end, first, "test", "psnr") for end in ends],
        )
        rows.append([method, _text(before), _text(forgotten), _text(tests), *_ends(ends)])
    if scratch:
        rows.append(["from scratch", "", "", "", *_ends([run[0]["groups"] for run in scratch])])
    header = [
        *("", "first images after the first run", "forgotten", "forgotten, test images of the first run"),
        *("all training images at the end", "all test images at the end"),
    ]
    return [*markdown_table(header, rows), ""]


def _ends(ends: Sequence[Mapping]) -> list[str]:
    return [_text([_mean(end, part, "psnr") for end in ends]) for part in ("train", "test")]


def _seen_by_network(runs: Runs, methods: Sequence[str]) -> list[str]:
    """Shows LPIPS and kernel distance of the images of the first run, after it and at the end."""
    rows = []
    for method in methods:
        for part in ("train", "test"):
            row = [method, {"train": "training", "test": "test"}[part]]
            for key, digits in (("distance", 4), ("kd", 4)):
                for index in (0, -1):
                    row.append(_text([_seen(run)[index][part][key] for run in _of(runs, method)], digits))
            rows.append(row)
    heads = ["", "images of the first run", "LPIPS after the first run", "at the end", "kernel distance", "at the end"]
    return [*markdown_table(heads, rows), ""]


def _seen(run: Sequence[Mapping]) -> list[Mapping]:
    """Returns the numbers of the first group in the steps in which the feature network saw it."""
    firsts = [next(iter(step["groups"].values())) for step in run]
    return [first for first in firsts if "kd" in first["train"]]


def _by_group(runs: Runs, methods: Sequence[str]) -> list[str]:
    """Shows the new images of each arrival: before they are learned, after, and at the end."""
    rows = []
    for method in methods:
        steps = _of(runs, method)
        for index in range(1, len(steps[0])):
            name = list(steps[0][index]["groups"])[-1]
            own = [run[index] for run in steps]
            rows.append([
                method,
                name,
                _text([step["transfer"].get("psnr", np.nan) for step in own]),
                _text([step["groups"][name]["test"].get("psnr", np.nan) for step in own]),
                _text([step["groups"][name]["train"]["psnr"] for step in own]),
                _text([run[-1]["groups"][name]["train"]["psnr"] for run in steps]),
                _text([_value(step["groups"], next(iter(step["groups"])), "train", "psnr") for step in own]),
            ])  # fmt: skip
    header = [
        *("", "arrival", "its test images before", "and after", "its training images", "at the end"),
        "training images of the first run",
    ]
    return [*markdown_table(header, rows), ""]


def _costs(runs: Runs, methods: Sequence[str]) -> list[str]:
    rows = []
    for method in methods:
        steps = _of(runs, method)
        first = steps[0][0]
        sizes = [group["train"]["count"] for group in steps[0][-1]["groups"].values()]
        for index in range(1, len(steps[0])):
            step, name = steps[0][index], list(steps[0][index]["groups"])[-1]
            union = sum(sizes[: index + 1]) / sizes[0]
            seen = step["images_seen"] + step["encoder_images_seen"]
            anew = (first["images_seen"] + first["encoder_images_seen"]) * union
            times = [run[index].get("seconds", np.nan) for run in steps]
            firsts = [run[0]["seconds"] * union for run in steps]
            shares = np.divide(times, firsts)
            mean = ["" if np.isnan(times).any() else f"{np.mean(each):.{n}f}" for each, n in ((shares, 2), (times, 0))]
            rows.append([method, name, f"{seen:,}", f"{anew:,.0f}", f"{seen / anew:.2f}", *mean])
    header = ["", "arrival", "images seen", "learning all anew", "cost", "cost in seconds", "seconds"]
    return [*markdown_table(header, rows), ""]


def _value(groups: Mapping, name: str, part: str, key: str) -> float:
    return groups[name][part][key]


def _mean(groups: Mapping, part: str, key: str) -> float:
    """Returns the mean over all images of all groups."""
    known = [(group[part][key], group[part]["count"]) for group in groups.values() if group[part]]
    if not known:
        return float("nan")
    values, counts = zip(*known, strict=True)
    return float(np.average(values, weights=counts))


def _text(values: Sequence[float], digits: int = 2) -> str:
    if np.isnan(values).any():
        return ""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _draw(path: Path, title: str, runs: Runs) -> None:
    """Draws the PSNR of the first images and of the newest images after each arrival."""
    curves, dashed, ticks = {}, {}, []
    for method in METHODS:
        if not (steps := _of(runs, method)):
            continue
        names = ["first run", *(list(step["groups"])[-1] for step in steps[0][1:])]
        ticks = max(ticks, names, key=len)
        first = next(iter(steps[0][0]["groups"]))
        old = np.array([[step["groups"][first]["train"]["psnr"] for step in run] for run in steps])
        new = np.array([[list(step["groups"].values())[-1]["train"]["psnr"] for step in run] for run in steps])
        x = np.arange(len(names))
        spread = [each.std(0, ddof=1) if len(steps) > 1 else np.zeros(len(names)) for each in (old, new)]
        curves[method], dashed[method] = (x, old.mean(0), spread[0]), (x, new.mean(0), spread[1])
    labels = Labels(f"{title}: first images (solid), newest images (dashed)", "", "PSNR of training images, dB")
    save_bands(path, curves, labels, dashed, x_ticks=ticks)
