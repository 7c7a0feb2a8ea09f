"""The tables of the comparison: rows × metrics, and differences to one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from iglo.comparison.formats import ARROWS, best_rows, format_of
from iglo.comparison.runs import Values, paired_difference
from iglo.files.markdown import markdown_table

BASE = "glo"  # the row that all others are subtracted from
OF_A_SET = ("samples", "midpoints", "reconstructions", "priors")  # sets of images that real images and noise bound
PRIORS = ("normal", "gaussian_diag", "gaussian", "gmm", "imle")
# 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom: half the width of a 95 % interval in standard errors
STUDENT_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True)
class Table:
    """A table of rows × metrics.

    Attributes:
        columns: metric → head of its column. `prior` is no number, but the prior that drew the samples.
        legend: how to read it; `{target}` stands for the title of the row TARGET.
        best_of: what the best number is searched in, each column or each row.
    """

    title: str
    columns: Mapping[str, str]
    legend: str
    best_of: Literal["column", "row"] = "column"


TABLES = (
    Table(
        "Training images, reconstructed",
        {
            "train.recon.psnr": "PSNR, dB",
            "train.recon.ssim": "SSIM",
            "train.recon.lpips": "LPIPS",
            "reconstructions.kd": "kernel distance",
            "train.recon.recognised": "recognised",
            "images_seen_to_target": "images seen to the target",
            "seconds_to_target": "seconds to the target",
        },
        "All training images, reconstructed from their own codes at the end of the budget; the kernel distance is of "
        "some of them to the test images. The target is the final PSNR of the curve of “{target}” with the same seed. "
        "A row reaches the target where its own curve, linear between measuring points, first reaches this PSNR. A "
        "curve is measured on at most `measure.images` training images, evenly spaced among all.",
    ),
    Table(
        "Test images through the encoder",
        {
            "test.encoder.psnr": "PSNR, dB",
            "test.encoder.ssim": "SSIM",
            "test.encoder.lpips": "LPIPS",
            "test.encoder.recognised": "recognised",
        },
        "All test images through the encoder alone, G(E(x)). No row was trained on them.",
    ),
    Table(
        "Test images, inverted",
        {
            "inversion.encoder.0.psnr": "encoder, dB",
            "inversion.encoder.50.psnr": "encoder + 50 steps, dB",
            "inversion.encoder.500.psnr": "encoder + 500 steps, dB",
            "inversion.random.500.psnr": "random + 500 steps, dB",
        },
        "The first `measure.inverted` test images, the same for all rows, after so many steps of optimising the code, "
        "from the encoder's code or from a random code.",
    ),
    Table(
        "Test images, inverted, as the judge sees them",
        {
            "inversion.encoder.0.kd": "distance: encoder",
            "inversion.encoder.50.kd": "distance: encoder + 50",
            "inversion.random.500.kd": "distance: random + 500",
            "inversion.encoder.0.recognised": "recognised: encoder",
            "inversion.encoder.50.recognised": "recognised: encoder + 50",
            "inversion.random.500.recognised": "recognised: random + 500",
        },
        "The same images, after the same steps: their kernel distance to the test images that are not inverted, and "
        "what is recognised in them.",
    ),
    Table(
        "Paths between training codes",
        {
            "interpolation.ppl": "path length",
            "interpolation.jerkiness": "jerkiness",
            "interpolation.midpoint_realism": "midpoint realism",
            "interpolation.feature_path_length": "length in features",
            "interpolation.feature_jerkiness": "jerkiness in features",
        },
        "Path length: how fast images change along a path, by LPIPS. Jerkiness: the largest step divided by the mean "
        "step; 1 is perfectly even. Midpoint realism: the distance of midpoints to the nearest training image, divided "
        "by the same distance of the paths' ends; at 1, midpoints are as near as reconstructions. The last two "
        "columns: the path as the judge's features see it.",
    ),
    Table(
        "Midpoints of paths",
        {
            "midpoints.kd": "kernel distance",
            "off_code.midpoints": "off-code ratio",
            "midpoints.recognised": "recognised",
            "interpolation.ghost_index": "ghost index",
            "interpolation.ghost_index_real": "ghost index, real",
        },
        "Images half-way between two training codes, compared with test images. Off-code ratio: their kernel distance "
        "divided by that of reconstructions; at 1, they are as good as images on the codes. Ghost index: how much of a "
        "midpoint is a sum of the images at the two ends; 1 is a crossfade. Ghost index, real: "
        "the same with a real image in the place of the midpoint, which is the least to expect.",
    ),
    Table(
        "Samples",
        {
            "prior": "prior",
            "samples.kd": "kernel distance",
            "off_code.samples": "off-code ratio",
            "samples.recognised": "recognised",
            "samples.precision": "precision",
            "samples.recall": "recall",
        },
        "Images of codes that a prior draws, compared with test images. The prior is the one that the method names, or "
        "the one whose samples have the least kernel distance to the *validation* images.",
    ),
    Table(
        "Samples, more numbers",
        {
            "samples.fd": "Fréchet distance",
            "samples.density": "density",
            "samples.coverage": "coverage",
            "samples.novelty": "novelty",
            "samples.copy_rate": "copy rate",
        },
        "Novelty: the distance to the nearest training image, divided by the same distance of test images; near 0, "
        "samples are copies. Copy rate: the share of samples whose nearest training image is less than a third as far "
        "as the second nearest.",
    ),
    Table(
        "The kernel distance of each prior",
        {f"priors.{name}.kd": f"`{name}`" for name in PRIORS},
        "Samples of each prior, fitted to the codes of the row, compared with test images. The best prior of a row is "
        "in bold.",
        "row",
    ),
    Table(
        "What is recognised in the samples of each prior",
        {f"priors.{name}.recognised": f"`{name}`" for name in PRIORS},
        "The same samples: the mean probability of the classes that the judge sees in validation images. The best "
        "prior of a row is in bold.",
        "row",
    ),
    Table(
        "Cost",
        {
            "images_seen": "images seen",
            "timing.learn.seconds": "learn, s",
            "timing.encoder.seconds": "encoder, s",
            "timing.joint.seconds": "joint, s",
            "timing.measure.seconds": "measure, s",
            "timing.learn.images_per_s": "learn, images/s",
            "timing.learn.peak_mib": "learn, peak MiB",
        },
        "Seconds of each stage, training images per second, and the largest memory. The seconds of “learn” include "
        "the training of an encoder for later subsets; the generator sees no images in that training.",
    ),
)

DIFFERENCES = {
    "train.recon.psnr": "train PSNR, dB",
    "test.encoder.psnr": "encoder PSNR, dB",
    "samples.kd": "samples: kernel distance",
    "samples.recognised": "samples: recognised",
    "midpoints.kd": "midpoints: kernel distance",
    "midpoints.recognised": "midpoints: recognised",
    "interpolation.ghost_index": "ghost index",
}


def table_lines(
    table: Table,
    values: Values,
    titles: Mapping[str, str],
    bounds: Mapping[str, Mapping[str, float]],
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:
    """Returns the lines of a Markdown table with the best means in bold, without empty columns.

    Args:
        bounds: title → metric → number, for lines below the rows; a bound without any of the columns is left out.
        words: column → row → text, for columns that hold no numbers.
    """
    words = words or {}
    names = [name for name in table.columns if name in words or any(name in of_row for of_row in values.values())]
    if not any(name not in words for name in names):
        return []
    best = {name: best_rows(values, name) for name in names if table.best_of == "column"}
    heads = ["", *(table.columns[name] + ARROWS[format_of(name).better] for name in names)]
    lines = []
    for row, of_row in values.items():
        bold = {name for name in best if row in best[name]} if best else _best_columns(of_row, names)
        cells = [words[name].get(row, "–") if name in words else _cell(name, of_row, name in bold) for name in names]
        lines.append([titles[row], *cells])
    for title, bound in bounds.items():
        known = {name: bound[_bound_name(name)] for name in names if _bound_name(name) in bound}
        if known:
            cells = [format_of(name).shown(np.array([known[name]])) if name in known else "–" for name in names]
            lines.append([f"*{title}*", *cells])
    return markdown_table(heads, lines)


def _best_columns(of_row: Mapping[str, np.ndarray], names: Sequence[str]) -> set[str]:
    """Returns the columns with the best mean of a row; all of them hold the same kind of number."""
    kind = names[0].rsplit(".", 1)[-1]
    return best_rows({name: {kind: of_row[name]} for name in names if name in of_row}, kind)


def _cell(name: str, of_row: Mapping[str, np.ndarray], best: bool) -> str:
    text = format_of(name).shown(of_row[name]) if name in of_row else "–"
    return f"**{text}**" if best else text


def _bound_name(metric: str) -> str:
    """Returns the name under which a bound has the number that belongs below a column."""
    section, _, last = metric.rpartition(".")
    comparable = section.partition(".")[0] in OF_A_SET or last == "recognised"
    return f"samples.{last}" if comparable else metric


def difference_lines(values: Values, titles: Mapping[str, str]) -> list[str]:
    """Returns the lines of a table of differences to the row BASE, mean ± standard error over pairs of equal seeds.

    A difference is in bold if 0 is outside of its 95 % interval (Student's t). No lines without BASE.
    """
    if BASE not in values:
        return []
    base = values[BASE]
    names = [name for name in DIFFERENCES if name in base and np.isfinite(base[name]).all()]
    lines = [
        [titles[row], *(_difference(name, of_row, base) for name in names)]
        for row, of_row in values.items()
        if row != BASE
    ]
    return markdown_table(["", *(DIFFERENCES[name] + ARROWS[format_of(name).better] for name in names)], lines)


def _difference(name: str, of_row: Mapping[str, np.ndarray], base: Mapping[str, np.ndarray]) -> str:
    if name not in of_row:
        return "–"
    mean, error = paired_difference(of_row[name], base[name])
    text = format_of(name).pair(mean, error, "+")
    freedom = min(len(base[name]) - 1, len(STUDENT_T))
    clear = error is not None and abs(mean) > STUDENT_T[freedom - 1] * error
    return f"**{text}**" if clear else text
