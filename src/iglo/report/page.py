"""Writes the page of a run: one HTML file with its figures, numbers, parameters and times. It needs no network."""

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jinja2 import Environment
from PIL import Image

from iglo.files.io import whole_file
from iglo.report.page_tables import Values, counts_in_words, tables
from iglo.report.page_template import TEMPLATE
from iglo.report.page_text import FIGURES

WIDE = 1700  # px; a wider picture is a plot, and is shown at half its size
WIDEST = 1000  # px, the width of the page; a picture stored with loss is reduced to it
LATER = ("arrivals", "arrival")  # sections of params.yaml that a first run does not use
LARGE = 150_000  # bytes; a larger picture is stored with a little loss


@dataclass(frozen=True)
class Picture:
    """An image in the page.

    Attributes:
        source: a `data:` address.
        still: a still image for readers who do not want motion; None if the image does not move.
        width, height: px on the page.
    """

    name: str
    caption: str
    source: str
    still: str | None = None
    width: int = 0
    height: int = 0


def write_page(path: str | Path, figures: Path, values: Values, params: Any, times: Values) -> None:
    """Writes the page of a run.

    Args:
        figures: folder of the run's figures, PNG and GIF.
        values: the run's metrics, nested.
        params: the run's parameters, nested dataclasses. Those of later images are not shown.
        times: stage → seconds, images_per_s and peak_mib; can be nested.
    """
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    text = template.render(
        sections=[(title, intro, list(_pictures(figures, names))) for title, intro, names in _sections(figures)],
        tables=tables(values),
        counts=counts_in_words(values, params.prior),
        params=list(_flat_params(params)),
        times=list(_flat_times(times)),
        data=params.data.dataset if params.data.source == "torchvision" else params.data.source,
        size=f"{params.data.image_size}×{params.data.image_size}",
    )
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


# --- Figures ---


def _sections(folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yields the sections of the figures in `folder`: title, introduction, and file name → caption.

    A name in FIGURES can be a pattern, such as `stage-*.png`. Figures without a caption are last.
    """
    there = {path.name for path in folder.iterdir() if path.suffix in (".png", ".gif")}
    for title, intro, captions in FIGURES:
        found = {}
        for name, caption in captions.items():
            matches = sorted((each for each in there if fnmatchcase(each, name)), key=_by_number)
            found |= {each: caption for each in matches if each not in found}
        there -= found.keys()
        if found:
            yield title, intro, found
    if there:
        yield "More figures", "", dict.fromkeys(sorted(there), "")


def _by_number(name: str) -> list[str | int]:
    """Returns a key for sorting, by which 2 comes before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _pictures(folder: Path, captions: Mapping[str, str]) -> Iterator[Picture]:
    for name, caption in captions.items():
        with Image.open(folder / name) as image:
            width, height = image.size
            scale = 2 if width > WIDE else 1
            sources = [_address("webp", _small(image))]
            if image.format == "GIF":
                image.seek(image.n_frames - 1)
                sources = [_address("gif", (folder / name).read_bytes()), _address("webp", _small(image))]
            yield Picture(name, caption, *sources, width=width // scale, height=height // scale)


def _small(image: Image.Image) -> bytes:
    """Returns an image as WebP, without loss if it is small."""
    image = image.convert("RGB")
    exact = _webp(image, lossless=True)
    if len(exact) <= LARGE:
        return exact
    image.thumbnail((WIDEST, 16 * WIDEST))
    return min(exact, _webp(image, quality=85), key=len)


def _webp(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=4, **options)
    return buffer.getvalue()


def _address(kind: str, raw: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode('ascii')}"


# --- Parameters and times ---


def _flat_params(section: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields each dotted key with its value as in YAML, without the sections LATER."""
    for field in fields(section.__class__):
        if prefix + field.name in LATER:
            continue
        value, key = getattr(section, field.name), prefix + field.name
        if is_dataclass(value.__class__):
            yield from _flat_params(value, f"{key}.")
        elif isinstance(value, tuple) and value and is_dataclass(value[0].__class__):
            for index, item in enumerate(value):
                yield from _flat_params(item, f"{key}.{index}.")
        else:
            yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat_times(times: Values, prefix: str = "") -> Iterator[tuple[str, Values]]:
    """Yields each stage with its times, in the given order."""
    for name, value in times.items():
        if "seconds" in value:
            yield prefix + name, value
        else:
            yield from _flat_times(value, f"{prefix}{name} ")
