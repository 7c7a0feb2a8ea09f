"""Several ways to learn a generator side by side, over seeds: what was measured of each, as one report with figures.

A cell is one row, that is one way, with one seed. A metric is named by its place in numbers.json without the judge's
name, as `train.recon.lpips`; what timing.json holds is named `timing.learn.seconds`.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from iglo import figures
from iglo.errors import UserError
from iglo.files import read_array, read_json, whole_file

COLUMNS = 12  # images beside one another in a figure
TARGET = "paper_as_run"  # the row whose final PSNR the others are to reach
INVERTED = ("paper_fixed", "glo", "continuity")  # rows shown against steps of inversion, with the first joint one
PROMINENT = ("paper_as_run", "paper_fixed")  # rows of the main figure, with the two that reconstruct best
STEPS = (0, 10, 50, 200, 500)  # of inversion

LEARNING = ("learn", "encoder")  # the timed stages of every arm
CURVE = ("presented", "seconds", "psnr")
ARRAYS = ("reconstructions", "paths", "encoder_train", "encoder_test", "samples", "neighbours")
BOUNDS = {"floor": "floor: real images", "ceiling": "ceiling: noise"}
JUDGED = ("lpips", "ppl", "jerkiness", "midpoint_realism", "kd", "fd", "precision", "recall", "novelty")

# --- Cells ---


@dataclass(frozen=True)
class Row:
    """One of the ways compared.

    Attributes:
        name: as in the names of its folders and in claims.
        title: a few words, for tables and figures.
        about: one clause on what it does.
        arm: the arm whose learning it goes on from, which is its own name unless it adds a stage.
    """

    name: str
    title: str
    about: str
    arm: str


@dataclass(frozen=True)
class Folders:
    """Where the stages of the comparison have left what they measured.

    Attributes:
        measured: a folder `<row>-<seed>` for each cell, and `reference`.
        curves: `<arm>-<seed>.csv`.
        times: `<stage>/<arm>-<seed>.json`, and `measure/<row>-<seed>.json`.
    """

    measured: Path
    curves: Path
    times: Path


@dataclass(frozen=True)
class Cell:
    """What was measured of one row with one seed.

    Attributes:
        values: metric → number.
        curve: `presented`, `seconds` and `psnr` (dB), each (P,), at every measuring point.
        arrays: the images, uint8, and `neighbours`, by their files' names; mapped read-only.
    """

    values: Mapping[str, float]
    curve: Mapping[str, np.ndarray]
    arrays: Mapping[str, np.ndarray]


def load_cells(folders: Folders, rows: Sequence[Row], seeds: Sequence[int]) -> dict[str, list[Cell]]:
    """Each row's cells in the order of the seeds; UserError naming a cell or file that is missing or broken."""
    return {row.name: [_load_cell(folders, row, seed) for seed in seeds] for row in rows}


def _load_cell(folders: Folders, row: Row, seed: int) -> Cell:
    folder = folders.measured / f"{row.name}-{seed}"
    if not folder.is_dir():
        raise UserError(f"{folder}: this row has not been measured with this seed; measure it, or leave the row out.")
    stages = [*LEARNING, *(["joint"] if row.name != row.arm else [])]
    files = {stage: folders.times / stage / f"{row.arm}-{seed}.json" for stage in stages}
    files["measure"] = folders.times / "measure" / f"{row.name}-{seed}.json"
    timing = flat_numbers({stage: read_json(path) for stage, path in files.items()}, "timing.")
    values = flat_numbers(read_json(folder / "numbers.json")) | timing
    arrays = {name: read_array(folder / f"{name}.npy", mmap=True) for name in ARRAYS}
    return Cell(values, _read_curve(folders.curves / f"{row.arm}-{seed}.csv"), arrays)


def _read_curve(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            points = np.array([[float(point[name]) for name in CURVE] for point in csv.DictReader(handle)])
        return dict(zip(CURVE, points.T, strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no curve of {', '.join(CURVE)} ({error}); measure again.") from None


def flat_numbers(nested: Mapping, prefix: str = "") -> dict[str, float]:
    """Nested numbers by their dotted place, without the judge's name.

    Of one metric under several judges the first counts, and none that was trained on.
    """
    flat: dict[str, float] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, f"{prefix}{key}.")
        elif not key.endswith("_trained_on"):
            flat.setdefault(prefix + _without_judge(key), value)
    return flat


def _without_judge(key: str) -> str:
    return next((name for name in JUDGED if key.startswith(f"{name}_")), key)


@dataclass(frozen=True)
class Reference:
    """What the rows are held against.

    Attributes:
        about: `judge`, `trained_on`, `machine`, `train`, `test`, `image_size`, `budget`.
        bounds: `floor` (real images) and `ceiling` (noise), each metric → number.
        split: `coverage`, `coverage_random`, `distance`, `distance_random`.
        train, test: (12, H, W, C) uint8, the originals of the cells' images.
    """

    about: Mapping
    bounds: Mapping[str, Mapping[str, float]]
    split: Mapping[str, float]
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        numbers = read_json(folder / "numbers.json")
        bounds = {name: flat_numbers(numbers[name], "samples.") for name in BOUNDS}
        images = [read_array(folder / f"{part}.npy") for part in ("train", "test")]
        return cls(numbers, bounds, numbers["split"], *images)


# --- Numbers over seeds ---

Values = Mapping[str, Mapping[str, np.ndarray]]  # row → metric → (S,) float64 in the order of the seeds


def values_by_seed(cells: Mapping[str, Sequence[Cell]]) -> dict[str, dict[str, np.ndarray]]:
    """Row → metric → (S,); a metric that a seed lacks is left out.

    With the presentations and seconds to the target, where the row TARGET is among them: `presented_to_target` and
    `seconds_to_target`, infinite where a row never reaches the final PSNR of TARGET with the same seed.
    """
    values = {}
    for row, of_row in cells.items():
        common = [name for name in of_row[0].values if all(name in cell.values for cell in of_row)]
        values[row] = {name: np.array([cell.values[name] for cell in of_row], np.float64) for name in common}
        for axis in ("presented", "seconds") if TARGET in cells else ():
            reached = [
                first_crossing(cell.curve[axis], cell.curve["psnr"], target.curve["psnr"][-1])
                for cell, target in zip(of_row, cells[TARGET], strict=True)
            ]
            values[row][f"{axis}_to_target"] = np.array(reached)
    return values


def first_crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """The x at which y, linear between its points, first reaches `level`; infinite where it never does."""
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.inf
    around = slice(max(reached[0] - 1, 0), reached[0] + 1)
    return float(np.interp(level, y[around], x[around]))


def mean_std(values: np.ndarray) -> tuple[float, float | None]:
    """Mean and sample standard deviation of (S,) values; None with one seed."""
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def summary(values: Values) -> dict[str, dict[str, dict[str, float | None]]]:
    """Row → metric → `mean` and `std`; without what is not finite with every seed, as JSON has no place for it."""
    return {
        row: {
            name: dict(zip(("mean", "std"), mean_std(numbers), strict=True))
            for name, numbers in of_row.items()
            if np.isfinite(numbers).all()
        }
        for row, of_row in values.items()
    }


# --- Numbers as text ---


@dataclass(frozen=True)
class Measure:
    """How a kind of number is written.

    Attributes:
        better: which is best of a column, the nearest to 1 being `one`; "" where none is.
        decimals: None for three significant digits.
    """

    unit: str = ""
    better: Literal["higher", "lower", "one", ""] = ""
    decimals: int | None = None

    def shown(self, values: np.ndarray, otherwise: str = "never") -> str:
        """Mean ± standard deviation of (S,) values, over those that are finite; `otherwise` where none is."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return otherwise
        mean, std = mean_std(finite)
        decimals = _decimals(max(abs(mean), std or 0)) if self.decimals is None else self.decimals
        text = f"{mean:,.{decimals}f}" + ("" if std is None else f" ± {std:,.{decimals}f}")
        return text + (f" ({len(finite)} of {len(values)} seeds)" if len(finite) < len(values) else "")


MEASURES = {  # by the last part of a metric's name
    "psnr": Measure("dB", "higher", 2),
    "ssim": Measure("", "higher", 3),
    "l1": Measure("", "lower"),
    "lpips": Measure("", "lower"),
    "presented_to_target": Measure("", "lower"),
    "seconds_to_target": Measure("s", "lower"),
    "ppl": Measure("", "lower"),
    "jerkiness": Measure("", "one", 2),
    "midpoint_realism": Measure("", "one", 2),
    "kd": Measure("", "lower"),
    "fd": Measure("", "lower"),
    "precision": Measure("", "higher", 3),
    "recall": Measure("", "higher", 3),
    "novelty": Measure("", "one", 2),
    "seconds": Measure("s"),
    "images_per_s": Measure("1/s"),
    "peak_mib": Measure("MiB"),
}
RANKS = {"higher": lambda mean: -mean, "lower": lambda mean: mean, "one": lambda mean: abs(mean - 1)}
ARROWS = {"higher": " ↑", "lower": " ↓", "one": " →1", "": ""}


def measure_of(metric: str) -> Measure:
    return MEASURES.get(metric.rsplit(".", 1)[-1], Measure())


def _decimals(size: float) -> int:
    """Decimals that leave three significant digits of a number of this size, six at most."""
    return min(max(2 - math.floor(math.log10(size)), 0), 6) if size > 0 else 0


# --- Claims ---

Side = tuple[str, str] | float  # (row, metric), or a constant


@dataclass(frozen=True)
class Claim:
    """A statement that the numbers bear out or do not: `left` beside `right`, seed by seed, against a threshold.

    Attributes:
        statement: without a full stop.
        right: 0.0 in a difference leaves the value of `left` itself.
        threshold: of a difference in the unit of `left`.
    """

    statement: str
    left: Side
    operator: Literal["difference at least", "difference at most", "ratio at most"]
    right: Side
    threshold: float


def _psnr(row: str) -> Side:
    return (row, "train.recon.psnr")


CLAIMS = (
    Claim(
        "Our GLO reconstructs 3 dB better than the paper's run", _psnr("glo"), "difference at least", _psnr(TARGET), 3
    ),
    Claim(
        "… and 1.5 dB better than the paper's, mended", _psnr("glo"), "difference at least", _psnr("paper_fixed"), 1.5
    ),
    Claim(
        "It gets to the final PSNR of the paper's run with a fifth of the presentations",
        ("glo", "presented_to_target"),
        "ratio at most",
        (TARGET, "presented"),
        0.2,
    ),
    Claim(
        "Incremental learning is more effective: it reconstructs better than GLO at equal budget",
        _psnr("incremental"),
        "difference at least",
        _psnr("glo"),
        0,
    ),
    Claim(
        "The clustered subsets earn their place: they reconstruct better than random ones",
        _psnr("incremental"),
        "difference at least",
        _psnr("incremental_random"),
        0,
    ),
    Claim(
        "Continuity shortens paths by 30 % against GLO",
        ("continuity", "interpolation.ppl"),
        "ratio at most",
        ("glo", "interpolation.ppl"),
        0.7,
    ),
    Claim(
        "… makes them less jerky",
        ("continuity", "interpolation.jerkiness"),
        "difference at most",
        ("glo", "interpolation.jerkiness"),
        0,
    ),
    Claim(
        "… brings their midpoints nearer to real images",
        ("continuity", "interpolation.midpoint_realism"),
        "ratio at most",
        ("glo", "interpolation.midpoint_realism"),
        1,
    ),
    Claim("… costs at most 0.5 dB of reconstruction", _psnr("glo"), "difference at most", _psnr("continuity"), 0.5),
    Claim(
        "… and brings samples 25 % nearer to held-out images",
        ("continuity", "samples.kd"),
        "ratio at most",
        ("glo", "samples.kd"),
        0.75,
    ),
    Claim(
        "The encoder of codes reconstructs held-out images above 19.7 dB",
        ("continuity", "test.encoder.psnr"),
        "difference at least",
        0.0,
        19.7,
    ),
    Claim(
        "Generator and encoder learned together do better than codes alone",
        ("continuity_joint", "test.encoder.psnr"),
        "difference at least",
        ("continuity", "test.encoder.psnr"),
        0,
    ),
    Claim(
        "The joint encoder comes within 1.5 dB of 500 steps of optimisation from a random code",
        ("continuity_joint", "inversion.random.500.psnr"),
        "difference at most",
        ("continuity_joint", "inversion.encoder.0.psnr"),
        1.5,
    ),
    Claim(
        "The joint encoder with 50 steps is better than 500 steps from a random code",
        ("continuity_joint", "inversion.encoder.50.psnr"),
        "difference at least",
        ("continuity_joint", "inversion.random.500.psnr"),
        0,
    ),
)


def _ratio(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Not a number where `right` is not positive, as no bound holds for such a ratio."""
    return np.divide(left, right, out=np.full_like(left, np.nan), where=right > 0)


OPERATORS = {
    "difference at least": (np.subtract, np.greater_equal),
    "difference at most": (np.subtract, np.less_equal),
    "ratio at most": (_ratio, np.less_equal),
}


def claim_line(claim: Claim, values: Values, titles: Mapping[str, str]) -> str:
    """Whether a claim holds, with every seed or on the mean alone, and the numbers that say so, in markdown."""
    sides = (claim.left, claim.right)
    missing = [_named(side, titles) for side in sides if _numbers(side, values) is None]
    if missing:
        return f"**not measured**: {claim.statement} (missing: {', '.join(dict.fromkeys(missing))})."
    quantity, limit = claim.operator.split(" ", 1)
    measure = measure_of(claim.left[1]) if quantity == "difference" and isinstance(claim.left, tuple) else Measure()
    evidence = [_shown(side, values, titles) for side in sides if side != 0]
    if claim.right != 0:
        evidence.append(f"{quantity} {measure.shown(compared(claim, values), 'infinite')}")
    asked = f"asked for: {limit} {claim.threshold:g} {measure.unit}".rstrip()
    return f"{verdict(claim, values)}: {claim.statement} ({'; '.join([*evidence, asked])})."


def compared(claim: Claim, values: Values) -> np.ndarray:
    """(S,) the differences or ratios of a claim whose sides were both measured."""
    compare, _ = OPERATORS[claim.operator]
    with np.errstate(invalid="ignore"):  # a difference of two that are never reached
        return compare(*np.broadcast_arrays(*(_numbers(side, values) for side in (claim.left, claim.right))))


def verdict(claim: Claim, values: Values) -> str:
    _, within = OPERATORS[claim.operator]
    by_seed = compared(claim, values)
    held, seeds = int(within(by_seed, claim.threshold).sum()), len(by_seed)
    if held == seeds:
        return "**holds**, with every seed"
    if within(by_seed.mean(), claim.threshold):
        return f"**holds** on the mean, but with {held} of {seeds} seeds only"
    return f"**does not hold** on the mean, though with {held} of {seeds} seeds" if held else "**does not hold**"


def _numbers(side: Side, values: Values) -> np.ndarray | None:
    """(S,) of a metric, None where it was not measured; () of a constant."""
    return values.get(side[0], {}).get(side[1]) if isinstance(side, tuple) else np.array(side, np.float64)


def _named(side: Side, titles: Mapping[str, str]) -> str:
    return f"{titles.get(side[0], side[0])} `{side[1]}`" if isinstance(side, tuple) else f"{side:g}"


def _shown(side: Side, values: Values, titles: Mapping[str, str]) -> str:
    number = f" {measure_of(side[1]).shown(_numbers(side, values))}" if isinstance(side, tuple) else ""
    return _named(side, titles) + number


# --- Tables ---


@dataclass(frozen=True)
class Table:
    """Rows × metrics.

    Attributes:
        columns: metric → heading.
        legend: how to read it; `{target}` stands for the title of the row TARGET.
    """

    title: str
    columns: Mapping[str, str]
    legend: str


TABLES = (
    Table(
        "Training images, reconstructed",
        {
            "train.recon.psnr": "PSNR, dB",
            "train.recon.ssim": "SSIM",
            "train.recon.lpips": "LPIPS",
            "presented_to_target": "presentations to the target",
            "seconds_to_target": "seconds to the target",
        },
        "All training images from their own codes, at the end of the budget. The target is the final PSNR of "
        "“{target}” with the same seed; a row reaches it where its curve, linear between measuring points, first does.",
    ),
    Table(
        "Held-out images",
        {
            "test.encoder.psnr": "encoder: PSNR, dB",
            "test.encoder.lpips": "encoder: LPIPS",
            "inversion.encoder.0.psnr": "some: encoder, dB",
            "inversion.encoder.50.psnr": "some: encoder + 50 steps, dB",
            "inversion.encoder.500.psnr": "some: encoder + 500 steps, dB",
            "inversion.random.500.psnr": "some: random + 500 steps, dB",
        },
        "Images that no row has learned, through the encoder alone, G(E(x)): all of them in the first two columns; in "
        "the others some, the same for all rows, after so many steps of optimising the code, from the encoder's code "
        "or from a random one.",
    ),
    Table(
        "Continuity between training codes",
        {
            "interpolation.ppl": "path length",
            "interpolation.jerkiness": "jerkiness",
            "interpolation.midpoint_realism": "midpoint realism",
        },
        "Path length: how fast images change along a path. Jerkiness: the largest step over the mean step, 1 being "
        "perfectly even. Midpoint realism: the midpoints' distance to the nearest training image over that of the "
        "ends, 1 being as near as reconstructions are.",
    ),
    Table(
        "Samples",
        {
            "samples.kd": "kernel distance",
            "samples.fd": "Fréchet distance",
            "samples.precision": "precision",
            "samples.recall": "recall",
            "samples.novelty": "novelty",
        },
        "Images of codes drawn at random, beside held-out images. Novelty: distance to the nearest training image over "
        "that of held-out images, near 0 being memorised. Floor: real images beside real ones; ceiling: noise images "
        "beside real ones.",
    ),
    Table(
        "Cost",
        {
            "presented": "images presented",
            "timing.learn.seconds": "learn, s",
            "timing.encoder.seconds": "encoder, s",
            "timing.joint.seconds": "joint, s",
            "timing.measure.seconds": "measure, s",
            "timing.learn.images_per_s": "learn, images/s",
            "timing.joint.images_per_s": "joint, images/s",
            "timing.learn.peak_mib": "learn, peak MiB",
            "timing.joint.peak_mib": "joint, peak MiB",
        },
        "Seconds of each stage, images learned from per second, and the most memory held.",
    ),
)


def table_lines(
    table: Table, values: Values, titles: Mapping[str, str], bounds: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """The lines of a markdown table, the best mean of each column in bold; columns that no row has are left out.

    Args:
        bounds: lines below those of the rows, title → metric → number; one without any of the columns is left out.
    """
    names = [name for name in table.columns if any(name in of_row for of_row in values.values())]
    best = {name: best_rows(values, name) for name in names}
    lines = [["", *(table.columns[name] + ARROWS[measure_of(name).better] for name in names)]]
    for row, of_row in values.items():
        cells = [measure_of(name).shown(of_row[name]) if name in of_row else "–" for name in names]
        bold = [f"**{cell}**" if row in best[name] else cell for name, cell in zip(names, cells, strict=True)]
        lines.append([titles[row], *bold])
    for title, bound in bounds.items():
        if bound.keys() & set(names):
            cells = [measure_of(name).shown(np.array([bound[name]])) if name in bound else "–" for name in names]
            lines.append([f"*{title}*", *cells])
    return _markdown_table(lines)


def best_rows(values: Values, metric: str) -> set[str]:
    """The rows with the best mean of a metric; one that lacks it, or whose mean is not finite, is no candidate."""
    means = {row: of_row[metric].mean() for row, of_row in values.items() if metric in of_row}
    rank = RANKS.get(measure_of(metric).better)
    ranks = {row: rank(mean) for row, mean in means.items() if np.isfinite(mean)} if rank else {}
    return {row for row in ranks if ranks[row] == min(ranks.values())}


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return [head, "|---" * len(lines[0]) + "|", *body]


# --- The report ---


@dataclass(frozen=True)
class Measured:
    """Everything measured.

    Attributes:
        cells: row → its cells in the order of `seeds`.
    """

    rows: Sequence[Row]
    seeds: Sequence[int]
    cells: Mapping[str, Sequence[Cell]]
    values: Values
    reference: Reference

    @property
    def titles(self) -> dict[str, str]:
        return {row.name: row.title for row in self.rows}

    def first(self, row: str, array: str) -> np.ndarray:
        """An array of the row's first seed, the one that figures show."""
        return self.cells[row][0].arrays[array]


def write_report(
    path: Path,
    figures_folder: Path,
    folders: Folders,
    rows: Sequence[Row],
    seeds: Sequence[int],
    training_images: np.ndarray,
    claims: Sequence[Claim],
    discussion: str,
) -> dict:
    """Writes report.md and its figures, and returns row → metric → `mean` and `std` over the seeds.

    Args:
        path: of the report; it links to `figures/` beside it.
        figures_folder: an existing folder, which will be `figures/` beside the report.
        seeds: the first one's images are shown.
        training_images: (N, H, W, C) uint8, all that samples may have been copied from.
        discussion: markdown, why the numbers are what they are.

    Returns:
        Without a metric that a seed lacks or never reaches; `std` is None with one seed.

    Raises:
        UserError: naming a cell or file that is missing or broken.
    """
    cells = load_cells(folders, rows, seeds)
    reference = Reference.load(folders.measured / "reference")
    measured = Measured(rows, seeds, cells, values_by_seed(cells), reference)
    draw_figures(figures_folder, measured, training_images)
    drawn = [name for name in CAPTIONS if (figures_folder / f"{name}.png").exists()]
    with whole_file(path) as partial:
        partial.write_text(report_text(measured, claims, drawn, discussion), encoding="utf-8")
    return summary(measured.values)


def report_text(measured: Measured, claims: Sequence[Claim], drawn: Sequence[str], discussion: str) -> str:
    """The report in markdown, with the figures of these names."""
    return "\n".join(
        [
            *_introduction(measured),
            *_claims_section(measured, claims),
            *_numbers_section(measured),
            *_split_section(measured.reference.split),
            *_figures_section(drawn, measured.seeds[0]),
            *("## Why", "", discussion.strip(), ""),
        ]
    )


def _introduction(measured: Measured) -> list[str]:
    about, seeds = measured.reference.about, measured.seeds
    over = f"± is the sample standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "There is one seed"
    side = about["image_size"]
    return [
        "# Ways to learn a generator, compared",
        "",
        f"{len(measured.rows)} ways to learn a generator of images, each with the same budget of "
        f"{about['budget']:,} presentations of an image, on the same {about['train']:,} training images of "
        f"{side}×{side} pixels, with {about['test']:,} more held out. {over} ({', '.join(map(str, seeds))}). "
        f"Machine: {about['machine']}. LPIPS and every distance between images are measured by {about['judge']}; "
        f"the generators were trained against {about['trained_on']}.",
        "",
        *(f"- **{row.title}**: {row.about}" for row in measured.rows),
        "",
    ]


def _claims_section(measured: Measured, claims: Sequence[Claim]) -> list[str]:
    return [
        "## What holds, and what does not",
        "",
        "Differences and ratios are formed seed by seed, then averaged.",
        "",
        *(f"- {claim_line(claim, measured.values, measured.titles)}" for claim in claims),
        "",
    ]


def _numbers_section(measured: Measured) -> list[str]:
    titles = measured.titles
    bounds = {BOUNDS[name]: bound for name, bound in measured.reference.bounds.items()}
    lines = [
        "## Numbers",
        "",
        "↑: higher is better; ↓: lower is better; →1: nearest to 1 is best. The best mean of a column is in bold.",
        "",
    ]
    for table in TABLES:
        lines += [f"### {table.title}", "", *table_lines(table, measured.values, titles, bounds), ""]
        lines += [table.legend.format(target=titles.get(TARGET, TARGET)), ""]
    return lines


def _split_section(split: Mapping[str, float]) -> list[str]:
    lines = [["subset", "coverage ↑", "mean distance ↓"]]
    for title, suffix in (("nearest to the centroids", ""), ("random", "_random")):
        lines.append([title, f"{split['coverage' + suffix]:.3f}", f"{split['distance' + suffix]:.3g}"])
    return [
        "## The split",
        "",
        *_markdown_table(lines),
        "",
        "How well the first subset, the images nearest to the clusters' centroids, stands for all training images, "
        "beside a random subset of its size. Coverage: the share of clusters with an image in the subset; mean "
        "distance: of every training image to the nearest one of the subset.",
        "",
    ]


def _figures_section(drawn: Sequence[str], seed: int) -> list[str]:
    lines = ["## Figures", "", f"Images are those of seed {seed}, made of the same originals in every row.", ""]
    for name in drawn:
        lines += [f"![{name}](figures/{name}.png)", "", CAPTIONS[name], ""]
    return lines


# --- Figures ---

CAPTIONS = {
    "main": "Training images, their reconstructions by four of the rows, and the same interpolation by each.",
    "reconstructions": "Twelve training images and their reconstructions, G(z), from each row's own codes.",
    "interpolations": "The paths between the codes of the same two pairs of training images, in every row.",
    "encoder-train": "Twelve training images through each row's encoder, G(E(x)).",
    "encoder-test": "Twelve held-out images through each row's encoder, G(E(x)).",
    "samples": "Twelve samples of each row, none chosen.",
    "neighbours": "Samples of the row with the smallest kernel distance, each over the three training images that are "
    "nearest to it in the judge's features.",
    "psnr-presentations": "PSNR over all training images against images presented, on a logarithmic axis: the mean "
    "over the seeds in a band of ± one standard deviation.",
    "psnr-seconds": "The same against the seconds since learning began.",
    "inversion-psnr": "PSNR of held-out images against steps of optimising the code, from the encoder's code (solid) "
    "and from a random one (dashed).",
    "inversion-distance": "The judge's distance (LPIPS) of held-out images against the same steps; lower is better.",
}


def draw_figures(folder: Path, measured: Measured, training_images: np.ndarray) -> None:
    """Draws every figure that there are numbers for, each as its name in CAPTIONS says.

    Args:
        training_images: (N, H, W, C) uint8.
    """
    train, test = measured.reference.train, measured.reference.test
    draw_main(folder / "main.png", measured)
    draw_paired(folder / "reconstructions.png", measured, train, "reconstructions", "Training images, G(z)")
    draw_interpolations(folder / "interpolations.png", measured)
    draw_paired(folder / "encoder-train.png", measured, train, "encoder_train", "Training images, G(E(x))")
    draw_paired(folder / "encoder-test.png", measured, test, "encoder_test", "Held-out images, G(E(x))")
    samples = [(row.title, measured.first(row.name, "samples")[:COLUMNS]) for row in measured.rows]
    figures.save_stacked(folder / "samples.png", [_grid(samples, "Samples")])
    draw_neighbours(folder / "neighbours.png", measured, training_images)
    draw_curves(folder / "psnr-presentations.png", measured, "presented", "images presented")
    draw_curves(folder / "psnr-seconds.png", measured, "seconds", "seconds")
    draw_inversion(folder / "inversion-psnr.png", measured, "psnr", "PSNR, dB")
    draw_inversion(folder / "inversion-distance.png", measured, "lpips", "LPIPS")


def draw_paired(path: Path, measured: Measured, originals: np.ndarray, array: str, title: str) -> None:
    """Originals over what each row makes of them."""
    rows = [(row.title, measured.first(row.name, array)[:COLUMNS]) for row in measured.rows]
    figures.save_stacked(path, [_grid([("original", originals[:COLUMNS]), *rows], title)])


def draw_interpolations(path: Path, measured: Measured) -> None:
    """The first path of every row, then the second."""
    grids = [
        _grid([(row.title, _path(measured, row.name, pair, 11)) for row in measured.rows], title)
        for pair, title in enumerate(("The first path", "The second path"))
    ]
    figures.save_stacked(path, grids)


def draw_main(path: Path, measured: Measured) -> None:
    """Reconstructions and one path: of PROMINENT rows, and of the two best of the others at reconstruction."""
    psnr = {name: of_row["train.recon.psnr"].mean() for name, of_row in measured.values.items()}
    others = sorted((row.name for row in measured.rows if row.name not in PROMINENT), key=lambda name: -psnr[name])
    chosen = [row for row in measured.rows if row.name in (*PROMINENT, *others[:2])]
    learned = [(row.title, measured.first(row.name, "reconstructions")[:COLUMNS]) for row in chosen]
    paths = [(row.title, _path(measured, row.name, 0, COLUMNS)) for row in chosen]
    originals = ("original", measured.reference.train[:COLUMNS])
    figures.save_stacked(path, [_grid([originals, *learned], "Reconstructed"), _grid(paths, "Interpolated")])


def draw_neighbours(path: Path, measured: Measured, training_images: np.ndarray) -> None:
    """Samples of the row with the smallest mean kernel distance over their nearest training images."""
    best = best_rows(measured.values, "samples.kd")
    row = next((row for row in measured.rows if row.name in best), measured.rows[0])
    neighbours = measured.first(row.name, "neighbours")[:COLUMNS]
    ordinals = ("nearest", "second nearest", "third nearest")
    ranked = [(ordinal, training_images[ids]) for ordinal, ids in zip(ordinals, neighbours.T, strict=True)]
    samples = ("sample", measured.first(row.name, "samples")[:COLUMNS])
    title = f"{row.title}: samples and the training images nearest to them"
    figures.save_stacked(path, [_grid([samples, *ranked], title)])


def draw_curves(path: Path, measured: Measured, axis: str, x_label: str) -> None:
    """Training PSNR against `presented` or `seconds`, averaged over the seeds at each measuring point."""
    curves = {}
    for row in measured.rows:
        cells = measured.cells[row.name]
        points = min(len(cell.curve["psnr"]) for cell in cells)
        x = np.mean([cell.curve[axis][:points] for cell in cells], axis=0)
        curves[row.title] = (x, *_mean_and_spread([cell.curve["psnr"][:points] for cell in cells]))
    figures.save_bands(path, curves, x_label, "PSNR, dB", "Training images", log_x=True)


def draw_inversion(path: Path, measured: Measured, measure: str, y_label: str) -> None:
    """A metric of held-out images against steps of inversion, of INVERTED rows and the first joint one."""
    joint = [row.name for row in measured.rows if row.name.endswith("_joint")][:1]
    rows = [row for row in measured.rows if row.name in (*INVERTED, *joint)]
    curves = {start: {} for start in ("encoder", "random")}
    for start, of_start in curves.items():
        for row in rows:
            numbers = measured.values[row.name]
            names = [f"inversion.{start}.{step}.{measure}" for step in STEPS]
            if all(name in numbers for name in names):
                points = np.stack([numbers[name] for name in names], axis=1)
                of_start[row.title] = (np.arange(len(STEPS)), *_mean_and_spread(points))
    if curves["encoder"]:
        title = "Held-out images: from the encoder's code (solid), from a random one (dashed)"
        figures.save_bands(
            path, curves["encoder"], "steps", y_label, title, dashed=curves["random"], x_ticks=[str(n) for n in STEPS]
        )


def _mean_and_spread(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Seeds' curves, (P,) each → their mean and sample standard deviation (P,), 0 with one seed."""
    curves = np.asarray(curves)
    return curves.mean(axis=0), curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(curves.shape[1])


def _path(measured: Measured, row: str, pair: int, points: int) -> np.ndarray:
    """(points, H, W, C) evenly spaced ones of a path."""
    images = measured.first(row, "paths")[pair]
    return images[np.linspace(0, len(images) - 1, points).round().astype(int)]


def _grid(rows: Sequence[tuple[str, np.ndarray]], title: str) -> np.ndarray:
    scale = max(1, 64 // rows[0][1].shape[1])
    return figures.grid([images for _, images in rows], title, [name for name, _ in rows], scale=scale)
