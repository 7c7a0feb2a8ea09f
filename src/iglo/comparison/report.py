"""Writes the report of the comparison in Markdown: claims, tables and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iglo.comparison.claims import Claim, claim_line
from iglo.comparison.figures import CAPTIONS, draw_figures
from iglo.comparison.formats import ARROWS, best_rows, format_of
from iglo.comparison.runs import BOUNDS, TARGET, Measured, Values, summary
from iglo.files.io import whole_file
from iglo.files.markdown import markdown_table

# --- Tables ---


@dataclass(frozen=True)
class Table:
    """A table of rows × metrics.

    Attributes:
        columns: metric → head of its column.
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
        "All training images, reconstructed from their own codes at the end of the budget. The target is the final "
        "PSNR of the curve of “{target}” with the same seed. A row reaches the target where its own curve, linear "
        "between measuring points, first reaches this PSNR. A curve is measured on at most `measure.images` training "
        "images, evenly spaced among all.",
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
        "Images that no row was trained on. The first two columns: all of them through the encoder alone, G(E(x)). "
        "The other columns: some of them, the same for all rows, after so many steps of optimising the code, from the "
        "encoder's code or from a random code.",
    ),
    Table(
        "Continuity between training codes",
        {
            "interpolation.ppl": "path length",
            "interpolation.jerkiness": "jerkiness",
            "interpolation.midpoint_realism": "midpoint realism",
        },
        "Path length: how fast images change along a path. Jerkiness: the largest step divided by the mean step; 1 is "
        "perfectly even. Midpoint realism: the distance of midpoints to the nearest training image, divided by the "
        "same distance of the paths' ends; at 1, midpoints are as near as reconstructions.",
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
        "Images of random codes, compared with held-out images. Novelty: the distance to the nearest training image, "
        "divided by the same distance of held-out images; near 0, samples are copies. Floor: real images compared "
        "with real images. Ceiling: noise compared with real images.",
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
        "Seconds of each stage, training images per second, and the largest memory. The seconds of “learn” include "
        "the training of an encoder for later subsets; the generator sees no images in that training.",
    ),
)


def table_lines(
    table: Table, values: Values, titles: Mapping[str, str], bounds: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Returns the lines of a Markdown table with the best mean of each column in bold, without empty columns.

    Args:
        bounds: title → metric → number, for lines below the rows; a bound without any of the columns is left out.
    """
    names = [name for name in table.columns if any(name in of_row for of_row in values.values())]
    best = {name: best_rows(values, name) for name in names}
    heads = ["", *(table.columns[name] + ARROWS[format_of(name).better] for name in names)]
    lines = []
    for row, of_row in values.items():
        cells = [format_of(name).shown(of_row[name]) if name in of_row else "–" for name in names]
        bold = [f"**{cell}**" if row in best[name] else cell for name, cell in zip(names, cells, strict=True)]
        lines.append([titles[row], *bold])
    for title, bound in bounds.items():
        if bound.keys() & set(names):
            cells = [format_of(name).shown(np.array([bound[name]])) if name in bound else "–" for name in names]
            lines.append([f"*{title}*", *cells])
    return markdown_table(heads, lines)


# --- The report ---


def write_report(
    path: Path,
    figures_folder: Path,
    measured: Measured,
    training_images: np.ndarray,
    claims: Sequence[Claim],
    discussion: str,
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Writes report.md and its figures; returns row → metric → `mean` and `std` over the seeds, as `summary` does.

    Args:
        path: of the report; it links to `figures/` in the same folder.
        figures_folder: an existing folder, which becomes the `figures/` of the report.
        measured: the images of its first seed are shown.
        training_images: (N, H, W, C) uint8, all training images.
        discussion: Markdown that explains the numbers.
    """
    draw_figures(figures_folder, measured, training_images)
    drawn = [name for name in CAPTIONS if (figures_folder / f"{name}.png").exists()]
    with whole_file(path) as partial:
        partial.write_text(report_text(measured, claims, drawn, discussion), encoding="utf-8")
    return summary(measured.values)


def report_text(measured: Measured, claims: Sequence[Claim], drawn: Sequence[str], discussion: str) -> str:
    """Returns the report in Markdown, with the figures named in `drawn`."""
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
    about, seeds, side = measured.reference.about, measured.seeds, measured.reference.about["image_size"]
    over = f"± is the sample standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "There is one seed"
    return [
        "# Comparison of methods",
        "",
        f"{len(measured.rows)} methods of training an image generator. Each has the same budget of "
        f"{about['budget']:,} images seen and the same {about['train']:,} training images of {side}×{side} pixels; "
        f"{about['test']:,} more images are held out. {over} ({', '.join(map(str, seeds))}). Machine: "
        f"{about['machine']}. The feature network of LPIPS and of all other distances between images is "
        f"{about['feature_network']}; the perceptual methods were trained with {about['trained_on']}.",
        "",
        *(f"- **{row.title}**: {row.about}" for row in measured.rows),
        "",
    ]


def _claims_section(measured: Measured, claims: Sequence[Claim]) -> list[str]:
    return [
        "## What holds, and what does not",
        "",
        "Differences and ratios are computed for each seed, then averaged.",
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
    lines = [
        [title, f"{split['coverage' + suffix]:.3f}", f"{split['distance' + suffix]:.3g}"]
        for title, suffix in (("nearest to the centroids", ""), ("random", "_random"))
    ]
    return [
        "## The split",
        "",
        *markdown_table(["subset", "coverage ↑", "mean distance ↓"], lines),
        "",
        "How well the first subset (the images nearest to the clusters' centroids) represents all training images, "
        "compared with a random subset of the same size. Coverage: the share of clusters with an image in the subset. "
        "Mean distance: from every training image to the nearest image of the subset.",
        "",
    ]


def _figures_section(drawn: Sequence[str], seed: int) -> list[str]:
    lines = ["## Figures", "", f"All images are of seed {seed}. Every row shows the same originals.", ""]
    for name in drawn:
        lines += [f"![{name}](figures/{name}.png)", "", CAPTIONS[name], ""]
    return lines
