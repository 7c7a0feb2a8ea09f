"""The estimator among others: scikit-learn's own checks, pickles, pipelines, and a process that is the user's."""

import pickle
import pickletools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import iglo
import iglo.estimator.estimator
from iglo.estimator import IncrementalGLO
from tests.estimator.quick import DIGITS, LENGTH, bits, quick


@parametrize_with_checks([quick(n_subsets=1, joint_epochs=0)])
def test_what_scikit_learn_asks_of_a_transformer(estimator, check, few_steps):
    check(estimator)


# --- The user's process ---


@contextmanager
def default_type(kind: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


FOREIGN = {
    "float64": lambda: default_type(torch.float64),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "no stderr": lambda: redirect_stderr(None),
}


@pytest.mark.parametrize("state", FOREIGN)
def test_the_state_of_the_process_does_not_matter(state, fitted):
    """It changes neither fit nor the other methods."""
    with FOREIGN[state]():
        model = quick().fit(DIGITS[:40])
        again = pickle.loads(pickle.dumps(model))
        found = model.codes_, again.transform(DIGITS[:5]), again.sample(3)
    assert all(map(np.array_equal, found, (fitted.codes_, fitted.transform(DIGITS[:5]), fitted.sample(3))))


@pytest.mark.bits
def test_fits_of_several_threads_learn_what_one_learns_alone(fitted):
    """The settings of the process do not change."""
    before = torch.are_deterministic_algorithms_enabled(), sys.stderr, torch.get_rng_state()
    models = [quick() for _ in range(3)]
    threads = [threading.Thread(target=model.fit, args=(DIGITS[:40],)) for model in models]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.array_equal(model.codes_, fitted.codes_) for model in models)
    assert (torch.are_deterministic_algorithms_enabled(), sys.stderr) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_the_settings_of_torch_stay_as_they_are():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        model = quick().fit(DIGITS[:12])
        model.inverse_transform(model.transform(DIGITS[:12]))
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


# --- Imports, copies and pickles ---


def test_iglo_and_its_package_offer_the_estimator():
    assert iglo.IncrementalGLO is IncrementalGLO is iglo.estimator.estimator.IncrementalGLO
    assert "IncrementalGLO" in dir(iglo)
    for module in (iglo, iglo.estimator):
        with pytest.raises(AttributeError, match="no attribute 'IncrementalGlo'"):
            _ = module.IncrementalGlo


def test_the_settings_are_imported_without_torch():
    code = "import sys, iglo.estimator.settings; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_copy_gives_the_same_bits(fitted, copies):
    for kind, again in copies.items():
        assert bits(again) == bits(fitted) and again.get_params() == fitted.get_params(), kind
        assert again.score(DIGITS[:9]) == fitted.score(DIGITS[:9]) and again.history_ == fitted.history_, kind


def test_a_pickle_holds_no_object_of_torch(fitted):
    names = {str(argument) for _, argument, _ in pickletools.genops(pickle.dumps(fitted)) if argument is not None}
    assert not any(name.startswith("torch") for name in names)
    assert {name for name in names if name.startswith("iglo")} == {"iglo.estimator.estimator"}


def test_an_unfitted_estimator_is_pickled_and_cloned(fitted):
    assert pickle.loads(pickle.dumps(quick())).get_params() == quick().get_params()
    assert not hasattr(clone(fitted), "codes_")


def test_without_fit_there_is_nothing_to_use():
    for method in ("transform", "score", "inverse_transform", "sample"):
        with pytest.raises(NotFittedError):
            getattr(quick(), method)(*([] if method == "sample" else [DIGITS[:2]]))


# --- Pipelines and searches ---


def plus_one(X: np.ndarray) -> np.ndarray:
    return X + 1


def test_it_works_within_a_pipeline():
    X = DIGITS[:40]
    scaled = make_pipeline(StandardScaler(), quick()).fit(X)
    assert scaled.transform(X).shape == (40, LENGTH) and scaled.inverse_transform(scaled.transform(X)).shape == X.shape
    plain = quick().fit(plus_one(X))
    moved = make_pipeline(FunctionTransformer(plus_one), quick()).fit(X)
    np.testing.assert_array_equal(moved.transform(X), plain.transform(plus_one(X)))
    assert moved.score(X) == plain.score(plus_one(X))
    assert list(moved[-1].get_feature_names_out()) == [f"incrementalglo{i}" for i in range(LENGTH)]


def test_a_grid_is_searched_with_numbers_of_numpy():
    search = GridSearchCV(quick(), {"n_components": np.array([2, 3]), "sigma": np.array([0.1])}, cv=2)
    assert search.fit(DIGITS[:20]).best_params_["n_components"] in (2, 3)
