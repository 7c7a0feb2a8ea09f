"""Sets one number of threads for torch, OpenMP and BLAS. It does not import torch.

The last bits of a sum depend on the number of threads. If each pool read a variable of its own (IGLO_THREADS,
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS), results would depend on more than one variable.
"""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import cpu_count
from threadpoolctl import threadpool_limits

from iglo import environment

_lock = threading.RLock()


def thread_count() -> int:
    """Returns the number of threads: IGLO_THREADS, else OMP_NUM_THREADS, else the physical cores of this process.

    Raises:
        UserError: IGLO_THREADS is not a number of threads.
    """
    if number := environment.threads():
        return number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib cannot count physical cores on every machine
        return cpu_count(only_physical_cores=True)


def set_threads(count: int) -> None:
    """Sets `count` threads for every loaded thread pool of this process: those of torch, OpenMP and BLAS."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    threadpool_limits(count)


@contextmanager
def exact_threads(count: int | None = None) -> Iterator[None]:
    """Sets `count` threads for OpenMP and BLAS within the block. One Python thread at a time can be in such a block.

    scikit-learn changes BLAS's number for the whole process while it works. Two fits at the same time would change each
    other's number, and their results would differ from run to run.

    Args:
        count: number of threads; None: the number that torch uses, or `thread_count` if torch is not loaded.
    """
    torch = sys.modules.get("torch")
    with _lock, threadpool_limits(count or (torch.get_num_threads() if torch else thread_count())):
        yield
