"""Reads and checks the environment variables that iglo uses, and asks how much memory there is."""

import math
import os
import re

from iglo.errors import UserError

MOST_THREADS = 4096  # a larger number is a typing error
MOST_RANKS = 1_000_000
BY_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # beside WORLD_SIZE


def check() -> None:
    """Raises UserError if one of the variables has an invalid value."""
    threads()
    ranks()
    checkpoint_seconds()


def whole_number(name: str, default: int | None, least: int, most: int) -> int | None:
    """The whole number in a variable, or `default` where the variable is not set or empty.

    Raises:
        UserError: it is not a whole number from `least` to `most`.
    """
    text = os.environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise UserError(
            f"{name}: must be a whole number from {least} to {most}, got {text[:40]!r}; set another or unset it."
        )
    return int(text)


def threads() -> int | None:
    """The number of threads in IGLO_THREADS, else in OMP_NUM_THREADS if that is one number, else None."""
    usual = os.environ.get("OMP_NUM_THREADS", "")  # not refused: it may be a list of numbers
    openmp = int(usual) if re.fullmatch("[0-9]{1,4}", usual) and 1 <= int(usual) <= MOST_THREADS else None
    return whole_number("IGLO_THREADS", openmp, 1, MOST_THREADS)


def ranks() -> tuple[int, int]:
    """RANK and WORLD_SIZE, as torchrun sets them: the number of this process, and how many there are."""
    count = whole_number("WORLD_SIZE", 1, 1, MOST_RANKS)
    return (whole_number("RANK", 0, 0, count - 1) if count > 1 else 0), count


def check_launched() -> None:
    """Raises UserError if WORLD_SIZE asks for several ranks, but torchrun has not started them."""
    if missing := [name for name in BY_TORCHRUN if not os.environ.get(name)]:
        raise UserError(
            f"launch: must start several ranks by torchrun, got WORLD_SIZE={os.environ['WORLD_SIZE']} without "
            f"{', '.join(missing)}; use torchrun, or unset WORLD_SIZE."
        )


def checkpoint_seconds() -> float:
    """IGLO_CHECKPOINT_SECONDS, the seconds from one checkpoint to the next (default 60); 0: after every step.

    Raises:
        UserError: it is not a number of seconds.
    """
    text = os.environ.get("IGLO_CHECKPOINT_SECONDS", "") or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(
            f"IGLO_CHECKPOINT_SECONDS: must be a number of seconds of at least 0, got {text[:40]!r}; "
            "set another or unset it."
        )
    return seconds


def memory() -> int:
    """Bytes of memory of this machine; a huge number if that is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**44
