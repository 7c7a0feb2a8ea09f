"""Freed memory is kept for the next step."""

import os
import sys

import pytest

from tests import chain
from tests.tiny import ROOT

FAULTS = """
import resource, torch
from iglo.runtime.memory import keep_freed_memory
{}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setting: str) -> int:
    """Pages that the system clears for a process that takes and frees 64 MiB twenty times."""
    output, errors = chain.start(ROOT, "-c", FAULTS.format(setting)).communicate()
    assert output, errors
    return int(output)


@pytest.mark.skipif("glibc" not in getattr(os, "confstr", lambda _: "")("CS_GNU_LIBC_VERSION"), reason="needs glibc")
def test_memory_that_was_freed_is_used_again():
    """Not every time: malloc may need a little more for the alignment of a tensor than was freed."""
    assert faults("keep_freed_memory()") < 0.7 * faults("")


def test_nothing_is_set_elsewhere(monkeypatch):
    from iglo.runtime import memory

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(memory.ctypes, "CDLL")
    memory.keep_freed_memory()
