"""Writes the report of the comparison in Markdown: claims, tables and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from iglo.comparison.claims import Claim, claim_line
from iglo.comparison.differences import BASE, difference_lines
from iglo.comparison.figures import CAPTIONS, draw_figures
from iglo.comparison.formats import format_of
from iglo.comparison.judges import claim_judge_lines, prior_judge_lines
from iglo.comparison.runs import BOUNDS, Measured, Values, summary
from iglo.comparison.tables import TABLES, table_legend, table_lines
from iglo.files.io import whole_file
from iglo.files.markdown import markdown_table


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
            *_differences_section(measured),
            *_judges_section(measured, claims),
            *_split_section(measured.reference.split),
            *_figures_section(drawn, measured.seeds[0]),
            *(("## Why", "", discussion.strip(), "") if discussion.strip() else ()),
        ]
    )


def _introduction(measured: Measured) -> list[str]:
    about, seeds, side = measured.reference.about, measured.seeds, measured.reference.about["image_size"]
    counts = about["counts"]
    over = f"± is the sample standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "There is one seed"
    return [
        "# Comparison of methods",
        "",
        f"{len(measured.rows)} methods of training an image generator without a GAN: every training image gets a "
        "*code*, a vector of numbers, and the generator learns to make the image of this code. Each method has the "
        f"same budget, {about['budget']:,} images seen (an image counts each time that the generator is trained on "
        f"it), and the same {counts['train']:,} training images of {side}×{side} pixels. {over} "
        f"({', '.join(map(str, seeds))}). A seed moves the training only: images, subsets, and all random draws "
        f"of the measurement are the same for all runs. Machine: {about['machine']}.",
        "",
        "A *reconstruction* is the image of a training image's code. An *encoder*, trained after the generator, reads "
        "the code of any image. A *midpoint* is the image half-way between two training codes on the path between "
        "them. A *prior* draws new codes; their images are *samples*.",
        "",
        f"Priors are chosen on {counts['validation']:,} validation images. Sets of images are compared with "
        f"{counts['test']:,} test images, which nothing else sees: {counts['samples']:,} samples, "
        f"{counts['midpoints']:,} midpoints and {counts['reconstructions']:,} reconstructions. LPIPS and all other "
        "distances between images are taken in the features of one network, the *judge*: "
        f"{about['feature_network']}."
        + (
            f" Methods with a perceptual loss were trained with another network, {about['trained_on']}."
            if about["trained_on"]
            else ""
        ),
        "",
        *(f"- **{row.title}**: {row.about}" for row in measured.rows),
        "",
    ]


def _claims_section(measured: Measured, claims: Sequence[Claim]) -> list[str]:
    values = measured.values
    return [
        "## What holds, and what does not",
        "",
        "Each claim compares two numbers. The *difference* is the first minus the second, the *ratio* is the first "
        "divided by the second, and “asked for” is its limit. Differences and ratios are computed for each seed, then "
        "averaged; their ± is the standard error of this mean. The tables below explain the numbers.",
        "",
        *(f"- {claim_line(claim, values, measured.titles)}" for claim in claims if _is_asked(claim, values)),
        "",
    ]


def _is_asked(claim: Claim, values: Values) -> bool:
    """Returns whether a claim is about methods that were run, and metrics that some of them have.

    A judge without classes, for example, recognises nothing.
    """
    sides = [side for side in (claim.left, claim.right) if isinstance(side, tuple)]
    metrics = {metric for of_row in values.values() for metric in of_row}
    return all(row in values and metric in metrics for row, metric in sides)


def _numbers_section(measured: Measured) -> list[str]:
    titles = measured.titles
    bounds = {BOUNDS[name]: bound for name, bound in measured.reference.bounds.items()}
    lines = [
        "## Numbers",
        "",
        "↑: higher is better; ↓: lower is better; →1: nearest to 1 is best. The best mean of a column is in bold. "
        "Kernel distance: how far a set of images is from the test images in the judge's features (as KID); at 0, the "
        "judge cannot tell them apart. The line *floor* compares the validation images with the test images, and the "
        "line *ceiling* compares noise with them. " + _recognised(measured),
        "",
        *_errors_of_a_run(measured),
    ]
    for table in TABLES:
        if rows := table_lines(table, measured.values, titles, bounds, {"prior": measured.priors}):
            lines += [f"### {table.title}", "", *rows, "", table_legend(table, measured.values, titles), ""]
    return lines


def _recognised(measured: Measured) -> str:
    """Returns a sentence on what is recognised, or why nothing is."""
    if any(name.endswith(".recognised") for of_row in measured.values.values() for name in of_row):
        return "Recognised: the mean probability that the judge gives to the classes of the validation images."
    return (
        "What is recognised in images is not measured here: the judge spreads the validation images over too many of "
        "its classes."
    )


def _errors_of_a_run(measured: Measured) -> list[str]:
    """Returns a sentence on how far the numbers of one run would move with other images."""
    names = {"samples.kd": "the kernel distance of samples", "midpoints.kd": "that of midpoints"}
    parts = []
    for name, words in names.items():
        section, _, last = name.rpartition(".")
        known = [
            of_row[f"{section}.se.{last}"] for of_row in measured.values.values() if f"{section}.se.{last}" in of_row
        ]
        if known:
            parts.append(f"{words} has a standard error of {format_of(name).pair(float(np.mean(known)), None)}")
    if not parts:
        return []
    return [
        f"With other images, the numbers of a run would change: {' and '.join(parts)}. All rows are compared with the "
        "same test images, so differences between rows would change less.",
        "",
    ]


def _differences_section(measured: Measured) -> list[str]:
    lines = difference_lines(measured.values, measured.titles)
    if not lines:
        return []
    return [
        f"## Differences to {measured.titles[BASE]}",
        "",
        *lines,
        "",
        f"Each run is compared with {measured.titles[BASE]} of the same seed: the mean difference ± its standard error "
        f"over the {len(measured.seeds)} seeds. In bold: 0 is outside of the 95 % interval (Student's t).",
        "",
    ]


def _judges_section(measured: Measured, claims: Sequence[Claim]) -> list[str]:
    """Returns the same priors and claims under every judge; nothing if there is only one judge."""
    about, values, titles = measured.reference.about, measured.values, measured.titles
    others = about.get("other_judges", [])
    if not others:
        return []
    names = ["other judge"] if len(others) == 1 else [f"other judge {number}" for number in range(1, len(others) + 1)]
    judges = {"": "judge", **dict(zip(others, names, strict=True))}
    who = [f"{title}: {name or about['feature_network']}" for name, title in judges.items()]
    return [
        "## Two judges" if len(judges) == 2 else f"## {len(judges)} judges",
        "",
        f"The same images, seen by another feature network ({'; '.join(who)}). The judge chose the priors, so "
        "all networks see the same samples.",
        "",
        *prior_judge_lines(values, titles, judges),
        "",
        "The kernel distance of samples of each prior to the test images, and the rank of the prior, 1 for the "
        "nearest, averaged over all methods. Kernel distances of two judges have different units.",
        "",
        *claim_judge_lines(claims, values, judges),
        "",
        "The claims whose numbers come from a judge, with the mean difference or ratio of the two methods ± its "
        "standard error; “on the mean”: not with every seed.",
        "",
    ]


def _split_section(split: Mapping[str, float]) -> list[str]:
    lines = [
        [title, f"{split['coverage' + suffix]:.3f}", f"{split['distance' + suffix]:.3g}"]
        for title, suffix in (("nearest to the centroids", ""), ("random", "_random"))
    ]
    return [
        "## The split",
        "",
        *markdown_table(["first subset", "coverage ↑", "mean distance ↓"], lines),
        "",
        "Incremental methods learn subset after subset. The table shows how well the first subset (the images nearest "
        "to the centroids of clusters of features) represents all training images, beside a random subset of the same "
        "size. Coverage: the share of clusters with an image in the subset. "
        "Mean distance: from every training image to the nearest image of the subset.",
        "",
    ]


def _figures_section(drawn: Sequence[str], seed: int) -> list[str]:
    lines = ["## Figures", "", f"All images are of seed {seed}. Every row of a figure shows the same originals.", ""]
    for name in drawn:
        lines += [f"![{name}](figures/{name}.png)", "", CAPTIONS[name], ""]
    return lines
