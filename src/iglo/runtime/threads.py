"""Sets one number of threads for torch, OpenMP and BLAS. It needs no torch.

The last bits of a sum depend on the number of threads. If each pool followed a variable of its own (IGLO_THREADS,
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS), results would depend on the environment that started the process.
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
    """The number of threads in IGLO_THREADS, else in OMP_NUM_THREADS, else the physical cores of this process.

    Raises:
        UserError: IGLO_THREADS is not a number of threads.
    """
    if asked := environment.threads():
        return asked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib cannot count physical cores on every machine
        return cpu_count(only_physical_cores=True)


def set_threads(count: int) -> None:
    """Gives every loaded pool of this process `count` threads: torch's, OpenMP's and BLAS's."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    threadpool_limits(count)


@contextmanager
def exact_threads(count: int | None = None) -> Iterator[None]:
    """Gives OpenMP and BLAS `count` threads within the block; only one thread at a time can be in such a block.

    scikit-learn changes BLAS's number for the whole process while it works. Two fits at the same time would change each
    other's number, and their bits would depend on chance.

    Args:
        count: number of threads; None: torch's number, or `thread_count` if torch is not in use.
    """
    torch = sys.modules.get("torch")
    with _turn, threadpool_limits(count or (torch.get_num_threads() if torch else thread_count())):
        yield
