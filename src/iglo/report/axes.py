"""What the plots have in common: empty plots, colours, titles, legends, marks and names of curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.isotonic import isotonic_regression

from iglo.files.io import whole_file
from iglo.report.figures import FAINT, INK, PAGE
from iglo.report.fonts import BOLD, font, wrapped

# The colours of Okabe & Ito 2008 without yellow, which is too faint on white, then three of Paul Tol's. Colour-blind
# readers can distinguish them.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#444444", "#882255", "#999933", "#332288"),
)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # the next one is used after all colours
ROW = 15  # pt, a row of text above a plot
TITLE_SIZE, TITLE_WIDTH, PIXELS_PER_POINT = 13, 780, 100 / 72  # pt; px at which it wraps; at matplotlib's 100 dpi
LEGEND_COLUMNS = 3
NEAR_NAME = 0.9  # share of the width; a curve that ends to the right of it ends near its name


@dataclass(frozen=True)
class Labels:
    """The texts of a plot: its title and the names of its axes."""

    title: str
    x: str = ""
    y: str = ""


def new_plot(labels: Labels, height: float = 4.6) -> tuple[Figure, Axes]:
    """Returns an empty figure, 9 inches wide, without pyplot; at 900 px its text is about 15 px high."""
    figure = Figure(figsize=(PAGE / 100, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(labels.x, fontsize=11, color=INK)
    axes.set_ylabel(labels.y, fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors="#555555", labelsize=10)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def set_log_x(axes: Axes) -> None:
    """Makes the x axis logarithmic, with few ticks."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def set_log_y(axes: Axes) -> None:
    """Makes the y axis logarithmic, with few ticks."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def save(figure: Figure, path: str | Path) -> None:
    """Writes the figure as a PNG with twice the pixels of the page."""
    with whole_file(path) as partial:
        # without the name of the software, because its version would change the bytes
        figure.savefig(partial, format="png", dpi=200, facecolor="white", metadata={"Software": None})


def line_style(index: int) -> dict:
    """Returns the colour and the dashes of the curve number `index`."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def set_title(axes: Axes, title: str, rows_below: int) -> None:
    """Sets the title, in as many lines as it needs, with space for `rows_below` rows of text below it."""
    face = font(BOLD, round(TITLE_SIZE * PIXELS_PER_POINT))
    title = wrapped(title, face, TITLE_WIDTH, break_words=True)
    pad = 10 + ROW * rows_below
    axes.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold", color=INK, pad=pad)


def draw_legend_above(axes: Axes) -> int:
    """Draws a legend between the axes and the title; returns its number of rows."""
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1),
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize=10.5,
        labelcolor=INK,
        borderaxespad=0,
        handletextpad=0.4,
    )
    return math.ceil(len(legend.get_texts()) / LEGEND_COLUMNS)


def draw_marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> int:
    """Draws vertical lines with texts above the axes; returns how many rows the texts need."""
    low, high = axes.get_xlim()
    row_ends: list[float] = []  # where the last text of each row ends, as a share of the width
    for x, text in sorted(marks):
        start = (x - low) / (high - low)
        row = next((row for row, end in enumerate(row_ends) if end <= start), len(row_ends))
        row_ends[row : row + 1] = [start + 0.012 * (len(text) + 1)]
        axes.annotate(
            text,
            (x, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3 + ROW * row),
            textcoords="offset points",
            fontsize=9.5,
            color="#666666",
        )
        axes.axvline(x, color="#888888", linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
    return len(row_ends)


def name_at_right(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes the name of each curve at the right, at the height of its last point; moves names that would overlap.

    A dotted line leads from the curve to its name, unless the curve ends far from the name: there the line would look
    like a part of the curve.
    """
    to_axes = axes.transScale + axes.transLimits
    positive = axes.get_yscale() == "log"
    ends = {index: _last_point(x, y, positive) for index, (x, y) in enumerate(curves.values())}
    ends = {index: end for index, end in ends.items() if end}
    if not ends:
        return
    heights = np.array([to_axes.transform(end)[1] for end in ends.values()])
    order = np.argsort(heights, kind="stable")
    # least squares under z[i + 1] ≥ z[i] + gap is isotonic regression of z[i] − i · gap
    shifts = np.arange(len(order)) * min(0.055, 1 / len(order))
    heights[order] = isotonic_regression(heights[order] - shifts, y_min=0, y_max=1 - shifts[-1]) + shifts
    names = list(curves)
    for (index, end), height in zip(ends.items(), heights, strict=True):
        colour = line_style(index)["color"]
        leader = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.9,
            "linestyle": ":",
            "relpos": (0, 0.5),
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate(
            names[index],
            end,
            xytext=(1.03, height),
            textcoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=10.5,
            color=colour,
            arrowprops=leader if to_axes.transform(end)[0] > NEAR_NAME else None,
        )


def isolated_points(y: np.ndarray) -> list[int]:
    """Returns the indices of points that can be drawn while their neighbours cannot."""
    drawable = np.pad(np.isfinite(np.asarray(y, dtype=np.float64)), 1)
    return np.flatnonzero(drawable[1:-1] & ~drawable[:-2] & ~drawable[2:]).tolist()


def _last_point(x: np.ndarray, y: np.ndarray, positive: bool) -> tuple[float, float] | None:
    """Returns the last point that can be drawn, or None."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    drawable = np.flatnonzero(np.isfinite(y) & ((y > 0) | (not positive)))
    return (float(x[drawable[-1]]), float(y[drawable[-1]])) if len(drawable) else None
