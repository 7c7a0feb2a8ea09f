"""What the processes that train side by side run.

It is not in __main__, because a process that starts anew does not find it there.
"""

from functools import cache
from pathlib import Path

from benchmarks.off_codes.options import Options


def run(laboratory: tuple, options: Options) -> dict:
    """Trains and measures; a process runs this several times."""
    return laboratory_of(*laboratory).result(options)


@cache
def laboratory_of(folders: tuple, loss_weights: Path, judge_weights: Path):
    """Returns the laboratory with these images and weights.

    Args:
        folders: pairs of a name in `Options.data` and a folder of images.
    """
    from benchmarks.off_codes.measure import Laboratory  # late: --report needs no torch

    return Laboratory(dict(folders), loss_weights, judge_weights)
