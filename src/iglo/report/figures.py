"""Writes grids of images and animations to files, for a page about 900 pixels wide.

Images are `(H, W, C)` or `(N, H, W, C)`, C 1 or 3, uint8 or float in [0, 1]. Images are enlarged by repeating
pixels, without blur. The same input gives the same bytes.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from iglo.files.io import whole_file
from iglo.report.fonts import BOLD, TEXT, font, text_size, wrapped

PAGE = 900  # px, the largest width of a grid, if possible
LARGEST = 96  # px, a small image is enlarged up to this side
SMALLEST_TITLE = 420  # px, the least width at which a title wraps
ANIMATED = 64  # px, a small image in an animation is enlarged up to this side
RESTS = 4  # frames of a pause in an animation
PATHS = 8  # most paths in an animation
ROOM = 2_500_000  # most pixels of images in all frames of an animation, about 2 MB of photographs
LARGEST_WALK = 3_000_000  # bytes of an animation of walks, if possible
MOST_ENLARGED, WALK_SIDE = 4, 256  # most pixels for a pixel of a walk's image, and px up to which it is enlarged
WALK_PIXELS = 200_000  # about how many pixels of a walk choose its colours
FEWER_COLOURS = (128, 64, 32)
GAP = 4  # px between images
MARGIN = 12  # px around a grid
LABEL_WIDTH = 150  # px at which row labels wrap
LABEL_SIZE, TITLE_SIZE = 15, 19  # px
INK, FAINT = "#222222", "#dcdcdc"


def grid(
    rows: Sequence[np.ndarray],
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> np.ndarray:
    """Returns rows of images on white, `(height, width, 3) uint8`. Text that is too long is wrapped.

    Args:
        rows: image batches `(n, H, W, C)`, all of one H and W; n and C may differ from row to row.
        row_labels: a text for each row.
        column_labels: a text for each column, from the left.
        scale: pixels per pixel of an image; None: images are enlarged up to 96 pixels if the page is wide enough.
    """
    columns = max(*map(len, rows), len(column_labels or []))
    height, width = rows[0].shape[1:3]
    label_font, title_font = font(TEXT, LABEL_SIZE), font(BOLD, TITLE_SIZE)
    row_texts = [wrapped(text, label_font, LABEL_WIDTH) for text in row_labels or [""] * len(rows)]
    left = MARGIN + max(text_size(text, label_font)[0] for text in row_texts)
    left += 2 * GAP if row_labels else 0
    if scale is None:
        room = (PAGE - left - MARGIN) / columns - GAP
        scale = max(1, int(min(room / width, LARGEST / max(height, width))))
    height, width = height * scale, width * scale

    column_texts = [wrapped(text, label_font, width) for text in column_labels or []]
    column_sizes = [text_size(text, label_font) for text in column_texts]
    pitch = max([width + GAP, *(text_width + 2 * GAP for text_width, _ in column_sizes)])
    canvas_width = left + columns * pitch - GAP + MARGIN
    title_text = wrapped(title or "", title_font, max(canvas_width - 2 * MARGIN, SMALLEST_TITLE))
    title_width, title_height = text_size(title_text, title_font)
    canvas_width = max(canvas_width, title_width + 2 * MARGIN)
    top = MARGIN + (title_height + 3 * GAP if title else 0)
    images_top = top + (max(text_height for _, text_height in column_sizes) + GAP if column_texts else 0)
    row_pitch = [max(height, text_size(text, label_font)[1]) + GAP for text in row_texts]

    canvas = Image.new("RGB", (canvas_width, images_top + sum(row_pitch) - GAP + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.multiline_text((MARGIN, MARGIN), title_text, INK, title_font)
    for column, (text, (text_width, text_height)) in enumerate(zip(column_texts, column_sizes, strict=True)):
        x = left + column * pitch + (pitch - GAP - text_width) // 2
        draw.multiline_text((x, images_top - GAP - text_height), text, INK, label_font, align="center")
    y = images_top
    for row, text, step in zip(rows, row_texts, row_pitch, strict=True):
        text_height = text_size(text, label_font)[1]
        draw.multiline_text((MARGIN, y + (step - GAP - text_height) // 2), text, INK, label_font)
        for column, image in enumerate(row):
            x = left + column * pitch + (pitch - GAP - width) // 2
            image_top = y + (step - GAP - height) // 2
            # a thin line around the image shows where a white image ends
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
    """Writes the `grid` of these arguments as a PNG."""
    with whole_file(path) as partial:
        Image.fromarray(grid(rows, title, row_labels, column_labels, scale)).save(partial, format="PNG")


def save_stacked(path: str | Path, grids: Sequence[np.ndarray]) -> None:
    """Writes grids, `(height, width, 3) uint8` each, one below another as a PNG, with white right of narrower grids."""
    width = max(each.shape[1] for each in grids)
    padded = [_on_white(each, len(each), width) for each in grids]
    with whole_file(path) as partial:
        Image.fromarray(np.concatenate(padded)).save(partial, format="PNG")


def save_animation(path: str | Path, frames: Sequence[np.ndarray], seconds_per_frame: float) -> None:
    """Writes an endless GIF of images or grids; times are rounded to hundredths of a second.

    Smaller frames are padded with white at the right and below. All frames have the same palette of 256 colours,
    without dithering, so that still parts do not flicker. Equal successive frames become one longer frame; so to pause
    at the end, repeat the last frame.
    """
    shades = [_rgb(frame) for frame in frames]
    height, width = (max(shade.shape[axis] for shade in shades) for axis in (0, 1))
    stills = [Image.fromarray(_on_white(shade, height, width)) for shade in shades]
    pixels = np.concatenate([np.asarray(still).reshape(-1, 3) for still in stills])
    thinned = pixels[:: max(1, len(pixels) // 500_000)]
    # Pillow's MAXCOVERAGE has a smaller maximum error, and takes minutes for photographs
    palette = Image.fromarray(thinned[None]).quantize(256, method=Image.Quantize.MEDIANCUT)
    _keep_white(palette, pixels)
    first, *others = [still.quantize(palette=palette, dither=Image.Dither.NONE) for still in stills]
    duration = 10 * max(1, round(100 * seconds_per_frame))
    with whole_file(path) as partial:
        first.save(partial, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)


def _keep_white(palette: Image.Image, pixels: np.ndarray) -> None:
    """Makes the brightest colour of a palette white if any of the pixels (N, 3) is white, as the page is."""
    if (pixels == 255).all(axis=1).any():
        colours = np.reshape(palette.getpalette(), (-1, 3))
        colours[colours.sum(axis=1).argmax()] = 255
        palette.putpalette(colours.ravel().tolist())


def save_learning(
    path: str | Path,
    named_frames: Sequence[tuple[str, np.ndarray]],
    originals: np.ndarray,
    seconds_per_frame: float,
) -> None:
    """Writes a GIF of how images change during training, above the originals. It pauses on the last frame.

    It shows only the first images if all of them would make the file too large.

    Args:
        named_frames: pairs of a title and images (K, H, W, C), in the order of time.
        originals: (K, H, W, C).
    """
    scale, shown = _fitting(originals.shape[1], len(named_frames))
    stills = [
        grid([frame[:shown], originals[:shown]], name, ["drawn", "original"], scale=scale)
        for name, frame in named_frames
    ]
    save_animation(path, [*stills, *[stills[-1]] * RESTS], seconds_per_frame)


def save_paths(path: str | Path, images: np.ndarray, seconds_per_frame: float) -> None:
    """Writes a GIF of paths that go forward and back, with a pause at both ends.

    Args:
        images: (P, T, H, W, C): P paths of T points. Only the first paths are shown if all of them would make the file
            too large.
    """
    scale, shown = _fitting(images.shape[2], 2 * images.shape[1])
    stills = [grid([frame], scale=scale) for frame in images[: min(shown, PATHS)].swapaxes(0, 1)]
    there_and_back = [*[stills[0]] * RESTS, *stills, *[stills[-1]] * RESTS, *stills[-2:0:-1]]
    save_animation(path, there_and_back, seconds_per_frame)


def save_walks(path: str | Path, images: np.ndarray, seconds_per_frame: float) -> None:
    """Writes an endless GIF of walks that move together, about twice as many side by side as one below another.

    The images are enlarged as far as the file has at most LARGEST_WALK bytes. If it has more without enlargement, it
    gets fewer colours; and if it has more even then, it stays as it is. All frames have the same palette.

    Args:
        images: (P, T, H, W, C) uint8: P walks of T points.
    """
    largest = max(1, min(MOST_ENLARGED, WALK_SIDE // images.shape[2]))
    tries = [(scale, 255) for scale in range(largest, 0, -1)] + [(1, colours) for colours in FEWER_COLOURS]
    for scale, colours in tries:
        data = _walks(images, scale, colours, seconds_per_frame)
        if len(data) <= LARGEST_WALK:
            break
    with whole_file(path) as partial:
        Path(partial).write_bytes(data)


def _walks(images: np.ndarray, scale: int, colours: int, seconds_per_frame: float) -> bytes:
    """Returns the bytes of the GIF of `save_walks`. It finds colours before it repeats pixels, which is fast."""
    count, times, height, width = images.shape[:4]
    pixels = _rgb(images.reshape(-1, width, images.shape[4]))
    thinned = pixels.reshape(-1, 3)[:: max(1, pixels.size // 3 // WALK_PIXELS)]
    palette = Image.fromarray(thinned[None]).quantize(colours, method=Image.Quantize.MEDIANCUT)
    known = (palette.getpalette() + [0] * 768)[: 3 * colours]
    palette.putpalette(known + [255] * (768 - len(known)))  # white, behind the images, comes after the colours
    numbers = np.asarray(Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE))
    numbers = numbers.reshape(count, times, height, width).repeat(scale, axis=2).repeat(scale, axis=3)
    height, width = height * scale, width * scale
    columns = -(-count // max(1, round((count / 2) ** 0.5)))
    rows = -(-count // columns)
    page = np.full((times, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), colours, np.uint8)
    for number, walk in enumerate(numbers):
        y, x = GAP + number // columns * (height + GAP), GAP + number % columns * (width + GAP)
        page[:, y : y + height, x : x + width] = walk
    frames = [Image.fromarray(frame) for frame in page]
    for frame in frames:
        frame.putpalette(palette.getpalette())
    data, duration = io.BytesIO(), 10 * max(1, round(100 * seconds_per_frame))
    frames[0].save(data, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return data.getvalue()


def _fitting(side: int, frames: int) -> tuple[int, int]:
    """Returns how often an animation repeats each pixel, and how many images it shows side by side."""
    scale = max(1, ANIMATED // side)
    return scale, max(1, ROOM // (frames * (side * scale) ** 2))


def _on_white(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pads an image (H, W, 3) uint8 with white at the right and below, to (height, width, 3)."""
    below, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=255)


def _rgb(image: np.ndarray) -> np.ndarray:
    """Converts an image (H, W, C), uint8 or float in [0, 1], to (H, W, 3) uint8."""
    if image.dtype != np.uint8:
        image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return _rgb(image).repeat(scale, axis=0).repeat(scale, axis=1)
