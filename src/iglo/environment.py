"""Reads and checks the environment variables that iglo uses, and the size of the memory."""

import math
import os
import re

from iglo.errors import UserError

MAX_THREADS = 4096  # a larger number is a typing error
MAX_RANKS = 1_000_000
BY_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets these and WORLD_SIZE


def check() -> None:
    """Raises UserError if one of the variables has an invalid value."""
    threads()
    ranks()
    checkpoint_seconds()


def whole_number(name: str, default: int | None, least: int, most: int) -> int | None:
    """Returns the whole number in a variable, or `default` if the variable is not set or empty.

    Raises:
        UserError: the value is not a whole number from `least` to `most`.
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
    """Returns the number of threads in IGLO_THREADS, else in OMP_NUM_THREADS if that is one number, else None."""
    usual = os.environ.get("OMP_NUM_THREADS", "")  # it may be a list of numbers, which is not an error
    openmp = int(usual) if re.fullmatch("[0-9]{1,4}", usual) and 1 <= int(usual) <= MAX_THREADS else None
    return whole_number("IGLO_THREADS", openmp, 1, MAX_THREADS)


def ranks() -> tuple[int, int]:
    """Returns RANK and WORLD_SIZE, which torchrun sets: this process's number from 0, and the number of processes."""
    count = whole_number("WORLD_SIZE", 1, 1, MAX_RANKS)
    return (whole_number("RANK", 0, 0, count - 1) if count > 1 else 0), count


def check_launched() -> None:
    """Raises UserError if WORLD_SIZE asks for several ranks, but torchrun has not started them."""
    if missing := [name for name in BY_TORCHRUN if not os.environ.get(name)]:
        raise UserError(
            f"launch: must start several ranks by torchrun, got WORLD_SIZE={os.environ['WORLD_SIZE']} without "
            f"{', '.join(missing)}; use torchrun, or unset WORLD_SIZE."
        )


def checkpoint_seconds() -> float:
    """Returns IGLO_CHECKPOINT_SECONDS, the seconds between two checkpoints (default 60); 0: one after every step.

    Raises:
        UserError: the value is not a number of at least 0.
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
    """Returns the memory of this machine in bytes; a huge number if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**44
