"""Sets how malloc keeps freed memory. It does not import torch."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # options of mallopt, in glibc's malloc.h
LARGEST_TOP, LARGEST_BLOCK = 2**31 - 1, 2**30  # bytes


def keep_freed_memory() -> None:
    """Makes glibc's malloc keep memory that was freed, so that the next step of a training can use it.

    By default, malloc gives large blocks back to the system. Every step then asks for them again, and the system clears
    them page by page. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(TRIM_THRESHOLD, LARGEST_TOP)
        mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
