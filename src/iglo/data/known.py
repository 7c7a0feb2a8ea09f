"""The list of the images that a run already has, by the digests of their pixels.

An arrival leaves out new images that equal one of them. The list is enough for this, so the images may be deleted.
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from iglo.errors import UserError

KNOWN = "known.csv"  # its name in the folder of an arrival and of a model
GREY, COLOUR = 1, 3  # the two kinds of image files, by their channels
_DIGEST = re.compile("[0-9a-f]{32}")


class KnownImage(NamedTuple):
    """A prepared image of the first run or of an arrival.

    Attributes:
        name: its name in its folder or data set.
        digest: hexadecimal digest of its pixels.
        channels: those of its file: 1 or 3.
        arrival: the id of its arrival; "" for the first run.
    """

    name: str
    digest: str
    channels: int
    arrival: str = ""


def write_known(path: str | Path, images: Iterable[KnownImage]) -> None:
    """Writes the list as a CSV file."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(KnownImage._fields)
        writer.writerows(images)


def read_known(path: str | Path) -> list[KnownImage]:
    """Reads the list that `write_known` wrote. Raises UserError if there is no such list."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != KnownImage._fields:
                raise ValueError(f"its columns must be {', '.join(KnownImage._fields)}")
            return [_image(*row) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: no list of known images ({reason}); run the stage that makes it again.") from None


def _image(name: str, digest: str, channels: str, arrival: str) -> KnownImage:
    if not _DIGEST.fullmatch(digest) or channels not in (str(GREY), str(COLOUR)):
        raise ValueError(f"a row has the digest {digest!r} and {channels!r} channels")
    return KnownImage(name, digest, int(channels), arrival)
