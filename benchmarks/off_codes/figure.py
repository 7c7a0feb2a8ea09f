"""Draws the frontier: quality at the codes against quality off them, a point for each variant."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from iglo.report.axes import COLOURS, Labels, draw_legend_above, new_plot, save, set_title
from iglo.report.figures import save_stacked

ROOM = np.array([600, 300])  # pt, about the size of the axes
OFFSETS = np.array([(0, 11), (12, 6), (-12, 6), (13, 0), (-13, 0), (0, -11), (12, -7), (-12, -7)])  # pt, of a number
ENOUGH = 14.0  # pt between a number and other things


class Point(NamedTuple):
    """A variant: its number and section in the report, whether it is the first of its section, and its numbers."""

    name: str
    section: str
    first: bool
    reconstructions: float
    midpoints: float
    neighbours: float
    psnr: float
    ghost: float


def draw_frontier(path: Path, points: Sequence[Point]) -> None:
    """Writes two plots, one above the other, as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "distances.png"), Path(folder, "ghosts.png")]
        _draw_distances(files[0], points)
        _draw_ghosts(files[1], points)
        save_stacked(path, [np.asarray(Image.open(file).convert("RGB")) for file in files])


def _draw_distances(path: Path, points: Sequence[Point]) -> None:
    """Plots the kernel distances of midpoints and neighbour mixes against that of reconstructions.

    The legend of the other plot names the colours.
    """
    title = "Off the codes against at the codes: lower left is better"
    labels = Labels(title, "kernel distance of reconstructions", "kernel distance")
    figure, axes = new_plot(labels, height=5.4)
    places = []
    for number, (colour, group) in enumerate(_sections(points)):
        x = [point.reconstructions for point in group]
        midpoints, mixes = ("midpoints", "neighbour mixes") if number == 0 else (None, None)
        lows, highs = ([getattr(p, name) for p in group] for name in ("neighbours", "midpoints"))
        axes.vlines(x, lows, highs, color=colour, alpha=0.35, linewidth=1)
        axes.scatter(x, highs, s=42, c=colour, label=midpoints)
        axes.scatter(x, lows, s=34, facecolors="white", edgecolors=colour, label=mixes)
        places += [(p.reconstructions, p.midpoints, p, colour) for p in group]
    ends = [min(p.reconstructions for p in points), max(p.reconstructions for p in points)]
    axes.plot(ends, ends, color="#888888", linewidth=1, linestyle=(0, (4, 3)), label="as reconstructions")
    _name(axes, places)
    set_title(axes, title, rows_below=draw_legend_above(axes))
    save(figure, path)


def _draw_ghosts(path: Path, points: Sequence[Point]) -> None:
    """Plots the ghost index of midpoints against the PSNR of reconstructions."""
    title = "Ghost index against PSNR: lower right is better"
    figure, axes = new_plot(Labels(title, "PSNR of training images, dB", "ghost index of midpoints"))
    places = []
    for colour, group in _sections(points):
        axes.scatter([p.psnr for p in group], [p.ghost for p in group], s=42, c=colour, label=group[0].section)
        places += [(p.psnr, p.ghost, p, colour) for p in group]
    _name(axes, places)
    set_title(axes, title, rows_below=draw_legend_above(axes))
    save(figure, path)


def _sections(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """Returns a colour and the points of each section."""
    names = list(dict.fromkeys(point.section for point in points))
    return [(COLOURS[i], [point for point in points if point.section == name]) for i, name in enumerate(names)]


def _name(axes: Axes, places: Sequence[tuple[float, float, Point, str]]) -> None:
    """Writes the number of each variant beside its point, where the most room is; the first of a section is bold.

    Args:
        places: x, y, the point and its colour.
    """
    axes.margins(x=0.04, y=0.1)
    axes.autoscale_view()
    points = (axes.transScale + axes.transLimits).transform([place[:2] for place in places]) * ROOM
    names: list[np.ndarray] = []
    for index, (own, (x, y, point, colour)) in enumerate(zip(points, places, strict=True)):
        others = np.array([*np.delete(points, index, axis=0), *names]).reshape(-1, 2)
        rooms = [np.hypot(*(others - own - offset).T).min(initial=ENOUGH) for offset in OFFSETS]
        offset = OFFSETS[int(np.argmax(rooms))]
        names.append(own + offset)
        axes.annotate(
            point.name,
            (x, y),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
            color=colour,
            fontweight="bold" if point.first else "normal",
        )
