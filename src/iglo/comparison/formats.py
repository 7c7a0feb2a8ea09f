"""How the report writes each kind of number, and which row of a column is best."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from iglo.comparison.runs import Values, mean_std


@dataclass(frozen=True)
class NumberFormat:
    """How a kind of number is written.

    Attributes:
        better: which value of a column is the best: the highest, the lowest or the nearest to 1; "" for none.
        decimals: None for three significant digits.
    """

    unit: str = ""
    better: Literal["higher", "lower", "one", ""] = ""
    decimals: int | None = None

    def shown(self, values: np.ndarray, otherwise: str = "never") -> str:
        """Returns mean ± standard deviation of the finite ones of (S,) values, or `otherwise` if none is finite."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return otherwise
        text = self.pair(*mean_std(finite))
        return text + (f" ({len(finite)} of {len(values)} seeds)" if len(finite) < len(values) else "")

    def pair(self, mean: float, spread: float | None, sign: str = "") -> str:
        """Returns mean ± spread; `sign` "+" writes the sign of a mean above 0 too."""
        decimals = _decimals(max(abs(mean), spread or 0)) if self.decimals is None else self.decimals
        return f"{mean:{sign},.{decimals}f}" + ("" if spread is None else f" ± {spread:,.{decimals}f}")


FORMATS = {  # by the last part of a metric's name
    "psnr": NumberFormat("dB", "higher", 2),
    "ssim": NumberFormat("", "higher", 3),
    "l1": NumberFormat("", "lower"),
    "lpips": NumberFormat("", "lower"),
    "images_seen_to_target": NumberFormat("", "lower"),
    "seconds_to_target": NumberFormat("s", "lower"),
    "ppl": NumberFormat("", "lower"),
    "jerkiness": NumberFormat("", "one", 2),
    "midpoint_realism": NumberFormat("", "one", 2),
    "kd": NumberFormat("", "lower"),
    "fd": NumberFormat("", "lower"),
    "precision": NumberFormat("", "higher", 3),
    "recall": NumberFormat("", "higher", 3),
    "density": NumberFormat("", "", 2),
    "coverage": NumberFormat("", "higher", 2),
    "novelty": NumberFormat("", "one", 2),
    "copy_rate": NumberFormat("", "lower", 3),
    "checkerboard": NumberFormat("", "one", 2),
    "recognised": NumberFormat("", "higher", 3),
    "confidence": NumberFormat("", "higher", 3),
    "ghost_index": NumberFormat("", "lower", 3),
    "ghost_index_graph": NumberFormat("", "lower", 3),
    "ghost_index_real": NumberFormat("", "", 3),
    "feature_path_length": NumberFormat("", "lower"),
    "feature_jerkiness": NumberFormat("", "one", 2),
    "samples": NumberFormat("", "lower", 2),  # off_code.samples
    "midpoints": NumberFormat("", "lower", 2),  # off_code.midpoints
    "graph_midpoints": NumberFormat("", "lower", 2),  # off_code.graph_midpoints
    "seconds": NumberFormat("s"),
    "images_per_s": NumberFormat("1/s"),
    "peak_mib": NumberFormat("MiB"),
}
WORDS = {  # metrics of claims
    "train.recon.psnr": "PSNR of training images",
    "test.encoder.psnr": "PSNR of test images through the encoder",
    "images_seen": "images seen",
    "images_seen_to_target": "images seen until the target",
    "samples.kd": "kernel distance of samples",
    "samples.checkerboard": "checkerboards of samples",
    "reconstructions.checkerboard": "checkerboards of reconstructions",
    "samples.recognised": "recognised in samples",
    "midpoints.kd": "kernel distance of midpoints",
    "midpoints.recognised": "recognised in midpoints",
    "off_code.samples": "off-code ratio of samples",
    "off_code.midpoints": "off-code ratio of midpoints",
    "interpolation.ppl": "path length",
    "interpolation.jerkiness": "jerkiness",
    "interpolation.midpoint_realism": "midpoint realism",
    "interpolation.ghost_index": "ghost index",
    "priors.imle.kd": "kernel distance of samples by IMLE",
    "priors.normal.kd": "kernel distance of samples from N(0, I)",
    "priors.gaussian.kd": "kernel distance of samples from the Gaussian",
    "inversion.encoder.0.psnr": "PSNR of inverted test images, encoder alone",
    "inversion.encoder.50.psnr": "PSNR of inverted test images, encoder + 50 steps",
    "inversion.random.500.psnr": "PSNR of inverted test images, random code + 500 steps",
}
RANKS = {"higher": lambda mean: -mean, "lower": lambda mean: mean, "one": lambda mean: abs(mean - 1)}
ARROWS = {"higher": " ↑", "lower": " ↓", "one": " →1", "": ""}


def format_of(metric: str) -> NumberFormat:
    """Returns the format of a metric by the last part of its dotted name."""
    return FORMATS.get(metric.rsplit(".", 1)[-1], NumberFormat())


def words_of(metric: str) -> str:
    """Returns a metric in words, or its name as code if it has none."""
    return WORDS.get(metric, f"`{metric}`")


def _decimals(size: float) -> int:
    """Returns how many decimals show three significant digits of a number of this size; at most six."""
    return min(max(2 - math.floor(math.log10(size)), 0), 6) if size > 0 else 0


def best_rows(values: Values, metric: str) -> set[str]:
    """Returns the rows with the best mean of a metric, among the rows that have it and whose mean is finite."""
    means = {row: of_row[metric].mean() for row, of_row in values.items() if metric in of_row}
    rank = RANKS.get(format_of(metric).better)
    ranks = {row: rank(mean) for row, mean in means.items() if np.isfinite(mean)} if rank else {}
    return {row for row in ranks if ranks[row] == min(ranks.values())}
