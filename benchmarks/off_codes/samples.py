"""Draws samples and midpoints of the old settings and of the new ones, side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.off_codes.images import Judged
from benchmarks.off_codes.measure import Made
from iglo.report.figures import save_grid

SHOWN = 10
SETS = {"gaussian": "fitted Gaussian", "neighbours": "neighbours", "midpoints": "midpoints"}


def draw_samples(path: Path, made: Mapping[str, Made], judged: Judged) -> None:
    """Writes a grid: real images, each set of each training, and what is nearest to the last training's neighbours.

    Every row has the first images of its set. The same random draws are behind the sets of each training.

    Args:
        made: name of the settings → what was made with them.
    """
    rows = {"real test images": judged.test[:SHOWN] / np.float32(255)}
    for key, title in SETS.items():
        rows |= {f"{title}: {name}": each.sets[key][:SHOWN] for name, each in made.items()}
        if key == "neighbours":
            last = rows[f"{title}: {list(made)[-1]}"]
            rows["nearest training images"] = judged.nearest(last) / np.float32(255)
    save_grid(path, list(rows.values()), "Images off the codes", list(rows))
