"""The table of the differences to one row."""

from collections.abc import Mapping

import numpy as np

from iglo.comparison.formats import ARROWS, format_of
from iglo.comparison.runs import Values, paired_difference
from iglo.files.markdown import markdown_table

BASE = "glo"  # the row that all others are subtracted from
# 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom: half the width of a 95 % interval in standard errors
STUDENT_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)

DIFFERENCES = {
    "train.recon.psnr": "PSNR of training images, dB",
    "test.encoder.psnr": "PSNR of test images through the encoder, dB",
    "samples.kd": "samples: kernel distance",
    "samples.recognised": "samples: recognised",
    "midpoints.kd": "midpoints: kernel distance",
    "midpoints.recognised": "midpoints: recognised",
    "interpolation.ghost_index": "ghost index",
}


def difference_lines(values: Values, titles: Mapping[str, str]) -> list[str]:
    """Returns the lines of a table of differences to the row BASE, mean ± standard error over pairs of equal seeds.

    A difference is in bold if 0 is outside of its 95 % interval (Student's t). No lines without BASE.
    """
    if BASE not in values:
        return []
    base = values[BASE]
    names = [name for name in DIFFERENCES if name in base and np.isfinite(base[name]).all()]
    lines = [
        [titles[row], *(_difference(name, of_row, base) for name in names)]
        for row, of_row in values.items()
        if row != BASE
    ]
    return markdown_table(["", *(DIFFERENCES[name] + ARROWS[format_of(name).better] for name in names)], lines)


def _difference(name: str, of_row: Mapping[str, np.ndarray], base: Mapping[str, np.ndarray]) -> str:
    if name not in of_row:
        return "–"
    mean, error = paired_difference(of_row[name], base[name])
    text = format_of(name).pair(mean, error, "+")
    freedom = min(len(base[name]) - 1, len(STUDENT_T))
    clear = error is not None and abs(mean) > STUDENT_T[freedom - 1] * error
    return f"**{text}**" if clear else text
