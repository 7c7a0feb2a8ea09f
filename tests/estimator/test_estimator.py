"""The estimator's results: shapes, types, ranges, and the same bits for the same random state."""

import sys

import numpy as np
import pytest
import torch

import iglo
from iglo.latent import flow, imle
from iglo.latent.priors import PRIORS
from tests.estimator.quick import DIGITS, LENGTH, bits, quick


def test_attributes_describe_what_was_learned(fitted):
    assert fitted.subset_sizes_ == [4, 8, 28] and fitted.codes_.shape == (40, LENGTH)
    np.testing.assert_allclose(np.linalg.norm(fitted.codes_, axis=1), LENGTH**0.5, rtol=1e-5)
    assert list(dict.fromkeys(row["stage"] for row in fitted.history_)) == [
        *("staged 1", "staged 2", "staged 3"),
        *("full", "encoder", "joint"),
    ]
    error = np.mean((fitted.inverse_transform(fitted.codes_) - DIGITS[:40]) ** 2)
    assert fitted.reconstruction_error_ == pytest.approx(error)


def test_the_score_is_that_of_what_comes_back(fitted):
    back = fitted.inverse_transform(fitted.transform(DIGITS[:9]))
    assert fitted.score(DIGITS[:9]) == pytest.approx(-np.mean((back - DIGITS[:9]) ** 2))


def test_codes_lie_where_they_may():
    for constraint, most in [("sphere", 1), ("ball", 1), ("none", np.inf)]:
        model = quick(constraint=constraint).fit(DIGITS[:20])
        lengths = np.linalg.norm(np.concatenate([model.codes_, model.transform(DIGITS[:20])]), axis=1) / LENGTH**0.5
        assert (lengths <= most + 1e-5).all(), constraint
        far = model.inverse_transform(100 * model.codes_)
        assert np.allclose(far, model.inverse_transform(model.codes_), atol=1e-4) == (constraint == "sphere")


# --- Shapes and ranges ---


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (5, 4, 3), (20,)])
def test_images_come_back_in_the_shape_and_the_type_that_they_had(shape):
    X = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    for images in (X, X.astype(np.float64) / 255):
        model = quick().fit(images)
        assert model.n_features_in_ == np.prod(shape) and model.transform(images).dtype == np.float32
        for back in (model.inverse_transform(model.codes_), model.sample(12)):
            assert back.shape == images.shape and back.dtype == (np.uint8 if images is X else np.float32)


class Columns:
    """Rows as in polars: 8-bit columns with types that are not numpy's."""

    def __init__(self, rows: np.ndarray):
        self.rows, self.shape = rows, rows.shape
        self.dtypes = ["UInt8"] * rows.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.rows.astype(dtype or self.rows.dtype)


ROWS = (20, 64)
KINDS = {
    "list of images": list,
    "tuple of images": tuple,
    "tensor": torch.from_numpy,
    "list of tensors": lambda X: list(torch.from_numpy(X)),
    "list of rows": lambda X: list(X.reshape(ROWS)),
    "tensor of rows": lambda X: torch.from_numpy(X.reshape(ROWS)),
    "data frame": lambda X: Columns(X.reshape(ROWS)),
}


def test_8_bit_values_of_every_kind_are_taken_as_an_array_of_them():
    images = DIGITS[:20].reshape(20, 8, 8).astype(np.uint8)
    expected = quick().fit(images)
    for kind, given in KINDS.items():
        model = quick().fit(given(images))
        assert model.value_range_ == (0, 255) and model.sample().dtype == np.uint8, kind
        np.testing.assert_array_equal(model.codes_, expected.codes_)
        np.testing.assert_array_equal(model.transform(given(images)), expected.transform(images))
        assert model.score(given(images)) == expected.score(images), kind


def test_tensors_of_floats_have_the_range_of_their_values():
    for dtype in (torch.float32, torch.bfloat16):
        images = torch.tensor(DIGITS[:20].reshape(20, 8, 8), dtype=dtype, requires_grad=True)
        model = quick().fit(images)
        assert model.value_range_ == (0, 16) and model.sample().dtype == np.float32


def test_images_and_their_rows_are_the_same():
    rows = quick().fit(DIGITS[:20])
    images = quick().fit(DIGITS[:20].reshape(20, 8, 8))
    np.testing.assert_array_equal(rows.codes_, images.codes_)
    np.testing.assert_array_equal(rows.transform(DIGITS[:20].reshape(20, 8, 8, 1)), images.transform(DIGITS[:20]))


def test_samples_of_every_prior_stay_in_the_range_of_the_training_set(monkeypatch):
    monkeypatch.setattr(imle, "IMLE_ROUNDS", 2)
    monkeypatch.setattr(flow, "FLOW_STEPS", (2, 2))
    for prior in PRIORS:
        drawn = quick(prior=prior).fit(DIGITS[:30]).sample(50)
        assert drawn.shape == (50, 64) and 0 <= drawn.min() < drawn.max() <= 16, prior
        assert not np.array_equal(drawn[0], drawn[1]), prior


# --- The same random state, the same bits ---


def test_the_random_state_decides_every_bit(fitted):
    again, other = quick().fit(DIGITS[:40]), quick(random_state=1).fit(DIGITS[:40])
    assert bits(again) == bits(fitted) != bits(other)
    assert again.history_ == fitted.history_


def test_a_generator_as_random_state_goes_on():
    X, state = DIGITS[:20], np.random.RandomState(3)
    one, two = (quick(random_state=state).fit(X) for _ in range(2))
    again = quick(random_state=np.random.RandomState(3)).fit(X)
    assert bits(again) == bits(one) != bits(two)


def test_samples_are_decided_by_their_random_state(fitted):
    np.testing.assert_array_equal(fitted.sample(4), fitted.sample(4, random_state=0))
    np.testing.assert_array_equal(fitted.sample(4, random_state=7), fitted.sample(4, random_state=7))
    assert not np.array_equal(fitted.sample(4), fitted.sample(4, random_state=7))


# --- Words and files ---


@pytest.mark.parametrize("verbose", [False, True])
def test_it_is_silent_unless_asked(verbose: bool, monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True, raising=False)
    quick(verbose=verbose, joint_epochs=0).fit(DIGITS[:12])
    told = capsys.readouterr()
    assert bool(told.err) == verbose
    stages = [line.split(",")[0] for line in told.out.splitlines()]
    assert stages == [f"[IncrementalGLO] {name}" for name in ("staged 1", "staged 2", "full", "encoder")] * verbose


def test_an_exported_model_does_what_the_estimator_does(fitted, copies, tmp_path):
    for kind, model in {"itself": fitted, **copies}.items():
        folder = tmp_path / kind
        model.export(folder)
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "Source: images in memory." in card and "held out: 0." in card
        loaded = iglo.load(folder)
        images = DIGITS[:9].reshape(9, 8, 8, 1).repeat(2, axis=1).repeat(2, axis=2) / 16  # as the networks see digits
        np.testing.assert_array_equal(loaded.encode(images), fitted.transform(DIGITS[:9]))
        drawn = loaded.decode(loaded.draw_codes(4, seed=5), floats=True).reshape(4, 8, 2, 8, 2).mean((2, 4))
        np.testing.assert_allclose(16 * drawn.reshape(4, 64), fitted.sample(4, random_state=5), rtol=1e-5)
    with pytest.raises(ValueError, match="must be that of a new folder"):
        fitted.export(tmp_path)
