"""Runs the command `iglo` in this process or in one of its own."""

import re
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from iglo.cli.main import main
from tests import chain
from tests.tiny import ROOT


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="iglo")


def run_apart(*arguments: str, **variables: str) -> tuple[str, str, int]:
    """stdout, stderr and exit code in a process of its own."""
    process = chain.start(Path(), "-m", "iglo", *arguments, PYTHONPATH=str(ROOT / "src"), **variables)
    return *process.communicate(), process.returncode


def done(*arguments: str) -> Result:
    """Runs a command that must succeed; if it writes, it must say so in one line."""
    result = run(*arguments)
    assert result.exit_code == 0 and not result.stderr, result.stderr
    if "--out" in arguments:
        assert re.fullmatch(rf"wrote {arguments[arguments.index('--out') + 1]} \(\d+ (kB|files?)\)\n", result.stdout)
    return result


def refused(*arguments: str) -> str:
    """Runs a command that must fail: exit code 2, one sentence on stderr, which is returned, and no new file."""
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert result.exit_code == 2 and not result.stdout, arguments
    assert re.fullmatch(r"error: [^\n]+[.?]\n", result.stderr), result.stderr
    assert sorted(Path().rglob("*")) == before
    return result.stderr.removeprefix("error: ").strip()


def pictures(folder: str) -> np.ndarray:
    """(N, H, W, C) the numbered images in a folder, in their order."""
    images = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
    return np.stack(images)[..., None]
