"""Text in figures: the same fonts on every machine, line breaks, and names with letters that the font lacks."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from iglo.errors import warn

TEXT, BOLD = "DejaVuSans", "DejaVuSans-Bold"  # the fonts that matplotlib includes and uses
LISTED = 5  # names that a warning lists, at most


def drawable(names: Sequence[str], kind: str) -> list[str]:
    """Replaces names that the font cannot draw by `kind` and a number, counted from 1.

    The font draws an empty box for a letter that it lacks, such as a Chinese one. A warning says which number stands
    for which name.
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
    """Breaks the text between words into lines of at most `width` px; a longer word is a line of its own.

    Args:
        break_words: also break such a word.
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
    """Cuts a word into pieces of at most `width` px, and at least one letter."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and face.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
