"""Shows the progress of long work, as a bar or as lines."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines if stderr is not a terminal

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)  # per thread


def bar(work: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
    """Shows the progress of `work` on stderr. A terminal gets a tqdm bar; a log gets a line every EVERY seconds.

    Work that takes less than EVERY seconds writes no line. Within `quiet`, and without a stderr, nothing is shown.

    Args:
        work: what is counted while the caller iterates over it; None: the caller calls `update`.
        hidden: show nothing; for all ranks but the main one.
        options: options of tqdm: total, initial, desc, unit.
    """
    if hidden or _silent():
        return _Lines(work, disable=True, **options)
    return (tqdm if on_terminal() else _Lines)(work, **options)


def say(text: str) -> None:
    """Writes a line to stderr, above any bars; writes nothing within `quiet` or without a stderr."""
    if _silent():
        return
    with suppress(OSError, ValueError):  # work goes on if stderr is closed
        if on_terminal():
            tqdm.write(text, sys.stderr)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


@contextmanager
def quiet(silent: bool = True) -> Iterator[None]:
    """Shows no progress within the block, in this thread."""
    token = _quiet.set(silent)
    try:
        yield
    finally:
        _quiet.reset(token)


def _silent() -> bool:
    return _quiet.get() or sys.stderr is None


def on_terminal() -> bool:
    """Returns whether stderr is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # stderr is None, not a full stream, or closed
        return False


class _Lines(tqdm):
    """Progress as lines, for a log: `full: step 800/4800, epoch 10/60, loss 0.213, 31.2 step/s, 02:08 left`."""

    monitor_interval = 0  # lines need no monitor thread of tqdm

    def __init__(self, work: Iterable[Any] | None, **options: Any):
        super().__init__(work, mininterval=EVERY, miniters=1, delay=EVERY, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes a line. tqdm calls this when a line is due."""
        if self.total and self.n >= self.total:
            return  # `close` writes the last line
        now = self.format_dict
        rate = now["rate"] or (self.n - self.initial) / max(now["elapsed"], 1e-9)
        left = self.format_interval((self.total - self.n) / rate) if self.total and rate else "?"
        say(self._line(rate, f"{left} left"))

    def close(self) -> None:
        """Writes the last line if the work is complete."""
        if self.disable:
            return
        elapsed = self.format_dict["elapsed"]
        if elapsed >= EVERY and self.n >= (self.total or 0):
            say(self._line((self.n - self.initial) / elapsed, f"done in {self.format_interval(elapsed)}"))
        self.disable = True
        self._decr_instances(self)

    def _line(self, rate: float, time: str) -> str:
        name = f"{self.desc.removesuffix(': ')}: " if self.desc else ""
        count = f"{self.unit} {self.n}" + (f"/{self.total}" if self.total else "")
        more = [self.postfix] if self.postfix else []
        return name + ", ".join([count, *more, f"{rate:.3g} {self.unit}/s", time])
