"""Grids, animations and plots as files, made for a page about 900 pixels wide.

Images are `(H, W, C)` or `(N, H, W, C)`, C 1 or 3, uint8 or float in [0, 1]. In grids and animations an image's pixels
are replicated, never blurred. The same input gives the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont
from sklearn.isotonic import isotonic_regression

from iglo.files import whole_file

PAGE = 900  # px, the width that a grid stays within where it can
LARGEST = 96  # px, the side up to which a small image is enlarged
GAP = 4  # px between images
MARGIN = 12  # px around a grid
LABEL_WIDTH = 150  # px at which row labels wrap
LABEL_SIZE, TITLE_SIZE = 15, 19  # px
INK, FAINT = "#222222", "#dcdcdc"

# Okabe & Ito 2008 without their yellow, too faint for lines on white, then three of Tol's: kept apart by the
# colour-blind too
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#444444", "#882255", "#999933", "#332288"),
)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # for each further round of the colours
ROW = 15  # pt, a row of text above a plot
MUTED = (
    *("#8ea9c9", "#e8b48a", "#93c4a0", "#d99a9b", "#b5a3cf", "#bfa48f", "#e3b3cf", "#b9b9b9", "#cfc98a", "#93cbd3"),
    *("#a3b18a", "#c9a3a3"),
)

# --- Grids of images ---


def grid(
    rows: Sequence[np.ndarray],
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> np.ndarray:
    """Rows of images on white, `(height, width, 3) uint8`; text wraps rather than being cut.

    Args:
        rows: image batches `(n, H, W, C)`, all of one H and W; n and C may differ from row to row.
        row_labels: a text for each row, or None.
        column_labels: a text for each column from the left, or None.
        scale: pixels per image pixel; None enlarges images up to 96 pixels, as far as the page is wide enough.
    """
    columns = max(*map(len, rows), len(column_labels or []))
    height, width = rows[0].shape[1:3]
    label_font, title_font = _font("DejaVuSans", LABEL_SIZE), _font("DejaVuSans-Bold", TITLE_SIZE)
    row_texts = [_wrapped(text, label_font, LABEL_WIDTH) for text in row_labels or [""] * len(rows)]
    left = MARGIN + max(_text_size(text, label_font)[0] for text in row_texts)
    left += 2 * GAP if row_labels else 0
    if scale is None:
        room = (PAGE - left - MARGIN) / columns - GAP
        scale = max(1, int(min(room / width, LARGEST / max(height, width))))
    height, width = height * scale, width * scale

    column_texts = [_wrapped(text, label_font, width) for text in column_labels or []]
    column_sizes = [_text_size(text, label_font) for text in column_texts]
    pitch = max([width + GAP, *(text_width + 2 * GAP for text_width, _ in column_sizes)])
    canvas_width = left + columns * pitch - GAP + MARGIN
    title_text = _wrapped(title or "", title_font, canvas_width - 2 * MARGIN)
    title_width, title_height = _text_size(title_text, title_font)
    canvas_width = max(canvas_width, title_width + 2 * MARGIN)
    top = MARGIN + (title_height + 3 * GAP if title else 0)
    images_top = top + (max(text_height for _, text_height in column_sizes) + GAP if column_texts else 0)
    row_pitch = [max(height, _text_size(text, label_font)[1]) + GAP for text in row_texts]

    canvas = Image.new("RGB", (canvas_width, images_top + sum(row_pitch) - GAP + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.multiline_text((MARGIN, MARGIN), title_text, INK, title_font)
    for column, (text, (text_width, text_height)) in enumerate(zip(column_texts, column_sizes, strict=True)):
        x = left + column * pitch + (pitch - GAP - text_width) // 2
        draw.multiline_text((x, images_top - GAP - text_height), text, INK, label_font, align="center")
    y = images_top
    for row, text, step in zip(rows, row_texts, row_pitch, strict=True):
        text_height = _text_size(text, label_font)[1]
        draw.multiline_text((MARGIN, y + (step - GAP - text_height) // 2), text, INK, label_font)
        for column, image in enumerate(row):
            x = left + column * pitch + (pitch - GAP - width) // 2
            image_top = y + (step - GAP - height) // 2
            # a hairline outside the pixels keeps the edge of an image that is white there
            draw.rectangle((x - 1, image_top - 1, x + width, image_top + height), outline=FAINT)
            canvas.paste(Image.fromarray(_enlarged(image, scale)), (x, image_top))
        y += step
    return np.asarray(canvas)


def save_grid(
    path: str | Path,
    rows: Sequence[np.ndarray],
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> None:
    """The `grid` of these arguments as a PNG."""
    with whole_file(path) as partial:
        Image.fromarray(grid(rows, title, row_labels, column_labels, scale)).save(partial, format="PNG")


def save_stacked(path: str | Path, grids: Sequence[np.ndarray]) -> None:
    """Grids, `(height, width, 3) uint8` each, one below the other as a PNG; right of the narrower ones it is white."""
    width = max(each.shape[1] for each in grids)
    padded = [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in grids]
    with whole_file(path) as partial:
        Image.fromarray(np.concatenate(padded)).save(partial, format="PNG")


def save_animation(path: str | Path, frames: Sequence[np.ndarray], seconds_per_frame: float) -> None:
    """An endless GIF of images or grids of one size; its clock ticks in hundredths of a second.

    One palette of 256 colours serves all frames, without dithering, so that what does not move does not flicker.
    Equal neighbours become one frame that stays for the time of both: repeat the last frame to rest on it.
    """
    stills = [Image.fromarray(_rgb(frame)) for frame in frames]
    pixels = np.concatenate([np.asarray(still).reshape(-1, 3) for still in stills])
    thinned = pixels[:: max(1, len(pixels) // 500_000)]
    # of Pillow's methods the one with the smallest largest error on photographs: rare bright colours survive
    palette = Image.fromarray(thinned[None]).quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    first, *others = [still.quantize(palette=palette, dither=Image.Dither.NONE) for still in stills]
    duration = 10 * max(1, round(100 * seconds_per_frame))
    with whole_file(path) as partial:
        first.save(partial, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 or float in [0, 1] → (H, W, 3) uint8."""
    if image.dtype != np.uint8:
        image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return _rgb(image).repeat(scale, axis=0).repeat(scale, axis=1)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib brings along, so that text looks the same on every machine."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _text_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Width and height in px, from the origin that text is drawn at."""
    if not text:
        return 0, 0
    _, _, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font)
    return math.ceil(right), math.ceil(bottom)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text broken between words, so that its lines are at most `width` px where no single word is longer."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".lstrip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


# --- Plots ---


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
    """Named curves in one plot, each named at the right; one without a point that can be drawn is left unnamed.

    Args:
        curves: name → x `(n,)` and y `(n,)`; n may differ.
        marks: vertical lines, each (x, text).
        log_x: x, which is then above 0, on a logarithmic axis.
    """
    figure, axes = _plot(x_label, y_label)
    for index, (x, y) in enumerate(curves.values()):
        axes.plot(x, y, linewidth=1.8, **_line_style(index))
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
    """Named curves in one plot, each in a band of its spread and named at the right.

    Args:
        curves: name → x `(n,)`, y `(n,)` and spread `(n,)`, the band being y ± spread; n may differ.
        dashed: the same for second curves, each dashed in the colour of the curve of its name, and not named again.
        x_ticks: texts for x = 0, 1, 2 …; None for numbers.
        log_x: x on a logarithmic axis, which has no place for points at x ≤ 0; they are left out.
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
    """The training images as points, coloured by cluster; the chosen ones are outlined in black.

    Args:
        projection: `(N, 2)`, for instance the first two principal components of the features.
        labels: `(N,)` cluster of each image. Colours recur, in clusters far apart.
        selected: `(M,)` row indices of the chosen images.
    """
    figure, axes = _plot(x_label, y_label, height=6.4)
    clusters, labels = np.unique(labels, return_inverse=True)
    centres = np.stack([projection[labels == cluster].mean(axis=0) for cluster in range(len(clusters))])
    colours = np.array(MUTED)[_colouring(centres, len(MUTED))][labels]
    size = float(np.clip(30_000 / len(projection), 5, 30))  # pt²
    axes.scatter(*projection.T, s=size, c=colours, linewidths=0)
    axes.scatter(*projection[selected].T, s=1.6 * size, c=colours[selected], edgecolors="black", linewidths=0.8)
    # stand-ins of a fixed colour and size for the legend
    axes.scatter([], [], s=40, c=MUTED[0], linewidths=0, label=f"{len(projection)} images in {len(clusters)} clusters")
    axes.scatter([], [], s=40, c=MUTED[0], edgecolors="black", linewidths=1, label=f"{len(selected)} chosen")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.set_aspect("equal", adjustable="datalim")
    _set_title(axes, title, rows_below=_draw_legend_above(axes))
    _save(figure, path)


def save_histograms(path: str | Path, named_values: Mapping[str, np.ndarray], x_label: str, title: str) -> None:
    """Distributions over common bins, each of area 1, with a line at each median.

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
    """A figure 9 inches wide, of its own and not pyplot's; shown 900 px wide its text is about 15 px high."""
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
        # twice the pixels that the page shows; the name of the software would change the bytes with its version
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
    """The title, with room for rows of text between it and the axes."""
    pad = 10 + ROW * rows_below
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=pad)


def _draw_legend_above(axes: Axes) -> int:
    """A legend between axes and title, where it hides nothing; returns its number of rows."""
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1),
        ncols=2,
        frameon=False,
        fontsize=10.5,
        labelcolor=INK,
        borderaxespad=0,
        handletextpad=0.4,
    )
    return math.ceil(len(legend.get_texts()) / 2)


def _draw_marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> int:
    """Vertical lines, each with its text above the axes, in as many rows as the texts need; returns that number."""
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
    """Each curve's name right of the axes at the height of its last point, moved only as far as names would overlap."""
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
        axes.annotate(
            names[index],
            end,
            xytext=(1.03, height),
            textcoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=10.5,
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.9,
                "linestyle": ":",
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _last_point(x: np.ndarray, y: np.ndarray, positive: bool) -> tuple[float, float] | None:
    """The last point that can be drawn, if any."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    drawable = np.flatnonzero(np.isfinite(y) & ((y > 0) | (not positive)))
    return (float(x[drawable[-1]]), float(y[drawable[-1]])) if len(drawable) else None


def _colouring(centres: np.ndarray, colours: int) -> np.ndarray:
    """A colour index for each of `(K, 2)` centres: each takes the colour whose nearest bearer so far is farthest."""
    chosen = np.empty(len(centres), dtype=np.int64)
    for index, centre in enumerate(centres):
        nearest = np.full(colours, np.inf)
        np.minimum.at(nearest, chosen[:index], np.linalg.norm(centres[:index] - centre, axis=1))
        chosen[index] = nearest.argmax()
    return chosen
