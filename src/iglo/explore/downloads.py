"""A path as a file: a strip of images, or an animation."""

import tempfile
from pathlib import Path

import numpy as np

from iglo.explore.queries import OfPath
from iglo.explore.sheets import png, tiled
from iglo.explore.views import Views
from iglo.report.figures import save_animation

DOWNLOADS = {"path.png": "image/png", "path.gif": "image/gif"}
SIDE = 128  # pixels; smaller images are enlarged up to this side
COLUMNS = 24  # images in a row of a strip
FRAME_SECONDS = 0.1
LARGEST = 2**25  # pixels of all images together


def download(views: Views, query: OfPath, name: str) -> bytes:
    """Returns the images of a path as the file `path.png` or `path.gif`."""
    images = views.pictures.rendered(views.path_codes(query))
    scale = max(1, SIDE // images.shape[1])
    while scale > 1 and images[..., 0].size * scale**2 > LARGEST:
        scale -= 1
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    if name == "path.png":
        return png(tiled(images, min(COLUMNS, len(images))))
    frames = images if query.closed else np.concatenate([images, images[-2:0:-1]])
    with tempfile.TemporaryDirectory() as folder:
        save_animation(Path(folder) / name, frames, FRAME_SECONDS)
        return (Path(folder) / name).read_bytes()
