"""Image files and prepared folders for the tests of this package."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from iglo.data.prepare import write_store
from iglo.data.sources import open_source
from iglo.data.store import ImageStore
from iglo.params.sections import DataParams


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_many(data: DataParams, count: int) -> None:
    for number in range(1, count + 1):
        save(Path(data.path, f"frog-{number}.png"), noise(16, 16, 3, seed=number))


def truncated(path: Path) -> None:
    """Writes the first half of an image file."""
    kept = save(path, noise(64, 64, 3)).read_bytes()
    path.write_bytes(kept[: len(kept) // 2])


def prepare(data: DataParams, tmp_path: Path) -> tuple[ImageStore, dict]:
    out = tmp_path / "prepared"
    write_store(open_source(data, tmp_path / "raw"), data, out)
    return ImageStore.open(out), json.loads((out / "report.json").read_text())
