"""Progress bars of long work: one place decides whether they are shown."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)  # of this thread, so that threads do not disturb others


def bar(work: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
    """A tqdm bar on stderr where that is a terminal, and a silent one elsewhere and within `quiet`.

    Args:
        work: what the bar counts while it is iterated; None: the caller calls `update`.
        hidden: show nothing, for the ranks after the first.
        options: of tqdm: total, initial, desc, unit.
    """
    silent = hidden or _quiet.get() or sys.stderr is None
    return tqdm(work, disable=True if silent else None, **options)


@contextmanager
def quiet(silent: bool = True) -> Iterator[None]:
    """No progress within the block, in this thread alone."""
    token = _quiet.set(silent)
    try:
        yield
    finally:
        _quiet.reset(token)
