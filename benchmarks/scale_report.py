"""Writes the measurements of `scale.py` as tables and a plot, and the plan of a larger run."""

import csv
import dataclasses
import math
import re
import tempfile
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from iglo.report import figures, plots

SKIPPED = ("modules", "check", "fetch")  # their time does not depend on the number of images
ALLOWANCE = 4096  # MiB, the largest memory of a stage
TARGET = 1.05  # largest slope of seconds against images, both logarithmic
LARGE_RUNS = (1_000_000, 100_000_000)  # images


class Row(NamedTuple):
    """Time and memory of a stage without its imports; with one thread on a quiet machine, both times are equal."""

    run: str  # growth | ceiling
    images: int
    stage: str
    cpu_seconds: float
    seconds: float
    peak_mib: int  # resident
    private_mib: int  # the part that is not a page of a file

    @classmethod
    def of(cls, run: str, images: str, stage: str, cpu: str, seconds: str, peak: str, private: str) -> "Row":
        return cls(run, int(images), stage, float(cpu), float(seconds), int(peak), int(private))


COLUMNS = Row._fields


def read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [Row.of(*cells) for cells in list(csv.reader(file))[1:] if cells[2] not in SKIPPED]


def write_report(out: Path, rows: Sequence[Row], plan: "Plan") -> None:
    """Draws scale.png and writes the tables into scale.md between their marks; the other text stays."""
    growth = summed([row for row in rows if row.run == "growth"])
    ceiling = [row for row in rows if row.run == "ceiling"]
    tables = {"plan": plan.table()}
    if ceiling:
        tables["ceiling"] = ceiling_table(ceiling)
    if len({row.images for row in growth}) > 1:
        draw(out / "scale.png", growth)
        tables |= {"seconds": seconds_table(growth), "memory": memory_table(growth), "hours": hours_table(growth)}
    page = out / "scale.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "![growth](scale.png)\n"
    for name, table in tables.items():
        opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if opening not in text:
            text += f"\n{opening}\n{closing}\n"
        text = re.sub(f"{opening}.*?{closing}", lambda _, t=f"{opening}\n{table}\n{closing}": t, text, flags=re.DOTALL)
    page.write_text(text, encoding="utf-8")


# --- Growth ---


def summed(rows: Sequence[Row]) -> list[Row]:
    """Joins the rounds of a stage to one row: the sum of their seconds and the maximum of their memory."""
    together: dict[tuple, list[Row]] = {}
    for row in rows:
        together.setdefault((row.run, row.images, row.stage.split("@")[0]), []).append(row)
    return [
        Row(
            *key,
            sum(row.cpu_seconds for row in group),
            sum(row.seconds for row in group),
            max(row.peak_mib for row in group),
            max(row.private_mib for row in group),
        )
        for key, group in together.items()
    ]


def series(rows: Sequence[Row], column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns, for each stage, the numbers of images, ascending, and the values of a column."""
    found = {}
    for stage in dict.fromkeys(row.stage for row in rows):
        points = sorted((row.images, max(getattr(row, column), 0.001)) for row in rows if row.stage == stage)
        found[stage] = tuple(np.array(points, dtype=np.float64).T)
    return found


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the slope of the least-squares line of log y against log x: y ∝ x^slope."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def seconds_table(rows: Sequence[Row]) -> str:
    counts = sorted({row.images for row in rows})
    heads = ["stage", *(f"{count:,}" for count in counts), "slope, all", f"slope from {counts[-2]:,} on"]
    lines = []
    for stage, (x, y) in series(rows, "cpu_seconds").items():
        last = slope(x[-2:], y[-2:])
        lines.append([stage, *(f"{value:.2f}" for value in y), f"{slope(x, y):.2f}", _flagged(last, TARGET)])
    return markdown_table(heads, lines)


def memory_table(rows: Sequence[Row]) -> str:
    counts = sorted({row.images for row in rows})
    heads = ["stage", *(f"{count:,}" for count in counts), "slope, all", f"slope from {counts[-2]:,} on"]
    private, lines = series(rows, "private_mib"), []
    for stage, (x, y) in series(rows, "peak_mib").items():
        pairs = [f"{whole:.0f} ({own:.0f})" for whole, own in zip(y, private[stage][1], strict=True)]
        lines.append([stage, *pairs, f"{slope(x, y):.2f}", f"{slope(x[-2:], y[-2:]):.2f}"])
    return markdown_table(heads, lines)


def hours_table(rows: Sequence[Row]) -> str:
    """Returns the hours of larger runs, computed from the seconds per image of the largest measured run."""
    largest = max(row.images for row in rows)
    rates = {row.stage: row.cpu_seconds / largest for row in rows if row.images == largest}
    rates["together"] = sum(rates.values())
    heads = ["stage", f"s per 1,000 images at {largest:,}", *(f"hours, {count:,}" for count in LARGE_RUNS)]
    lines = [[s, f"{1000 * r:.2f}", *(f"{r * n / 3600:,.1f}" for n in LARGE_RUNS)] for s, r in rates.items()]
    return markdown_table(heads, lines)


def ceiling_table(rows: Sequence[Row]) -> str:
    heads = ["stage", "CPU seconds", "seconds", "peak MiB", "of it private", f"under {ALLOWANCE} MiB"]
    lines = [
        [
            row.stage,
            f"{row.cpu_seconds:.1f}",
            f"{row.seconds:.1f}",
            row.peak_mib,
            row.private_mib,
            "yes" if row.peak_mib < ALLOWANCE else "**no**",
        ]
        for row in rows
    ]
    return f"{rows[0].images:,} images.\n\n" + markdown_table(heads, lines)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draws seconds and memory against images, with logarithmic axes."""
    seconds = series(rows, "cpu_seconds")
    x = next(iter(seconds.values()))[0]
    seconds["proportional"] = x, x / x[0] * 0.02
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name, "seconds.png"), Path(name, "memory.png")]
        for file, curves, label, title in (
            (files[0], seconds, "CPU seconds", "CPU seconds of each stage"),
            (files[1], series(rows, "peak_mib"), "MiB", "Largest resident set of each stage"),
        ):
            plots.save_curves(file, curves, plots.Labels(title, "training images", label), log_y=True, log_x=True)
        figures.save_stacked(path, [np.asarray(Image.open(file).convert("RGB")) for file in files])


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (heads, rule, *lines))


def _flagged(value: float, limit: float) -> str:
    return f"{value:.2f}" if value <= limit else f"**{value:.2f}**"


# --- Plan ---


@dataclass(frozen=True)
class Plan:
    """Assumptions about a larger run; each field is an option of the benchmark."""

    side: int = 64  # pixels a side, s
    channels: int = 3  # C
    dimension: int = 100  # dimension of a code, d
    features: int = 2048  # dimension of the features of ResNet-50, D
    components: int = 100  # components of the PCA, P
    width: int = 64  # width of the generator
    batch: int = 75  # images in a step of each device, B
    epochs: int = 100  # E; in each, an image is seen twice: with its clean and with its noisy code
    cpu_rate: float = 142  # images/s, r; from make bench on two cores with the VGG-16 perceptual loss
    gpu_rate: float = 21_200  # images/s, r; from step.py on one H200: batch 75, the loop for a minute, the same loss

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        for field in dataclasses.fields(cls):
            group.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)

    @classmethod
    def of(cls, arguments: Namespace) -> "Plan":
        return cls(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(cls)})

    def table(self) -> str:
        """Returns a table of storage, memory, devices and network traffic of the large runs, with formulas."""
        from iglo.models.networks import Generator  # imported late, so that no stage starts from a process with torch

        network = Generator(self.dimension, self.side, self.channels, self.width)
        weights = sum(parameter.numel() for parameter in network.parameters())
        row = 4 * (3 * self.dimension + 1)

        def devices(count: int) -> int:
            return math.ceil(2 * count * self.epochs / (self.gpu_rate * 86_400))

        def sent(count: int) -> float:
            return 2 * (devices(count) - 1) / devices(count) * 4 * weights

        lines: list[tuple[str, str, Callable[[int], str]]] = [
            ("images", "N·s²·C bytes", lambda n: _bytes(n * self.side**2 * self.channels)),
            ("features", "4·N·D bytes", lambda n: _bytes(4 * n * self.features)),
            ("PCA points, first round", "4·N·P bytes", lambda n: _bytes(4 * n * self.components)),
            ("codes", "4·N·d bytes", lambda n: _bytes(4 * n * self.dimension)),
            ("codes, two moments, step counts", "4·N·(3 d + 1) bytes", lambda n: _bytes(row * n)),
            ("images seen", "2·N·E", lambda n: f"{2 * n * self.epochs:.2g}"),
            (
                f"days at {self.cpu_rate:g} images/s (CPU, measured)",
                "2·N·E / (r · 86400)",
                lambda n: f"{2 * n * self.epochs / (self.cpu_rate * 86_400):,.0f}",
            ),
            (f"GPUs for one day, R, at {self.gpu_rate:,g} images/s (H200, measured)", "⌈2·N·E / (r · 86400)⌉", devices),
            ("codes and their optimizer on each", "4·N·(3 d + 1) / R bytes", lambda n: _bytes(row * n / devices(n))),
            ("steps of an epoch", "N / (B·R)", lambda n: f"{n / (self.batch * devices(n)):,.0f}"),
            ("sent by each GPU in a step", "2 (R − 1)/R · 4·W bytes", lambda n: _bytes(sent(n))),
            (
                "sent by each GPU in a second",
                "2 (R − 1)/R · 4·W · r / (2·B) bytes",
                lambda n: _bytes(sent(n) * self.gpu_rate / (2 * self.batch)),
            ),
        ]
        heads = ["", "formula", *(f"{count:,} images" for count in LARGE_RUNS)]
        table = markdown_table(heads, [[name, formula, *map(value, LARGE_RUNS)] for name, formula, value in lines])
        return f"{self._assumed(weights)}\n\n{table}"

    def _assumed(self, weights: int) -> str:
        return (
            f"s = {self.side} pixels, C = {self.channels}, D = {self.features:,}, P = {self.components}, "
            f"d = {self.dimension}, W = {weights:,} weights of the generator (width {self.width}), B = {self.batch}, "
            f"E = {self.epochs}, fp32 gradients in a ring all-reduce."
        )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
