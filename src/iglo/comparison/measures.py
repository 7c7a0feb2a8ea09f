"""How each kind of number in the comparison is written, and which of a column is best."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from iglo.comparison.runs import Values, mean_std


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
    "images_seen_to_target": Measure("", "lower"),
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


def best_rows(values: Values, metric: str) -> set[str]:
    """The rows with the best mean of a metric; one that lacks it, or whose mean is not finite, is no candidate."""
    means = {row: of_row[metric].mean() for row, of_row in values.items() if metric in of_row}
    rank = RANKS.get(measure_of(metric).better)
    ranks = {row: rank(mean) for row, mean in means.items() if np.isfinite(mean)} if rank else {}
    return {row for row in ranks if ranks[row] == min(ranks.values())}
