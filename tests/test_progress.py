"""Progress is a bar on a terminal and lines in a log; it is nothing in quiet work or if stderr is closed."""

import io
import re
import sys

import pytest

from iglo import progress
from iglo.progress import bar, quiet, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A pipe that its reader has closed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture
def at_once(monkeypatch):
    """Sets EVERY to almost 0, so that lines are written at once."""
    monkeypatch.setattr(progress, "EVERY", 1e-9)


def told(monkeypatch, stream: io.StringIO, steps: int = 3, total: int = 3, hidden: bool = False) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with bar(total=total, initial=1, desc="full", unit="step", hidden=hidden) as shown:
        for step in range(1, steps):
            shown.set_postfix_str(f"epoch {step}/2, loss 0.25", refresh=False)
            shown.update()
    return stream.getvalue()


def test_a_log_has_lines_with_count_loss_rate_and_time(at_once, monkeypatch):
    first, last = told(monkeypatch, io.StringIO()).splitlines()
    number, clock = r"[\d.e+]+", r"\d\d:\d\d"
    for line, pattern in (
        (first, rf"full: step 2/3, epoch 1/2, loss 0\.25, {number} step/s, {clock} left"),
        (last, rf"full: step 3/3, epoch 2/2, loss 0\.25, {number} step/s, done in {clock}"),
    ):
        assert re.fullmatch(pattern, line), line


def test_work_that_stops_early_has_no_last_line(at_once, monkeypatch):
    assert "done" not in told(monkeypatch, io.StringIO(), steps=2)


def test_time_left_follows_the_rate_and_lines_follow_the_clock(monkeypatch):
    """A step takes 20 s here. The second step ends at least 30 s after the start; the fourth is the end."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    shown = bar(total=4, desc="encoding", unit="batch")
    now = shown.start_t
    shown._time = lambda: now
    for _ in range(4):
        now += 20
        shown.update()
    shown.close()
    assert sys.stderr.getvalue().splitlines() == [
        "encoding: batch 2/4, 0.05 batch/s, 00:40 left",
        "encoding: batch 4/4, 0.05 batch/s, done in 01:20",
    ]


def test_short_work_writes_nothing_to_a_log(monkeypatch):
    assert told(monkeypatch, io.StringIO()) == ""
    assert list(bar(range(5), desc="decoding", unit="batch")) == [0, 1, 2, 3, 4] and not sys.stderr.getvalue()


def test_a_terminal_has_a_bar_that_shows_the_loss(monkeypatch):
    shown = told(monkeypatch, Terminal())
    assert "full: 100%" in shown and "loss 0.25" in shown and "\r" in shown


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_other_ranks_and_quiet_work_show_nothing(stream, at_once, monkeypatch):
    assert told(monkeypatch, stream(), hidden=True) == ""
    with quiet():
        assert told(monkeypatch, stream()) == ""
        say("hush")
    assert sys.stderr.getvalue() == ""
    say("heard")
    assert sys.stderr.getvalue() == "heard\n"


def test_work_goes_on_if_stderr_is_closed(at_once, monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, Gone(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        say("to nobody")
        with bar(total=2, desc="full", unit="step") as shown:
            shown.update(2)
        assert shown.n == 2 if stream is not None else shown.disable
        assert list(bar([7, 8])) == [7, 8]
