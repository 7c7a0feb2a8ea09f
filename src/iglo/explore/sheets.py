"""Sheets: many small images in one PNG, cell after cell, for the page."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

COLUMNS = 12  # cells in a row, by default


def sheet(images: np.ndarray, columns: int = COLUMNS) -> dict[str, Any]:
    """Returns images (N, H, W, C) uint8 as a sheet: a PNG in a data URL, and where its cells are."""
    columns = max(1, min(columns, len(images)))
    return {
        "url": data_url(png(tiled(images, columns))),
        "count": len(images),
        "columns": columns,
        "side": images.shape[1],
    }


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Puts images (N, H, W, C) side by side, row by row; empty cells at the end are black."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def png(image: np.ndarray) -> bytes:
    """Encodes an image (H, W, C) uint8 as PNG."""
    file = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return file.getvalue()


def data_url(content: bytes) -> str:
    """Returns a PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """Makes images (N, H, W, C) uint8 smaller by averaging, if their side is a multiple of `side`."""
    count, height, width, channels = images.shape
    factor = max(1, height // side)
    if factor == 1:
        return images
    blocks = images.reshape(count, height // factor, factor, width // factor, factor, channels)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
