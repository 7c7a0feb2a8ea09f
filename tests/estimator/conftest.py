"""A fitted estimator for all tests of a process."""

import copy
import pickle

import pytest

from iglo.estimator import IncrementalGLO, settings
from tests.estimator.quick import DIGITS, quick


@pytest.fixture(scope="session")
def fitted() -> IncrementalGLO:
    """Fitted to forty digits. To be read only."""
    return quick().fit(DIGITS[:40])


@pytest.fixture(scope="session")
def copies(fitted) -> dict[str, IncrementalGLO]:
    """Copies of the fitted estimator, by the way that they were made."""
    return {"pickle": pickle.loads(pickle.dumps(fitted)), "deepcopy": copy.deepcopy(fitted)}


@pytest.fixture
def few_steps(monkeypatch) -> None:
    """Images that arrive later are learned in a blink, and badly."""
    monkeypatch.setattr(settings, "LEAST_STEPS", 2)
