"""Images that arrive after the fit: what stays, what is added, the same bits, and calls that fail."""

import copy
import pickle

import numpy as np
import pytest

import iglo
from iglo.estimator import learning
from iglo.estimator.settings import Settings
from tests.estimator.quick import DIGITS, bits, quick

OLD, NEW, ONE = DIGITS[:40], DIGITS[40:60], DIGITS[60:61]


def added(fitted, *arrivals: np.ndarray):
    """A copy of a fitted estimator that has learned these arrivals."""
    model = copy.deepcopy(fitted)
    for X in arrivals:
        assert model.partial_fit(X) is model
    return model


def test_codes_and_subsets_and_losses_are_added(fitted, few_steps):
    model = added(fitted, NEW, ONE)
    np.testing.assert_array_equal(model.codes_[:40], fitted.codes_)
    assert len(model.codes_) == 61 and model.subset_sizes_ == [*fitted.subset_sizes_, 8, 12, 1]
    np.testing.assert_allclose(np.linalg.norm(model.codes_, axis=1), 5**0.5, rtol=1e-5)
    assert model.history_[: len(fitted.history_)] == fitted.history_
    assert list(dict.fromkeys(row["stage"] for row in model.history_[len(fitted.history_) :])) == [
        *("arrival 1 subset 1", "arrival 1 subset 2", "arrival 1 encoder"),
        *("arrival 2 subset 1", "arrival 2 encoder"),
    ]
    error = np.mean((model.inverse_transform(model.codes_[60:]) - ONE) ** 2)
    assert model.reconstruction_error_ == pytest.approx(error)
    assert len(fitted.codes_) == 40  # the copy is one


def test_the_first_call_is_fit_and_a_later_fit_starts_from_nothing(fitted, few_steps):
    assert bits(quick().partial_fit(OLD)) == bits(fitted)
    again = added(fitted, NEW).fit(OLD)
    assert bits(again) == bits(fitted) and again.subset_sizes_ == fitted.subset_sizes_
    assert added(again, NEW).history_ == added(fitted, NEW).history_


def test_calls_give_the_same_bits_with_and_without_pickles(fitted, few_steps):
    expected = added(fitted, NEW, ONE)
    again = quick().fit(OLD).partial_fit(NEW).partial_fit(ONE)
    assert bits(again) == bits(expected) != bits(added(fitted, NEW)) and again.history_ == expected.history_
    stored = copy.deepcopy(fitted)
    for X in (NEW, ONE):
        stored = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(stored)).partial_fit(X)))
    assert bits(stored) == bits(expected) and stored.history_ == expected.history_


def test_the_seed_is_that_of_fit(few_steps):
    one, two = (quick(random_state=np.random.RandomState(3)).fit(OLD) for _ in range(2))
    assert bits(one.partial_fit(NEW)) == bits(two.set_params(random_state=9).partial_fit(NEW))


def test_range_and_shape_stay_those_of_fit(fitted, few_steps):
    model = added(fitted, 3 * NEW.reshape(20, 8, 8, 1) - 8)
    assert model.value_range_ == fitted.value_range_ and model.image_shape_ == fitted.image_shape_
    assert bits(model) == bits(added(fitted, (3 * NEW - 8).clip(*fitted.value_range_)))


def test_settings_that_are_no_size_may_change(fitted, few_steps):
    other = copy.deepcopy(fitted).set_params(loss="l2", prior="normal", sigma=0.0).partial_fit(NEW)
    assert other._learned.prior.name == "normal" and bits(other) != bits(added(fitted, NEW))
    for change in ({"n_components": 6}, {"width": 5}, {"constraint": "ball"}, {"network": "style"}):
        ((name, value),) = change.items()
        model = copy.deepcopy(fitted).set_params(**change)
        with pytest.raises(ValueError, match=rf"^{name}: must stay .*, as in fit, got {value}; call fit to learn all"):
            model.partial_fit(NEW)


# --- Calls that fail ---


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "X", "error", "said"),
    [
        ({}, NEW[:, :8], ValueError, "expecting 64 features"),
        ({}, NEW.reshape(20, 4, 16), ValueError, "images must have the shape"),
        ({}, NEW * np.nan, ValueError, "contains NaN"),
        ({}, NEW[:0], ValueError, "0 sample"),
        ({}, NEW + 1e308, ValueError, "values must be within"),
        ({"epochs": -1}, NEW, ValueError, "epochs: must be at least 0"),
        ({"learning_rate": 1e30}, NEW, ValueError, "^arrival 1 subset 1: .* no longer finite"),
        ({}, NEW, KeyboardInterrupt, None),
    ],
)
def test_a_call_that_fails_changes_nothing(fitted, few_steps, monkeypatch, changes, X, error, said):
    model = copy.deepcopy(fitted).set_params(**changes)
    if error is KeyboardInterrupt:
        monkeypatch.setattr(learning, "refresh_encoder", interrupt)
    before = dict(vars(model))
    with pytest.raises(error, match=said):
        model.partial_fit(X)
    assert vars(model) == before and bits(model) == bits(fitted)


def test_a_fit_that_fails_changes_nothing_either(fitted):
    model = copy.deepcopy(fitted).set_params(value_range=(1, 0))
    with pytest.raises(ValueError, match="value_range"):
        model.fit(NEW[:, :16])
    assert model.n_features_in_ == 64 and bits(model) == bits(fitted)


def test_a_first_call_that_fails_leaves_an_unfitted_estimator():
    model = quick(loss="perceptual", loss_network="vgg11", loss_weights="nowhere.safetensors")
    before = dict(vars(model))
    with pytest.raises(ValueError, match="nowhere"):
        model.partial_fit(OLD)
    assert vars(model) == before


# --- What others see ---


def test_an_exported_model_lists_its_arrivals(fitted, few_steps, tmp_path):
    model = pickle.loads(pickle.dumps(added(fitted, NEW, ONE)))
    model.export(tmp_path / "out")
    assert iglo.load(tmp_path / "out").info()["arrivals"] == [
        "arrival 1 (20 images, rows 40 to 59, kept by generated images)",
        "arrival 2 (1 image, row 60, kept by generated images)",
    ]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "61 images for training: 40 in the first run, and 21 that arrived later." in card
    assert (
        "| arrival 1 | 20 | 40 to 59 | 0 | 0 | generated images |" in card and "| arrival 2 encoder | 2 | 122 |" in card
    )


def test_a_verbose_call_prints_each_stage_once(fitted, few_steps, capsys):
    copy.deepcopy(fitted).set_params(verbose=True, epochs=6).partial_fit(ONE)
    stages = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert stages == [f"[IncrementalGLO] arrival 1 {name}" for name in ("subset 1", "polish", "encoder")]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ({}, (30, 10, 10, 2)),
        ({"subset_epochs": 1, "epochs": 1, "encoder_epochs": 1}, (1, 0, 1, 2)),
        ({"subset_epochs": 0}, (30, 10, 10, 1)),
        ({"subset_epochs": 0, "epochs": 0}, (1, 0, 10, 1)),
    ],
)
def test_the_passes_follow_from_those_of_fit(epochs, expected):
    """Without passes over subsets, there is one subset."""
    asked = Settings.of(iglo.IncrementalGLO(learning_rate=4e-3, **epochs))
    params = asked.arrival_params(12, 40, 16, 1, 0)
    how = params.arrival
    assert (how.epochs, how.polish_epochs, how.encoder_epochs, len(params.rounds)) == expected
    assert (how.generator_rate, how.encoder_rate) == (2e-3, 2e-3)
