"""Compares how long the stages take to start with `import torch`, in new processes of this Python.

It prints, for each stage, the seconds of `import stages.NAME` over those of `import torch`. Both are the least of
several turns, which alternate. DVC starts a process for each stage, so on small images this is a large part of a run.

    python benchmarks/start.py [--turns 5] [NAME …]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("modules", "check", "fetch", "prepare", "extract_features", "cluster", "select", "initialise", "staged")
STAGES += ("full", "encoder", "joint", "priors", "evaluate")


def seconds(code: str) -> float:
    """Returns the seconds of a process that runs the code, from its start to its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return time.perf_counter() - begin


def start_of(name: str) -> str:
    """Returns code that starts and ends as `python -m stages.NAME` does. `stages/common.py` explains how it ends."""
    return f"import gc, os; gc.disable(); import stages.{name}; os._exit(0)"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", default=STAGES, metavar="NAME")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args(argv)
    codes = {"import torch": "import torch"} | {name: start_of(name) for name in options.stages}
    turns = [{name: seconds(code) for name, code in codes.items()} for _ in range(options.turns + 1)]
    del turns[0]  # it had to read the files from the disk
    least = {name: min(turn[name] for turn in turns) for name in codes}
    print(f"import torch: {least['import torch']:.2f} s\n\n| stage | seconds | over `import torch` |\n|---|---:|---:|")
    for name in options.stages:
        print(f"| `{name}` | {least[name]:.2f} | {least[name] / least['import torch']:.2f} |")


if __name__ == "__main__":
    main()
