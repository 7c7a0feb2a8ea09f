"""All pools have one number of threads, and the bits do not depend on the environment."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from iglo.runtime.threads import exact_threads, set_threads, thread_count
from iglo.subsets.clustering import fit_kmeans, fit_pca
from tests.bits import bits
from tests.tiny import ROOT, tiny_images


def pools() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def in_a_process(kernel: str, threads: str) -> subprocess.Popen:
    """Runs `tests.bits` with IGLO_THREADS=1, and with `threads` in all other variables.

    Args:
        kernel: of OpenBLAS; "": its own choice.
    """
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    environment = {**os.environ, **pools, "IGLO_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    environment |= {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    command = [sys.executable, "-m", "tests.bits"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_bits_do_not_depend_on_variables_of_other_pools():
    """Compares a process with this one, and two processes that use an older kernel of BLAS."""
    runs = [in_a_process("", "2"), in_a_process("Haswell", "1"), in_a_process("Haswell", "2")]
    said = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert said[0] == bits() and said[1] == said[2] != ""


@pytest.mark.parametrize(
    ("iglo", "openmp", "count"), [("3", "2", 3), ("", "2", 2), (None, "1", 1), (None, None, None), (None, "4,2", None)]
)
def test_the_number_of_threads(iglo, openmp, count, monkeypatch):
    for name, value in (("IGLO_THREADS", iglo), ("OMP_NUM_THREADS", openmp)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert thread_count() == count if count else 1 <= thread_count() <= os.cpu_count()


def test_all_pools_get_the_same_number():
    try:
        set_threads(2)
        assert set(pools()) == {2} and torch.get_num_threads() == 2
        with exact_threads(1):
            assert set(pools()) == {1}
        assert set(pools()) == {2} and torch.get_num_threads() == 2
    finally:
        set_threads(1)


@pytest.mark.bits
def test_fits_at_the_same_time_give_equal_bits():
    """The process also keeps its numbers, which k-means changes while it works."""
    features = tiny_images(300).reshape(300, -1).astype(np.float32)

    def both() -> list[np.ndarray]:
        points = fit_pca(features, 20, 0)
        return [points, *fit_kmeans(points, 6, 0, 1000)]

    found: list[list[np.ndarray]] = []
    with threadpool_limits(2):
        before, alone = pools(), both()
        threads = [threading.Thread(target=lambda: found.append(both())) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert pools() == before
    assert len(found) == 4
    for arrays in found:
        assert all(np.array_equal(a, b) for a, b in zip(arrays, alone, strict=True))
