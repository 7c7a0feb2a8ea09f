"""Fonts of the figures, the same on every machine; line breaks; and names that the font cannot draw."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from iglo.errors import warn

TEXT, BOLD = "DejaVuSans", "DejaVuSans-Bold"  # the fonts that matplotlib includes and uses
LISTED = 5  # most names that a warning lists


def drawable(names: Sequence[str], kind: str) -> list[str]:
    """Replaces each name that the font cannot draw by `kind` and its number, from 1, and warns.

    The font draws an empty box for a letter that it does not have, such as a Chinese one.
    """
    letters = _letters()
    numbers = [number for number, name in enumerate(names, 1) if not letters.issuperset(map(ord, name))]
    if numbers:
        listed = ", ".join(f"{names[number - 1]!r} is {kind} {number}" for number in numbers[:LISTED])
        more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
        warn(
            f"The font of the figures cannot draw {len(numbers)} names, so the figures show numbers: {listed}{more}.",
        )
    return [f"{kind} {number}" if number in numbers else name for number, name in enumerate(names, 1)]


@cache
def _letters() -> frozenset[int]:
    """Returns the code points of all letters that the font can draw."""
    return frozenset(FT2Font(str(_path(TEXT))).get_charmap())


def _path(name: str) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Returns the font TEXT or BOLD, `size` px high."""
    return ImageFont.truetype(str(_path(name)), size, layout_engine=ImageFont.Layout.BASIC)


def text_size(text: str, face: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Returns width and height in px, from the origin of the text."""
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
