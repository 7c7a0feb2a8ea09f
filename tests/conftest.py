"""Fixtures for all: the values of params.yaml, and real images where there are any."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from iglo.runtime.threads import set_threads
from tests import chain
from tests import exported as exports
from tests.tiny import tiny_images

os.environ["IGLO_THREADS"] = "1"  # the tensors are tiny, and tests run side by side
set_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job; our processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = {"test_pipeline", "test_dvc_yaml", "test_ranks", "test_tour", "test_stages", "test_threads"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, so that no core waits for one of them in the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture
def params() -> dict:
    """The root params.yaml as a dict, to be changed and written by a test."""
    return yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def shared() -> Path:
    """The folder of real data and weights that IGLO_TEST_DATA names."""
    if "IGLO_TEST_DATA" not in os.environ:
        pytest.skip("IGLO_TEST_DATA is not set")
    return Path(os.environ["IGLO_TEST_DATA"])


@pytest.fixture
def mapped_images(tmp_path: Path) -> np.ndarray:
    """(40000, 16, 16, 1) uint8, ten megabytes mapped from a file."""
    path, squares = tmp_path / "images.npy", tiny_images(400)
    np.save(path, np.tile(squares, (100, 1, 1, 1)))
    return np.load(path, mmap_mode="r")


@pytest.fixture
def few_rounds() -> Iterator[None]:
    """Priors that are trained for less than a second."""
    with chain.few_rounds():
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> chain.Run:
    """A folder in which every stage of the pipeline has run on sixty tiny images. To be read only."""
    return chain.Run.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of tiny images. To be read only."""
    return exports.export(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def exported_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of class and content of tiny images. To be read only."""
    return exports.export(tmp_path_factory.mktemp("exported-classes"), exports.CLASS_PARAMS)


def pytest_collection_finish() -> None:
    """Keeps the garbage collector away from what is loaded by now; it would visit all of it again and again."""
    gc.collect()
    gc.freeze()
