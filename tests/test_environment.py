"""Invalid environment variables give a message of one sentence, before any work."""

import pytest

from iglo import environment
from iglo.errors import UserError
from iglo.runtime.device import start

WRONG = [
    *[("IGLO_CHECKPOINT_SECONDS", value) for value in ("abc", "nan", "1m", "-1", "inf", "1" * 400)],
    *[("IGLO_THREADS", value) for value in ("99999999999", "0", "-1", "two", "1.5", "²", "9" * 5000)],
    *[("WORLD_SIZE", value) for value in ("abc", "0", "-2", "2.0", "10" * 10)],
    ("RANK", "5"),
    ("RANK", "x"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_invalid_variable_is_one_sentence(name, value, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{name}: must be a [^\n]*, got '[^\n]{{0,40}}'; set [^\n]*\.$"):
        environment.check()


@pytest.mark.parametrize(
    ("name", "value", "read", "expected"),
    [
        ("IGLO_CHECKPOINT_SECONDS", "", environment.checkpoint_seconds, 60),
        ("IGLO_CHECKPOINT_SECONDS", "0", environment.checkpoint_seconds, 0),
        ("IGLO_CHECKPOINT_SECONDS", "1e3", environment.checkpoint_seconds, 1000),
        ("IGLO_THREADS", "", environment.threads, None),
        ("IGLO_THREADS", "4", environment.threads, 4),
        ("WORLD_SIZE", "", environment.ranks, (0, 1)),
        ("WORLD_SIZE", "4", environment.ranks, (3, 4)),
    ],
)
def test_a_variable_has_its_value(name, value, read, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv(name, value)
    assert read() == expected


def test_several_ranks_without_torchrun_are_one_sentence(monkeypatch):
    for name in environment.BY_TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^launch: .*, got WORLD_SIZE=2 without RANK, [^\n]*; use torchrun, or unset"):
        start("fp32", distributed=True)
