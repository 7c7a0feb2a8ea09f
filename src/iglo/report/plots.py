"""Plots curves, points and histograms to PNG files, for a page about 900 px wide. Same input, same bytes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.isotonic import isotonic_regression

from iglo.files.io import whole_file
from iglo.report.figures import FAINT, INK, PAGE
from iglo.report.fonts import BOLD, font, wrapped

# Okabe & Ito 2008 without yellow, which is too faint on white, then three of Tol's. Colour-blind people can tell them
# apart too.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#444444", "#882255", "#999933", "#332288"),
)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # the next dash when all colours are used
ROW = 15  # pt, a row of text above a plot
TITLE_SIZE, TITLE_WIDTH, PIXELS_PER_POINT = 13, 780, 100 / 72  # pt; px at which it wraps; at matplotlib's 100 dpi
LEGEND_COLUMNS = 3
NEAR_NAME = 0.9  # share of the width; a curve that ends farther right ends near its name
GREY = "#c4c4c4"
CROSS = {"s": 32, "c": "#a02020", "linewidths": 1.2}
MUTED = (
    *("#8ea9c9", "#e8b48a", "#93c4a0", "#d99a9b", "#b5a3cf", "#bfa48f", "#e3b3cf", "#b9b9b9", "#cfc98a", "#93cbd3"),
    *("#a3b18a", "#c9a3a3"),
)


def save_curves(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x_label: str,
    y_label: str,
    title: str,
    log_y: bool = False,
    marks: Sequence[tuple[float, str]] | None = None,
    log_x: bool = False,
) -> None:
    """Plots curves with their names at the right; a curve without a point that can be drawn has no name.

    A curve has gaps where y is NaN. A point between two gaps is drawn as a dot.

    Args:
        curves: name → x `(n,)` and y `(n,)`; n may differ.
        marks: vertical lines, each (x, text).
        log_x: logarithmic x axis; all x must be above 0.
    """
    figure, axes = _plot(x_label, y_label)
    for index, (x, y) in enumerate(curves.values()):
        axes.plot(x, y, linewidth=1.8, marker="o", markersize=4, markevery=_alone(y), **_line_style(index))
    axes.margins(x=0.01)
    if log_x:
        _set_log_x(axes)
    if log_y:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    _set_title(axes, title, rows_below=_draw_marks(axes, marks or []))
    _name_at_right(axes, curves)
    _save(figure, path)


Band = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y and spread


def save_bands(
    path: str | Path,
    curves: Mapping[str, Band],
    x_label: str,
    y_label: str,
    title: str,
    dashed: Mapping[str, Band] | None = None,
    x_ticks: Sequence[str] | None = None,
    log_x: bool = False,
) -> None:
    """Plots curves, each with a band y ± spread and its name at the right.

    Args:
        curves: name → x `(n,)`, y `(n,)` and spread `(n,)`; n may differ.
        dashed: second curves, dashed, each in the colour of the curve of the same name.
        x_ticks: texts for x = 0, 1, 2 …; None for numbers.
        log_x: logarithmic x axis; points at x ≤ 0 are left out.
    """
    figure, axes = _plot(x_label, y_label)
    dashed = dashed or {}
    if log_x:
        curves, dashed = _at_positive_x(curves), _at_positive_x(dashed)
    for index, (name, curve) in enumerate(curves.items()):
        style = _line_style(index)
        _draw_band(axes, curve, **style)
        if name in dashed:
            _draw_band(axes, dashed[name], **style | {"linestyle": DASHES[1]})
    axes.margins(x=0.01)
    if log_x:
        _set_log_x(axes)
    if x_ticks:
        axes.set_xticks(range(len(x_ticks)), x_ticks)
    _set_title(axes, title, rows_below=0)
    _name_at_right(axes, {name: (x, y) for name, (x, y, _) in curves.items()})
    _save(figure, path)


def save_split(
    path: str | Path,
    projection: np.ndarray,
    labels: np.ndarray,
    selected: np.ndarray,
    title: str = "Clusters of the training images and the images chosen",
    x_label: str = "first component",
    y_label: str = "second component",
) -> None:
    """Plots the training images as points, the chosen ones outlined in black, and a cross at each cluster's mean.

    Each cluster has its colour if there are enough colours. Else all images are grey, and the chosen ones blue.

    Args:
        projection: `(N, 2)`, for instance the first two principal components of the features.
        labels: `(N,)` cluster of each image.
        selected: `(M,)` row indices of the chosen images.
    """
    figure, axes = _plot(x_label, y_label, height=6.4)
    clusters, labels = np.unique(labels, return_inverse=True)
    centres = np.stack([projection[labels == cluster].mean(axis=0) for cluster in range(len(clusters))])
    few = len(clusters) <= len(MUTED)
    colours = np.array(MUTED)[labels] if few else np.full(len(labels), GREY)
    picked = colours[selected] if few else np.full(len(selected), COLOURS[5])
    size = float(np.clip(30_000 / len(projection), 5, 30))  # pt²
    axes.scatter(*projection.T, s=size, c=colours, linewidths=0)
    axes.scatter(*projection[selected].T, s=1.6 * size, c=picked, edgecolors="black", linewidths=0.8)
    axes.scatter(*centres.T, marker="x", **CROSS)
    # empty plots of a fixed colour and size, for the legend
    shown = f"{len(projection)} images" + (", a colour for each cluster" if few else "")
    axes.scatter([], [], s=40, c=MUTED[0] if few else GREY, linewidths=0, label=shown)
    chosen = {"c": MUTED[0] if few else COLOURS[5], "edgecolors": "black", "linewidths": 1}
    axes.scatter([], [], s=40, **chosen, label=f"{len(selected)} chosen")
    axes.scatter([], [], marker="x", **CROSS, label=f"means of {len(clusters)} clusters")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.set_aspect("equal", adjustable="datalim")
    _set_title(axes, title, rows_below=_draw_legend_above(axes))
    _save(figure, path)


def save_histograms(path: str | Path, named_values: Mapping[str, np.ndarray], x_label: str, title: str) -> None:
    """Plots distributions over common bins, each of area 1, with a line at each median.

    named_values: name → values of any length.
    """
    figure, axes = _plot(x_label, "density")
    values = [np.ravel(each) for each in named_values.values()]
    edges = np.histogram_bin_edges(np.concatenate(values), bins=40)
    for index, (name, each) in enumerate(zip(named_values, values, strict=True)):
        colour, median = COLOURS[index % len(COLOURS)], np.median(each)
        axes.hist(each, edges, density=True, histtype="stepfilled", color=colour, alpha=0.3)
        axes.hist(each, edges, density=True, histtype="step", color=colour, linewidth=1.5)
        axes.axvline(median, color=colour, linewidth=1.8, linestyle=(0, (4, 2)), label=f"{name} (median {median:.3g})")
    axes.set_yticks([])
    axes.margins(x=0)
    _set_title(axes, title, rows_below=_draw_legend_above(axes))
    _save(figure, path)


def _plot(x_label: str, y_label: str, height: float = 4.6) -> tuple[Figure, Axes]:
    """A new figure, 9 inches wide, without pyplot; at 900 px its text is about 15 px high."""
    figure = Figure(figsize=(PAGE / 100, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, fontsize=11, color=INK)
    axes.set_ylabel(y_label, fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors="#555555", labelsize=10)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _set_log_x(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: str | Path) -> None:
    with whole_file(path) as partial:
        # twice the pixels of the page; without the software's name, whose version would change the bytes
        figure.savefig(partial, format="png", dpi=200, facecolor="white", metadata={"Software": None})


def _at_positive_x(curves: Mapping[str, Band]) -> dict[str, Band]:
    return {name: tuple(np.asarray(part)[np.greater(curve[0], 0)] for part in curve) for name, curve in curves.items()}


def _draw_band(axes: Axes, curve: Band, color: str, linestyle: str | tuple) -> None:
    x, y, spread = map(np.asarray, curve)
    axes.fill_between(x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=color, linestyle=linestyle, linewidth=1.8)


def _line_style(index: int) -> dict:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def _set_title(axes: Axes, title: str, rows_below: int) -> None:
    """Sets the title, in as many lines as it needs, with space for `rows_below` rows of text below it."""
    face = font(BOLD, round(TITLE_SIZE * PIXELS_PER_POINT))
    title = wrapped(title, face, TITLE_WIDTH, break_words=True)
    pad = 10 + ROW * rows_below
    axes.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold", color=INK, pad=pad)


def _draw_legend_above(axes: Axes) -> int:
    """Draws a legend between axes and title; returns its number of rows."""
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


def _draw_marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> int:
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


def _name_at_right(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes each curve's name at the right, at the height of its last point; moves names that would overlap.

    A dotted line leads from a curve to its name. There is none if the curve ends far from the name: there it
    would look like a part of the curve.
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
        colour = _line_style(index)["color"]
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


def _alone(y: np.ndarray) -> list[int]:
    """Indices of points that can be drawn, but whose neighbours cannot."""
    drawable = np.pad(np.isfinite(np.asarray(y, dtype=np.float64)), 1)
    return np.flatnonzero(drawable[1:-1] & ~drawable[:-2] & ~drawable[2:]).tolist()


def _last_point(x: np.ndarray, y: np.ndarray, positive: bool) -> tuple[float, float] | None:
    """The last point that can be drawn, or None."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    drawable = np.flatnonzero(np.isfinite(y) & ((y > 0) | (not positive)))
    return (float(x[drawable[-1]]), float(y[drawable[-1]])) if len(drawable) else None
