"""What the comparison is to show, as statements that the numbers bear out or do not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from iglo.comparison.measures import Measure, measure_of
from iglo.comparison.runs import TARGET, Values

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
        "It gets to the final PSNR of the paper's run with a fifth of the images seen",
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
        "… when an encoder of the learned codes starts later subsets: it reconstructs better than GLO at equal budget",
        _psnr("incremental_encoder"),
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
        ("glo", "test.encoder.psnr"),
        "difference at least",
        0.0,
        19.7,
    ),
    Claim(
        "Generator and encoder learned together do better than codes alone",
        ("glo_joint", "test.encoder.psnr"),
        "difference at least",
        ("glo", "test.encoder.psnr"),
        0,
    ),
    Claim(
        "The joint encoder comes within 1.5 dB of 500 steps of optimisation from a random code",
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
