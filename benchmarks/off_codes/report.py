"""Writes the log of the experiment: tables for each setting, and a figure, from results.json."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.off_codes.figure import Point, draw_frontier
from benchmarks.off_codes.options import Options, Variant, options_of, setting
from iglo.files.io import whole_file
from iglo.files.markdown import markdown_table

Values = dict[str, np.ndarray]  # a metric such as midpoints.kd → its values, one for each seed
Row = tuple[int, Variant, Options, Values]  # number, variant, options, values

SETS = {
    "reconstructions": "reconstructions",
    "neighbours": "neighbour mixes",
    "pairs": "between pairs",
    "midpoints": "midpoints",
    "gaussian": "Gaussian",
    "normal": "N(0, I)",
}
IMAGES = {"frogs": "frogs", "frogs-64": "frogs", "emoji": "emoji"}
OF_REALISM = ("realism", "levels", "drawn")
LOSS, NEARER, LESS_GHOST = 0.5, 0.05, 0.03  # dB; share of the kernel distance; ghost index

INTRODUCTION = """\
# Images off the codes: what was tried

A generator that is good only at its training codes is a compressor. Each row here is a plain GLO (all images at once,
DCGAN, VGG-16 perceptual loss, codes on a sphere) with a small budget. It changes one thing, in some cases several, of
the row that it is compared with. The tables say what was expected, and what images *at* the codes and *off* them are
like. Many of the expectations were written when the first results were known, so they are reasons and no predictions.

    make off-codes IMAGES=FOLDER LOSS_WEIGHTS=FILE JUDGE_WEIGHTS=FILE

trains what has no result yet, and writes this page from `results.json`.

- **Training PSNR**: of the reconstructions, the images of the training codes. **Inverted**: PSNR of 64 test images
  after 100 steps of Adam on their codes, from the code of the nearest training image.
- **Kernel distance** (as KID, cubic polynomial): how far a set of images is from the test images in the features of the
  judge, EfficientNet-Lite0 with ImageNet weights, which runs in bf16. The row *real images* has the distance of the
  validation images, a floor for every generator.
- **Sets**: *reconstructions*; *neighbour mixes*, at a random place between a code and one of its five nearest;
  *between pairs*, at a random place between two random codes; *midpoints* of two random codes; codes of a fitted
  *Gaussian*; codes of *N(0, I)*. A *ratio* divides a set's distance by that of the reconstructions: at 1, the set is as
  good as the images at the codes. A ratio can also fall because the reconstructions get worse.
- **Ghost index** of midpoints: 1 is a crossfade of the two end images, 0 has nothing of them.
- **Recognised**: mean probability that the judge gives to the classes of the validation images (*real images*: in the
  test images).
- **Helped** compares a row with its base. *Yes*: midpoints are nearer to the test images by at least 5 % of their
  kernel distance, or their ghost index is lower by at least 0.03; the other of the two is not worse by as much; and the
  training PSNR is at most 0.5 dB lower. *At a price*: one of the two is better, but the other or the PSNR is worse by
  more than that. *No*: neither is better.
"""


def write_report(folder: Path, record: Mapping, variants: Sequence[Variant]) -> None:
    """Writes report.md and frontier.png from the content of results.json.

    Args:
        record: `machine`, and `results`: variant → seed → the numbers that `measure.measured` returns.
    """
    rows = report_rows(record["results"], variants)
    points = [_point(row) for row in rows]
    if points:
        draw_frontier(folder / "frontier.png", points)
    with whole_file(folder / "report.md") as partial:
        partial.write_text(report_text(record, variants), encoding="utf-8")


def report_text(record: Mapping, variants: Sequence[Variant]) -> str:
    """Returns the report in Markdown."""
    rows = report_rows(record["results"], variants)
    lines = [INTRODUCTION, f"Machine: {record['machine']}. {_seeds(rows)}", ""]
    if rows:
        lines += ["![Kernel distances at and off the codes; ghost index against PSNR](frontier.png)", ""]
    for _, group in groupby(rows, key=lambda row: setting(row[2])):
        lines += _section(list(group))
    return "\n".join(lines)


def report_rows(results: Mapping, variants: Sequence[Variant]) -> list[Row]:
    """Returns the variants that have results, those of a setting together, numbered from 1."""
    options = options_of(variants)
    settings = list(dict.fromkeys(map(setting, options.values())))
    done = [variant for variant in variants if results.get(variant.name)]
    done.sort(key=lambda variant: settings.index(setting(options[variant.name])))
    return [
        (number, variant, options[variant.name], flat(results[variant.name]))
        for number, variant in enumerate(done, start=1)
    ]


def flat(of_seeds: Mapping[str, Mapping]) -> Values:
    """Returns the numbers of all seeds by metric, with the ratios to the reconstructions: midpoints.ratio."""
    runs = []
    for result in of_seeds.values():
        run = {name: value for name, value in result.items() if not isinstance(value, Mapping)}
        for name in ("real", *SETS):
            run |= {f"{name}.{metric}": value for metric, value in result[name].items()}
            run[f"{name}.ratio"] = result[name]["kd"] / result["reconstructions"]["kd"]
        runs.append(run)
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def helped(values: Values, base: Values) -> str:
    """Returns yes, no or at a price, by the rule that the report states."""

    def change(metric: str) -> float:
        return float(values[metric].mean() - base[metric].mean())

    nearer = -change("midpoints.kd") / float(base["midpoints.kd"].mean()) / NEARER
    ghosts = -change("ghost") / LESS_GHOST
    if max(nearer, ghosts) < 1:
        return "no"
    return "yes" if min(nearer, ghosts) > -1 and change("psnr") >= -LOSS else "at a price"


def changed(changes: Mapping[str, object], base: Options) -> str:
    """Returns changes in words: `batch 75 → 32`."""
    parts = []
    for name, value in changes.items():
        old = getattr(base, name)
        new = not old or (name in OF_REALISM and not base.realism_weight)
        parts.append(f"{name.replace('_', ' ')} {'' if new else f'{_plain(old)} → '}{_plain(value)}")
    return ", ".join(parts)


def _section(rows: list[Row]) -> list[str]:
    options = rows[0][2]
    return [
        f"## {options.size}×{options.size} pixels, {options.images:,} {IMAGES[options.data]}",
        "",
        f"Each training renders {options.budget:,} images. {options.measured} images of each set are measured.",
        "",
        *_outcomes(rows),
        "",
        *_numbers(rows),
        "",
    ]


def _outcomes(rows: list[Row]) -> list[str]:
    """Returns the table of expectations and outcomes."""
    known = {variant.name: row for row in rows for variant in [row[1]]}
    lines = []
    for number, variant, _, values in rows:
        base = known.get(variant.base)
        what = changed(variant.changes, base[2]) if base else changed(variant.changes, Options())
        lines.append(
            [
                number,
                f"{what} (from {base[0] if base else variant.base})" if variant.base else what or "–",
                variant.expected,
                _shown(values, "psnr"),
                _shown(values, "midpoints.kd"),
                _shown(values, "ghost"),
                f"**{helped(values, base[3])}**" if base else "",
            ]
        )
    heads = [
        "",
        "what changed",
        "expected",
        "training PSNR, dB",
        "kernel distance of midpoints",
        "ghost index",
        "helped",
    ]
    return markdown_table(heads, lines)


def _numbers(rows: list[Row]) -> list[str]:
    """Returns the table of all numbers, with the real images in its last row."""
    metrics = {
        "psnr": "training PSNR, dB",
        "inverted_psnr": "inverted",
        "ghost": "ghost index",
        **{
            f"{name}.kd": f"kernel distance: {words}" if name == "reconstructions" else words
            for name, words in SETS.items()
        },
        "neighbours.ratio": "ratio: neighbour mixes",
        "midpoints.ratio": "ratio: midpoints",
        "reconstructions.recognised": "recognised: reconstructions",
        "neighbours.recognised": "neighbour mixes",
        "midpoints.recognised": "midpoints",
    }
    lines = [
        [number, f"`{variant.name}`", *(_shown(values, m) for m in metrics)] for number, variant, _, values in rows
    ]
    real = rows[0][3]
    floor = {"reconstructions.kd": "real.kd", "reconstructions.recognised": "real.recognised"}
    lines.append(["", "real images", *(_shown(real, floor[metric]) if metric in floor else "" for metric in metrics)])
    return markdown_table(["", "variant", *metrics.values()], lines)


def _seeds(rows: list[Row]) -> str:
    counts = {len(row[3]["psnr"]) for row in rows}
    if counts <= {1}:
        return "One seed: differences of a few percent may be chance."
    return (
        "± is the sample standard deviation over the seeds; a row without ± has one seed, and its differences of a few "
        "percent may be chance."
    )


def _shown(values: Values, metric: str) -> str:
    """Returns mean ± standard deviation over the seeds; no ± with one seed."""
    decimals = 3 if metric.endswith((".kd", "ghost")) else 2
    each = values[metric]
    spread = f" ± {each.std(ddof=1):.{decimals}f}" if len(each) > 1 else ""
    return f"{round(each.mean(), decimals) + 0.0:.{decimals}f}{spread}"  # + 0.0: no −0.000


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _point(row: Row) -> Point:
    number, variant, options, values = row
    section = f"{options.size}×{options.size}, {options.images:,} {IMAGES[options.data]}"
    metrics = ("reconstructions.kd", "midpoints.kd", "neighbours.kd", "psnr", "ghost")
    return Point(str(number), section, variant.base is None, *(float(values[metric].mean()) for metric in metrics))
