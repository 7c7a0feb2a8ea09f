"""The tables of the comparison: rows × metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from iglo.comparison.formats import ARROWS, best_rows, format_of
from iglo.comparison.runs import TARGET, Values
from iglo.files.markdown import markdown_table

OF_A_SET = ("samples", "midpoints", "graph_midpoints", "reconstructions", "priors")  # compared with real and noise
PRIORS = ("normal", "gaussian_diag", "gaussian", "gmm", "imle", "neighbours", "flow")


@dataclass(frozen=True)
class Table:
    """A table of rows × metrics.

    Attributes:
        columns: metric → head of its column. `prior` holds no number: it names the prior that drew the samples.
        legend: how to read it.
        best_of: whether each column or each row has its best number in bold.
        notes: metric → what the legend adds if its column is there; `{target}` stands for the title of the row TARGET.
    """

    title: str
    columns: Mapping[str, str]
    legend: str
    best_of: Literal["column", "row"] = "column"
    notes: Mapping[str, str] = field(default_factory=dict)


TABLES = (
    Table(
        "Training images, reconstructed",
        {
            "train.recon.psnr": "PSNR, dB",
            "train.recon.ssim": "SSIM",
            "train.recon.lpips": "LPIPS",
            "reconstructions.kd": "kernel distance",
            "train.recon.recognised": "recognised",
            "reconstructions.checkerboard": "checkerboards",
            "images_seen_to_target": "images seen until the target",
            "seconds_to_target": "seconds until the target",
        },
        "All training images, reconstructed from their own codes at the end of the budget; the kernel distance is of "
        "some of them to the test images.",
        notes={
            "reconstructions.checkerboard": "Checkerboards: power in patterns of period two, over that of test images.",
            "images_seen_to_target": "The target is the PSNR that “{target}” has with the same seed at the end of the "
            "budget. The last two columns say when a method reaches it, by its curve of PSNR (below, under Figures), "
            "linear between the measuring points; “never”: not within the budget. A curve is measured on some of the "
            "training images, evenly spaced among all.",
        },
    ),
    Table(
        "Test images through the encoder",
        {
            "test.encoder.psnr": "PSNR, dB",
            "test.encoder.ssim": "SSIM",
            "test.encoder.lpips": "LPIPS",
            "test.encoder.recognised": "recognised",
        },
        "All test images x through encoder E and generator G, G(E(x)). No method was trained on them.",
    ),
    Table(
        "Test images, inverted",
        {
            "inversion.encoder.0.psnr": "encoder, dB",
            "inversion.encoder.50.psnr": "encoder + 50 steps, dB",
            "inversion.encoder.500.psnr": "encoder + 500 steps, dB",
            "inversion.random.500.psnr": "random code + 500 steps, dB",
        },
        "To invert an image is to search for its code. The search starts at the encoder's code or at a random code, "
        "and then takes 0, 50 or 500 gradient steps on the code; the numbers are the PSNR of the image of the code "
        "that it finds. These are the first `measure.inverted` test images of the params, the same for all methods.",
    ),
    Table(
        "Test images, inverted, as the judge sees them",
        {
            "inversion.encoder.0.kd": "kernel distance: encoder",
            "inversion.encoder.50.kd": "kernel distance: encoder + 50 steps",
            "inversion.random.500.kd": "kernel distance: random code + 500 steps",
            "inversion.encoder.0.recognised": "recognised: encoder",
            "inversion.encoder.50.recognised": "recognised: encoder + 50 steps",
            "inversion.random.500.recognised": "recognised: random code + 500 steps",
        },
        "The same images after the same steps, compared with the test images that are not inverted.",
    ),
    Table(
        "Paths between training codes",
        {
            "interpolation.ppl": "path length",
            "interpolation.jerkiness": "jerkiness",
            "interpolation.midpoint_realism": "midpoint realism",
            "interpolation.feature_path_length": "path length in features",
            "interpolation.feature_jerkiness": "jerkiness in features",
        },
        "Path length: how fast images change along a path, by LPIPS. Jerkiness: the largest step divided by the mean "
        "step; 1 is perfectly even. Midpoint realism: the distance of midpoints to the nearest training image, divided "
        "by the same distance of the paths' ends; at 1, midpoints are as near as reconstructions.",
        notes={
            "interpolation.feature_path_length": "In features: the same by the distance between the judge's features, "
            "in place of LPIPS."
        },
    ),
    Table(
        "Midpoints of paths",
        {
            "midpoints.kd": "kernel distance",
            "off_code.midpoints": "off-code ratio",
            "midpoints.recognised": "recognised",
            "interpolation.ghost_index": "ghost index",
            "interpolation.ghost_index_real": "ghost index of a real image",
        },
        "Images half-way between two training codes, compared with test images.",
        notes={
            "off_code.midpoints": "Off-code ratio: their kernel distance divided by that of reconstructions; at 1, "
            "they are as good as the images of the codes that were trained.",
            "interpolation.ghost_index": "Ghost index: the share of a midpoint's fine detail that is a sum of the "
            "detail of the images at the two ends; 1 is a crossfade, in which both shine through like ghosts.",
            "interpolation.ghost_index_real": "The last column has a real image in the place of the midpoint, which "
            "is the least to expect.",
        },
    ),
    Table(
        "Midpoints along the graph of codes",
        {
            "graph_midpoints.kd": "kernel distance",
            "off_code.graph_midpoints": "off-code ratio",
            "graph_midpoints.recognised": "recognised",
            "interpolation.ghost_index_graph": "ghost index",
            "graph_midpoints.copy_rate": "copy rate",
        },
        "The middle of another path between the same pairs: the shortest way from training code to near training code. "
        "So its images resemble training images more. The copy rate, explained at the samples, says how much.",
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
        "Images of codes that a prior draws, compared with test images. The prior is the one that belongs to the "
        "method (GLANN: `imle`), or else, for each seed, the one whose samples have the least kernel distance to the "
        "*validation* images.",
        notes={
            "off_code.samples": "Off-code ratio: their kernel distance divided by that of reconstructions.",
            "samples.precision": "Precision: the share of samples that lie among the test images, in the judge's "
            "features; recall: the share of test images that lie among the samples.",
        },
    ),
    Table(
        "Samples, more numbers",
        {
            "samples.fd": "Fréchet distance",
            "samples.density": "density",
            "samples.coverage": "coverage",
            "samples.novelty": "novelty",
            "samples.copy_rate": "copy rate",
            "samples.checkerboard": "checkerboards",
        },
        "Fréchet distance: as FID, but in the judge's features. Density and coverage: variants of precision and recall "
        "that depend less on single unusual images. Novelty: the distance to the nearest training image, divided by "
        "the same distance of test images; near 0, samples are copies. Copy rate: the share of samples whose nearest "
        "training image is less than a third as far as the second nearest.",
    ),
    Table(
        "The kernel distance of each prior",
        {f"priors.{name}.kd": f"`{name}`" for name in PRIORS},
        "Samples of each prior, fitted to the codes of the method, compared with test images. `normal`: N(0, I), put "
        "on the sphere if the codes lie on one; `gaussian_diag`, `gaussian`: a Gaussian with their variances, or with "
        "their covariance; `gmm`: a mixture of Gaussians; `imle`: a small network that maps noise to codes. The best "
        "prior of a row is in bold.",
        "row",
        {
            "priors.neighbours.kd": "`neighbours`: a point between a learned code and one of its nearest codes, plus "
            "noise; how many nearest codes and how much noise is chosen on validation images.",
            "priors.flow.kd": "`flow`: a flow from noise to codes, learned by flow matching.",
        },
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
            "timing.learn.seconds": "training generator and codes, s",
            "timing.encoder.seconds": "training the encoder, s",
            "timing.joint.seconds": "training both together, s",
            "timing.measure.seconds": "measuring, s",
            "timing.learn.images_per_s": "training images per s",
            "timing.learn.peak_mib": "largest memory, MiB",
        },
        "Images seen differ a little because training stops at the end of an epoch. Speed and memory are those of "
        "training generator and codes; its seconds include the training of an encoder for later subsets, in which the "
        "generator sees no images. Runs that share a machine are slower than one alone.",
    ),
)


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


def table_legend(table: Table, values: Values, titles: Mapping[str, str]) -> str:
    """Returns how to read a table, without the notes on columns that no row has."""
    shown = [note for name, note in table.notes.items() if any(name in of_row for of_row in values.values())]
    return " ".join([table.legend, *shown]).format(target=titles.get(TARGET, TARGET))


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
