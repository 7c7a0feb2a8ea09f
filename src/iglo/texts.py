"""Text in figures: fonts that look the same on every machine, lines that are not cut, names that the font lacks."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from iglo.errors import warn

TEXT, BOLD = "DejaVuSans", "DejaVuSans-Bold"  # what matplotlib brings along, and draws its own plots with
LISTED = 5  # names that a warning lists, at most


def drawable(names: Sequence[str], kind: str) -> list[str]:
    """Names that the font can draw; any other becomes `kind` and its number, counted from 1.

    A letter that the font lacks, such as a Chinese one, would be an empty box, and all such names would look the same.
    One warning says which number stands for which name.
    """
    letters = _letters()
    numbers = [number for number, name in enumerate(names, 1) if not letters.issuperset(map(ord, name))]
    if numbers:
        listed = ", ".join(f"{names[number - 1]!r} is {kind} {number}" for number in numbers[:LISTED])
        more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
        warn(
            f"The figures' font lacks letters of {len(numbers)} names, so the figures show numbers instead: "
            f"{listed}{more}.",
        )
    return [f"{kind} {number}" if number in numbers else name for number, name in enumerate(names, 1)]


@cache
def _letters() -> frozenset[int]:
    """The code points of every letter that the font can draw."""
    return frozenset(FT2Font(str(_path(TEXT))).get_charmap())


def _path(name: str) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """TEXT or BOLD, `size` px high."""
    return ImageFont.truetype(str(_path(name)), size, layout_engine=ImageFont.Layout.BASIC)


def text_size(text: str, face: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Width and height in px, from the origin that text is drawn at."""
    if not text:
        return 0, 0
    _, _, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, face)
    return math.ceil(right), math.ceil(bottom)


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: int, break_words: bool = False) -> str:
    """The text broken between words, so that its lines are at most `width` px where no single word is longer.

    Args:
        break_words: break a longer word too, anywhere.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            first, *others = _pieces(word, face, width) if break_words else [word]
            longer = f"{line} {first}".lstrip()
            if line and face.getlength(longer) > width:
                lines.append(line)
                longer = first
            *full, line = [longer, *others]
            lines += full
        lines.append(line)
    return "\n".join(lines)


def _pieces(word: str, face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A word cut into pieces of at most `width` px, of one letter at least."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and face.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
