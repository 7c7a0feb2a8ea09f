"""What the machine and its environment variables say: each variable is read and checked in this one place."""

import math
import os
import re

from iglo.errors import UserError

MOST_THREADS = 4096  # more are a slip of the finger
MOST_RANKS = 1_000_000
BY_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # beside WORLD_SIZE


def check() -> None:
    """Raises UserError when one of them makes no sense, before any work."""
    threads()
    ranks()
    checkpoint_seconds()


def whole_number(name: str, default: int | None, least: int, most: int) -> int | None:
    """The whole number in a variable, or `default` where the variable is not set or empty.

    Raises:
        UserError: it is no whole number from `least` to `most`.
    """
    text = os.environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise UserError(
            f"{name}: must be a whole number from {least} to {most}, got {text[:40]!r}; set another or none."
        )
    return int(text)


def threads() -> int | None:
    """IGLO_THREADS, the threads of a process; else OMP_NUM_THREADS where that is one number; else None."""
    usual = os.environ.get("OMP_NUM_THREADS", "")  # not ours to refuse: it may be a list of numbers
    openmp = int(usual) if re.fullmatch("[0-9]{1,4}", usual) and 1 <= int(usual) <= MOST_THREADS else None
    return whole_number("IGLO_THREADS", openmp, 1, MOST_THREADS)


def ranks() -> tuple[int, int]:
    """RANK and WORLD_SIZE, which torchrun sets: the place of this process among all, and how many there are."""
    count = whole_number("WORLD_SIZE", 1, 1, MOST_RANKS)
    return (whole_number("RANK", 0, 0, count - 1) if count > 1 else 0), count


def check_launched() -> None:
    """Raises UserError when there are to be several ranks, and torchrun has not started them."""
    if missing := [name for name in BY_TORCHRUN if not os.environ.get(name)]:
        raise UserError(
            f"launch: several ranks are started by torchrun, got WORLD_SIZE={os.environ['WORLD_SIZE']} without "
            f"{', '.join(missing)}; use torchrun, or unset WORLD_SIZE."
        )


def checkpoint_seconds() -> float:
    """IGLO_CHECKPOINT_SECONDS, the time from one checkpoint to the next (default 60); 0: after every step.

    Raises:
        UserError: it is no number of seconds.
    """
    text = os.environ.get("IGLO_CHECKPOINT_SECONDS", "") or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(
            f"IGLO_CHECKPOINT_SECONDS: must be a number of seconds of at least 0, got {text[:40]!r}; set 60 or nothing."
        )
    return seconds


def memory() -> int:
    """Bytes of this machine's memory; where they cannot be asked for, more than any has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**44
