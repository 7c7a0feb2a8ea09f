"""The claims of the comparison: statements that are checked against the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from iglo.comparison.formats import NumberFormat, format_of
from iglo.comparison.runs import OTHER_JUDGES, TARGET, Values, mean_std

Side = tuple[str, str] | float  # (row, metric), or a constant


@dataclass(frozen=True)
class Claim:
    """A statement about two numbers: their difference or ratio, for each seed, is compared with a threshold.

    Attributes:
        statement: without a full stop.
        right: 0.0 compares `left` itself with the threshold.
        threshold: of a difference, in the unit of `left`; of a ratio, a number.
    """

    statement: str
    left: Side
    operator: Literal["difference at least", "difference at most", "ratio at most"]
    right: Side
    threshold: float


def _more(statement: str, metric: str, row: str, than: str, by: float = 0) -> Claim:
    """Returns the claim that a metric of `row` is at least `by` greater than that of the row `than`."""
    return Claim(statement, (row, metric), "difference at least", (than, metric), by)


def _less(statement: str, metric: str, row: str, than: str, by: float = 0) -> Claim:
    """Returns the claim that a metric of `row` is at least `by` less than that of the row `than`."""
    return Claim(statement, (row, metric), "difference at most", (than, metric), -by)


def _share(statement: str, metric: str, row: str, of: str, share: float) -> Claim:
    """Returns the claim that a metric of `row` is at most a share of that of the row `of`."""
    return Claim(statement, (row, metric), "ratio at most", (of, metric), share)


PSNR, ENCODED = "train.recon.psnr", "test.encoder.psnr"

CLAIMS = (
    _more("Our GLO reconstructs 3 dB better than the paper's run", PSNR, "glo", TARGET, 3),
    _more("… and 1.5 dB better than the paper's run, mended", PSNR, "glo", "paper_fixed", 1.5),
    Claim(
        "It reaches the final PSNR of the paper's run with a fifth of the images seen",
        ("glo", "images_seen_to_target"),
        "ratio at most",
        (TARGET, "images_seen"),
        0.2,
    ),
    _more(
        "Incremental learning is more effective: it reconstructs better than GLO at equal budget",
        PSNR,
        "incremental",
        "glo",
    ),
    _more("… also when an encoder gives the first codes of later subsets", PSNR, "incremental_encoder", "glo"),
    _less("… its samples are nearer to test images", "samples.kd", "incremental", "glo"),
    _more("… more of what the samples show is recognised", "samples.recognised", "incremental", "glo"),
    _less("… its midpoints are nearer to test images", "midpoints.kd", "incremental", "glo"),
    _more(
        "Clustered subsets are worth their cost: they reconstruct better than random subsets",
        PSNR,
        "incremental",
        "incremental_random",
    ),
    _less("… samples are nearer to test images", "samples.kd", "incremental", "incremental_random"),
    _less("… midpoints are nearer to test images", "midpoints.kd", "incremental", "incremental_random"),
    _share("Continuity shortens paths by 30 % against GLO", "interpolation.ppl", "continuity", "glo", 0.7),
    _less("… makes them less jerky", "interpolation.jerkiness", "continuity", "glo"),
    _share(
        "… brings their midpoints nearer to training images", "interpolation.midpoint_realism", "continuity", "glo", 1
    ),
    _less("… brings their midpoints nearer to test images", "midpoints.kd", "continuity", "glo"),
    _more("… more of what the midpoints show is recognised", "midpoints.recognised", "continuity", "glo"),
    _less("… makes midpoints less of a crossfade", "interpolation.ghost_index", "continuity", "glo"),
    _less("… closes the gap between midpoints and reconstructions", "off_code.midpoints", "continuity", "glo"),
    _less("… closes the gap between samples and reconstructions", "off_code.samples", "continuity", "glo"),
    Claim("… costs at most 0.5 dB of reconstruction", ("glo", PSNR), "difference at most", ("continuity", PSNR), 0.5),
    _share("… and brings samples 25 % nearer to test images", "samples.kd", "continuity", "glo", 0.75),
    _more("… more of what the samples show is recognised", "samples.recognised", "continuity", "glo"),
    Claim(
        "An IMLE mapping, fitted to GLO's codes, draws samples nearer to test images than N(0, I)",
        ("glo", "priors.imle.kd"),
        "difference at most",
        ("glo", "priors.normal.kd"),
        0,
    ),
    Claim(
        "… and nearer than a Gaussian fitted to the codes",
        ("glo", "priors.imle.kd"),
        "difference at most",
        ("glo", "priors.gaussian.kd"),
        0,
    ),
    Claim(
        "The encoder trained on codes reconstructs test images with at least 19.7 dB",
        ("glo", ENCODED),
        "difference at least",
        0.0,
        19.7,
    ),
    _more(
        "Generator and encoder trained together reconstruct better than an encoder trained on codes alone",
        ENCODED,
        "glo_joint",
        "glo",
    ),
    Claim(
        "The joint encoder alone is within 1.5 dB of 500 steps of optimisation from a random code",
        ("glo_joint", "inversion.random.500.psnr"),
        "difference at most",
        ("glo_joint", "inversion.encoder.0.psnr"),
        1.5,
    ),
    Claim(
        "The joint encoder with 50 steps is better than 500 steps from a random code",
        ("glo_joint", "inversion.encoder.50.psnr"),
        "difference at least",
        ("glo_joint", "inversion.random.500.psnr"),
        0,
    ),
)


def _ratio(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the ratio, or NaN where `right` is not positive: then no bound holds."""
    return np.divide(left, right, out=np.full_like(left, np.nan), where=right > 0)


OPERATORS = {
    "difference at least": (np.subtract, np.greater_equal),
    "difference at most": (np.subtract, np.less_equal),
    "ratio at most": (_ratio, np.less_equal),
}


def claim_line(claim: Claim, values: Values, titles: Mapping[str, str]) -> str:
    """Returns a line of Markdown: whether the claim holds with every seed or on the mean alone, and its numbers."""
    sides = (claim.left, claim.right)
    missing = [_named(side, titles) for side in sides if _numbers(side, values) is None]
    if missing:
        return f"**not measured**: {claim.statement} (missing: {', '.join(dict.fromkeys(missing))})."
    quantity, limit = claim.operator.split(" ", 1)
    written = format_of(claim.left[1]) if quantity == "difference" and isinstance(claim.left, tuple) else NumberFormat()
    evidence = [_shown(side, values, titles) for side in sides if side != 0]
    if claim.right != 0:
        evidence.append(f"{quantity} {_with_error(compared(claim, values), written)}")
    asked = f"asked for: {limit} {claim.threshold:g} {written.unit}".rstrip()
    return f"{verdict(claim, values)}: {claim.statement} ({'; '.join([*evidence, asked])})."


def compared(claim: Claim, values: Values) -> np.ndarray:
    """Returns the (S,) differences or ratios of a claim whose sides were both measured."""
    compare, _ = OPERATORS[claim.operator]
    with np.errstate(invalid="ignore"):  # the difference of two infinite numbers
        return compare(*np.broadcast_arrays(*(_numbers(side, values) for side in (claim.left, claim.right))))


def by_judge(claim: Claim, judge: str) -> Claim:
    """Returns the claim about the numbers of another judge."""
    left, right = (
        (side[0], f"{OTHER_JUDGES}{judge}.{side[1]}") if isinstance(side, tuple) else side
        for side in (claim.left, claim.right)
    )
    return replace(claim, left=left, right=right)


def is_measured(claim: Claim, values: Values) -> bool:
    """Returns whether all numbers of a claim were measured."""
    return all(_numbers(side, values) is not None for side in (claim.left, claim.right))


def verdict(claim: Claim, values: Values) -> str:
    """Returns whether the claim holds, and with how many seeds if they disagree."""
    _, within = OPERATORS[claim.operator]
    by_seed = compared(claim, values)
    held, seeds = int(within(by_seed, claim.threshold).sum()), len(by_seed)
    if held == seeds:
        return "**holds**, with every seed"
    if within(by_seed.mean(), claim.threshold):
        return f"**holds** on the mean, but with {held} of {seeds} seeds only"
    return f"**does not hold** on the mean, though with {held} of {seeds} seeds" if held else "**does not hold**"


def _numbers(side: Side, values: Values) -> np.ndarray | None:
    """Returns the (S,) values of a metric, None if it was not measured, or a constant as an array of shape ()."""
    return values.get(side[0], {}).get(side[1]) if isinstance(side, tuple) else np.array(side, np.float64)


def _named(side: Side, titles: Mapping[str, str]) -> str:
    return f"{titles.get(side[0], side[0])} `{side[1]}`" if isinstance(side, tuple) else f"{side:g}"


def _shown(side: Side, values: Values, titles: Mapping[str, str]) -> str:
    number = f" {format_of(side[1]).shown(_numbers(side, values))}" if isinstance(side, tuple) else ""
    return _named(side, titles) + number


def _with_error(by_seed: np.ndarray, written: NumberFormat) -> str:
    """Returns the mean of (S,) differences or ratios and its standard error, the deviation over √S."""
    if not np.isfinite(by_seed).all():
        return written.shown(by_seed, "infinite")
    mean, std = mean_std(by_seed)
    return written.pair(mean, None if std is None else std / len(by_seed) ** 0.5)


def outcome(claim: Claim, values: Values) -> str:
    """Returns a few words for a table: whether the claim holds, and the mean difference or ratio with its error."""
    written = format_of(claim.left[1]) if claim.operator.startswith("difference") else NumberFormat()
    held = verdict(claim, values).replace("**", "").partition(",")[0]
    return f"{held} ({_with_error(compared(claim, values), written)})"
