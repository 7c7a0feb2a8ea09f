"""How many threads compute: one number for torch, OpenMP and BLAS. It needs no torch.

The last bits of a sum depend on how many threads share it. So the number is part of what a result depends on, and
three pools that each follow a variable of their own (IGLO_THREADS, OMP_NUM_THREADS, OPENBLAS_NUM_THREADS) would make
the bits depend on who started the process.
"""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import cpu_count
from threadpoolctl import threadpool_limits

from iglo import environment

_turn = threading.RLock()


def thread_count() -> int:
    """The number that IGLO_THREADS asks for, else OMP_NUM_THREADS; else the physical cores that this process may use.

    Raises:
        UserError: IGLO_THREADS is no number of threads.
    """
    if asked := environment.threads():
        return asked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib cannot tell physical cores from others on every machine
        return cpu_count(only_physical_cores=True)


def set_threads(count: int) -> None:
    """Gives every pool of this process `count` threads: torch's, OpenMP's and BLAS's, as far as they are loaded."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    threadpool_limits(count)


@contextmanager
def exact_threads(count: int | None = None) -> Iterator[None]:
    """Within the block OpenMP and BLAS have `count` threads, and no other thread of this process is in such a block.

    scikit-learn changes BLAS's number for the whole process while it works. Two fits at the same time would see each
    other's number, and their bits would depend on chance.

    Args:
        count: None: torch's number, or where torch is not in use `thread_count`.
    """
    torch = sys.modules.get("torch")
    with _turn, threadpool_limits(count or (torch.get_num_threads() if torch else thread_count())):
        yield
