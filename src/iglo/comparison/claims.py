"""The claims of the comparison: statements that are checked against the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from iglo.comparison.formats import NumberFormat, format_of
from iglo.comparison.runs import TARGET, Values

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


def _psnr(row: str) -> Side:
    return (row, "train.recon.psnr")


CLAIMS = (
    Claim(
        "Our GLO reconstructs 3 dB better than the paper's run", _psnr("glo"), "difference at least", _psnr(TARGET), 3
    ),
    Claim(
        "… and 1.5 dB better than the paper's run, mended",
        _psnr("glo"),
        "difference at least",
        _psnr("paper_fixed"),
        1.5,
    ),
    Claim(
        "It reaches the final PSNR of the paper's run with a fifth of the images seen",
        ("glo", "images_seen_to_target"),
        "ratio at most",
        (TARGET, "images_seen"),
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
        "… also when an encoder gives the first codes of later subsets",
        _psnr("incremental_encoder"),
        "difference at least",
        _psnr("glo"),
        0,
    ),
    Claim(
        "Clustered subsets are worth their cost: they reconstruct better than random subsets",
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
        "The encoder trained on codes reconstructs held-out images with at least 19.7 dB",
        ("glo", "test.encoder.psnr"),
        "difference at least",
        0.0,
        19.7,
    ),
    Claim(
        "Generator and encoder trained together reconstruct better than an encoder trained on codes alone",
        ("glo_joint", "test.encoder.psnr"),
        "difference at least",
        ("glo", "test.encoder.psnr"),
        0,
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
        evidence.append(f"{quantity} {written.shown(compared(claim, values), 'infinite')}")
    asked = f"asked for: {limit} {claim.threshold:g} {written.unit}".rstrip()
    return f"{verdict(claim, values)}: {claim.statement} ({'; '.join([*evidence, asked])})."


def compared(claim: Claim, values: Values) -> np.ndarray:
    """Returns the (S,) differences or ratios of a claim whose sides were both measured."""
    compare, _ = OPERATORS[claim.operator]
    with np.errstate(invalid="ignore"):  # the difference of two infinite numbers
        return compare(*np.broadcast_arrays(*(_numbers(side, values) for side in (claim.left, claim.right))))


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
