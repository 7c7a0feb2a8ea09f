"""Several ways to learn a generator side by side, as one report in markdown: tables, claims and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iglo.comparison.claims import Claim, claim_line
from iglo.comparison.figures import CAPTIONS, draw_figures
from iglo.comparison.measures import ARROWS, best_rows, measure_of
from iglo.comparison.runs import BOUNDS, TARGET, Folders, Measured, Row, Values, summary
from iglo.files.io import whole_file

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
            "images_seen_to_target": "images seen to the target",
            "seconds_to_target": "seconds to the target",
        },
        "All training images from their own codes, at the end of the budget. The target is where the curve of "
        "“{target}” with the same seed ends; a row reaches it where its own curve, linear between measuring points, "
        "first does. A curve is of training images that are evenly spaced among all, at most `measure.images` of them.",
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
            "images_seen": "images seen",
            "timing.learn.seconds": "learn, s",
            "timing.encoder.seconds": "encoder, s",
            "timing.joint.seconds": "joint, s",
            "timing.measure.seconds": "measure, s",
            "timing.learn.images_per_s": "learn, images/s",
            "timing.joint.images_per_s": "joint, images/s",
            "timing.learn.peak_mib": "learn, peak MiB",
            "timing.joint.peak_mib": "joint, peak MiB",
        },
        "Seconds of each stage, images learned from per second, and the most memory held. An encoder that starts later "
        "subsets is trained within “learn”: that takes seconds, but presents no images to the generator.",
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


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return [head, "|---" * len(lines[0]) + "|", *body]


# --- The report ---


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
        UserError: naming a run or file that is missing or broken.
    """
    measured = Measured.load(folders, rows, seeds)
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
        f"{about['budget']:,} images seen of an image, on the same {about['train']:,} training images of "
        f"{side}×{side} pixels, with {about['test']:,} more held out. {over} ({', '.join(map(str, seeds))}). "
        f"Machine: {about['machine']}. LPIPS and every distance between images are measured by "
        f"{about['feature_network']}; "
        f"the perceptual methods were trained against {about['trained_on']}.",
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
