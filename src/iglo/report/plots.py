"""Plots curves, points and histograms to PNG files, for a page about 900 px wide.

The same input gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from iglo.report.axes import (
    COLOURS,
    DASHES,
    Labels,
    draw_legend_above,
    draw_marks,
    isolated_points,
    line_style,
    name_at_right,
    new_plot,
    save,
    set_log_x,
    set_log_y,
    set_title,
)

GREY = "#c4c4c4"
CROSS = {"s": 32, "c": "#a02020", "linewidths": 1.2}
MUTED = (
    *("#8ea9c9", "#e8b48a", "#93c4a0", "#d99a9b", "#b5a3cf", "#bfa48f", "#e3b3cf", "#b9b9b9", "#cfc98a", "#93cbd3"),
    *("#a3b18a", "#c9a3a3"),
)


def save_curves(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: Labels,
    log_y: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    log_x: bool = False,
) -> None:
    """Plots curves with their names at the right.

    A curve has a gap where y is NaN. A point between two gaps is drawn as a dot. A curve without any point that can be
    drawn has no name.

    Args:
        curves: name → x `(n,)` and y `(n,)`; n may differ.
        marks: vertical lines, each (x, text).
        log_x: logarithmic x axis; all x must be above 0.
    """
    figure, axes = new_plot(labels)
    for index, (x, y) in enumerate(curves.values()):
        axes.plot(x, y, linewidth=1.8, marker="o", markersize=4, markevery=isolated_points(y), **line_style(index))
    axes.margins(x=0.01)
    if log_x:
        set_log_x(axes)
    if log_y:
        set_log_y(axes)
    set_title(axes, labels.title, rows_below=draw_marks(axes, marks))
    name_at_right(axes, curves)
    save(figure, path)


Band = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y and spread


def save_bands(
    path: str | Path,
    curves: Mapping[str, Band],
    labels: Labels,
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
    figure, axes = new_plot(labels)
    dashed = dashed or {}
    if log_x:
        curves, dashed = _at_positive_x(curves), _at_positive_x(dashed)
    for index, (name, curve) in enumerate(curves.items()):
        style = line_style(index)
        _draw_band(axes, curve, **style)
        if name in dashed:
            _draw_band(axes, dashed[name], **style | {"linestyle": DASHES[1]})
    axes.margins(x=0.01)
    if log_x:
        set_log_x(axes)
    if x_ticks:
        axes.set_xticks(range(len(x_ticks)), x_ticks)
    set_title(axes, labels.title, rows_below=0)
    name_at_right(axes, {name: (x, y) for name, (x, y, _) in curves.items()})
    save(figure, path)


def save_split(
    path: str | Path,
    projection: np.ndarray,
    labels: np.ndarray,
    selected: np.ndarray,
    title: str = "Clusters of the training images and the images chosen",
) -> None:
    """Plots the training images as points, the chosen ones outlined in black, and a cross at each cluster's mean.

    Each cluster has its own colour if there are enough colours. Else all images are grey and the chosen ones blue.

    Args:
        projection: `(N, 2)`, the first two principal components of the features.
        labels: `(N,)` cluster of each image.
        selected: `(M,)` row indices of the chosen images.
    """
    figure, axes = new_plot(Labels(title, "first component", "second component"), height=6.4)
    clusters, labels = np.unique(labels, return_inverse=True)
    centres = np.stack([projection[labels == cluster].mean(axis=0) for cluster in range(len(clusters))])
    few = len(clusters) <= len(MUTED)
    colours = np.array(MUTED)[labels] if few else np.full(len(labels), GREY)
    picked = colours[selected] if few else np.full(len(selected), COLOURS[5])
    size = float(np.clip(30_000 / len(projection), 5, 30))  # pt²
    axes.scatter(*projection.T, s=size, c=colours, linewidths=0)
    axes.scatter(*projection[selected].T, s=1.6 * size, c=picked, edgecolors="black", linewidths=0.8)
    axes.scatter(*centres.T, marker="x", **CROSS)
    # plots without points, for the legend
    shown = f"{len(projection)} images" + (", a colour for each cluster" if few else "")
    axes.scatter([], [], s=40, c=MUTED[0] if few else GREY, linewidths=0, label=shown)
    chosen = {"c": MUTED[0] if few else COLOURS[5], "edgecolors": "black", "linewidths": 1}
    axes.scatter([], [], s=40, **chosen, label=f"{len(selected)} chosen")
    axes.scatter([], [], marker="x", **CROSS, label=f"means of {len(clusters)} clusters")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.set_aspect("equal", adjustable="datalim")
    set_title(axes, title, rows_below=draw_legend_above(axes))
    save(figure, path)


def save_histograms(path: str | Path, named_values: Mapping[str, np.ndarray], x_label: str, title: str) -> None:
    """Plots distributions as histograms of area 1 over common bins, with a line at each median.

    Args:
        named_values: name → values, any number of them.
    """
    figure, axes = new_plot(Labels(title, x_label, "density"))
    values = [np.ravel(each) for each in named_values.values()]
    edges = np.histogram_bin_edges(np.concatenate(values), bins=40)
    for index, (name, each) in enumerate(zip(named_values, values, strict=True)):
        colour, median = COLOURS[index % len(COLOURS)], np.median(each)
        axes.hist(each, edges, density=True, histtype="stepfilled", color=colour, alpha=0.3)
        axes.hist(each, edges, density=True, histtype="step", color=colour, linewidth=1.5)
        axes.axvline(median, color=colour, linewidth=1.8, linestyle=(0, (4, 2)), label=f"{name} (median {median:.3g})")
    axes.set_yticks([])
    axes.margins(x=0)
    set_title(axes, title, rows_below=draw_legend_above(axes))
    save(figure, path)


def save_changes(
    path: str | Path, changes: Mapping[str, tuple[float, float]], labels: Labels, names: tuple[str, str]
) -> None:
    """Plots two numbers of each name on a line: an open dot for the first, a full one for the second.

    Args:
        changes: name → the two numbers. The names are written at the left, the first one at the top.
        names: what the first and the second number are.
    """
    figure, axes = new_plot(labels, height=1.9 + 0.42 * len(changes))
    first, second = np.array(list(changes.values())).T
    places = np.arange(len(changes))
    axes.hlines(places, first, second, color=GREY, linewidth=2.5, zorder=1)
    axes.scatter(first, places, s=64, facecolors="white", edgecolors=COLOURS[0], linewidths=1.8, label=names[0])
    axes.scatter(second, places, s=64, color=COLOURS[0], label=names[1])
    axes.set_yticks(places, list(changes))
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.margins(x=0.08)
    set_title(axes, labels.title, rows_below=draw_legend_above(axes))
    save(figure, path)


def _at_positive_x(curves: Mapping[str, Band]) -> dict[str, Band]:
    return {name: tuple(np.asarray(part)[np.greater(curve[0], 0)] for part in curve) for name, curve in curves.items()}


def _draw_band(axes: Axes, curve: Band, color: str, linestyle: str | tuple) -> None:
    x, y, spread = map(np.asarray, curve)
    axes.fill_between(x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=color, linestyle=linestyle, linewidth=1.8)
