"""The estimator: scikit-learn's own checks, and what its users count on."""

import copy
import pickle
import pickletools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import iglo
from iglo.data.store import ImageStore
from iglo.estimator import IncrementalGLO
from iglo.estimator.learning import learn_model
from iglo.estimator.settings import growing_rounds
from iglo.latent.priors import fit_prior
from iglo.models.glo import Model, decode, encode
from iglo.params.sections import load_params
from iglo.runtime.device import start
from tests.tiny import generator, rounds_of, same_bits, tiny_images, tiny_params

DIGITS = load_digits().data  # (1797, 64), 0 to 16


def tiny(**changes) -> IncrementalGLO:
    """Quick to fit, and bad."""
    quick = {"subset_epochs": 1, "epochs": 1, "encoder_epochs": 1, "joint_epochs": 1}
    small = {"n_components": 5, "width": 4, "batch_size": 16, "random_state": 0}
    return IncrementalGLO(**quick | small | changes)


@pytest.fixture(scope="module")
def fitted() -> IncrementalGLO:
    return tiny().fit(DIGITS[:40])


def shifted(X: np.ndarray) -> np.ndarray:
    return X + 1


# --- scikit-learn's checks ---


@parametrize_with_checks([tiny()])
def test_what_scikit_learn_asks_of_a_transformer(estimator, check):
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
        model = tiny().fit(DIGITS[:40])
        again = pickle.loads(pickle.dumps(model))
        found = model.codes_, again.transform(DIGITS[:5]), again.sample(3)
    assert all(map(np.array_equal, found, (fitted.codes_, fitted.transform(DIGITS[:5]), fitted.sample(3))))


@pytest.mark.bits
def test_fits_of_several_threads_learn_what_one_learns_alone(fitted):
    """The settings of the process do not change."""
    before = torch.are_deterministic_algorithms_enabled(), sys.stderr, torch.get_rng_state()
    models = [tiny() for _ in range(3)]
    threads = [threading.Thread(target=model.fit, args=(DIGITS[:40],)) for model in models]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.array_equal(model.codes_, fitted.codes_) for model in models)
    assert (torch.are_deterministic_algorithms_enabled(), sys.stderr) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


# --- The method ---


def test_the_estimator_learns_what_the_pipeline_learns(tiny_run):
    """The same images and params: the same bits as the model at the end of all stages."""
    params = load_params(tiny_run.folder / "params.yaml")
    runtime = start(params.precision)
    images = ImageStore.open(tiny_run.folder / "data" / "prepared").train
    learned, wanted = learn_model(images, params, runtime), Model.load(tiny_run.folder / "models" / "joint", runtime)
    assert same_bits(dict(learned.state_dict()), dict(wanted.state_dict()))
    assert learned.log == wanted.log and np.array_equal(learned.subset_id, wanted.subset_id)


def test_classic_glo_runs_whole_at_128_pixels():
    """The CelebA preset, narrowed: squared error, codes on a sphere of radius 1, as learned, read and drawn."""
    params = tiny_params(
        "presets/celeba.yaml",
        **{"data__image_size": 128, "data__channels": 3, "generator__width": 1, "encoder__width": 1},
        **{"rounds": rounds_of(1), "latent__radius": 1.0, "joint__epochs": 1, "features__network": "pixels"},
    )
    assert (params.loss.name, params.latent.constraint) == ("l2", "sphere")
    images = tiny_images(14, channels=3).repeat(8, axis=1).repeat(8, axis=2)
    runtime = start(params.precision)
    model = learn_model(images, params, runtime)
    read = encode(model.encoder, images, model.shape, runtime)
    drawn = fit_prior("gaussian", model.codes, model.shape.geometry(), 0).draw(4, generator())
    for codes in (model.codes, read, drawn):
        torch.testing.assert_close(codes.norm(dim=1).cpu(), torch.ones(len(codes)), rtol=0, atol=1e-5)
    assert decode(model.generator, drawn, runtime).shape == (4, 128, 128, 3)


def test_it_learns_the_digits():
    """Through the encoder, unseen digits come back better than from the mean, learned ones than from two components."""
    train, test = DIGITS[:300], DIGITS[300:500]
    epochs = {"epochs": 15, "subset_epochs": 5, "encoder_epochs": 20, "joint_epochs": 5}
    model = tiny(n_components=16, width=8, **epochs).fit(train)
    pca = PCA(2).fit(train)
    of_pca = np.mean((pca.inverse_transform(pca.transform(train)) - train) ** 2)
    of_mean = np.mean((train.mean(0) - test) ** 2)

    assert model.reconstruction_error_ < of_pca / 2
    assert -model.score(train) < of_pca and -model.score(test) < of_mean / 2


@pytest.mark.parametrize(("count", "sizes"), [(6000, [512, 1024, 4464]), (48, [8, 16, 24]), (10, [4, 6]), (7, [7])])
def test_subsets_grow_and_the_last_takes_half_or_more(count: int, sizes: list[int]):
    """Of 6000 images the paper's subsets: 128 clusters, of each 4 and then up to 8 images."""
    rounds = growing_rounds(count, 3, epochs=1)
    taken = [item.clusters * item.per_cluster for item in rounds[:-1]]
    assert [*taken, count - sum(taken)] == sizes and rounds[-1].per_cluster is None


def test_what_is_learned_is_told(fitted):
    assert fitted.subset_sizes_ == [4, 8, 28] and fitted.codes_.shape == (40, 5)
    np.testing.assert_allclose(np.linalg.norm(fitted.codes_, axis=1), 5**0.5, rtol=1e-5)
    assert list(dict.fromkeys(row["stage"] for row in fitted.history_)) == [
        *("staged 1", "staged 2", "staged 3"),
        *("full", "encoder", "joint"),
    ]
    error = np.mean((fitted.inverse_transform(fitted.codes_) - DIGITS[:40]) ** 2)
    assert fitted.reconstruction_error_ == pytest.approx(error)


def test_the_score_is_that_of_what_comes_back(fitted):
    back = fitted.inverse_transform(fitted.transform(DIGITS[:9]))
    assert fitted.score(DIGITS[:9]) == pytest.approx(-np.mean((back - DIGITS[:9]) ** 2))


@pytest.mark.parametrize(("constraint", "most"), [("sphere", 1), ("ball", 1), ("none", np.inf)])
def test_codes_lie_where_they_may(constraint: str, most: float):
    model = tiny(constraint=constraint).fit(DIGITS[:20])
    lengths = np.linalg.norm(np.concatenate([model.codes_, model.transform(DIGITS[:20])]), axis=1) / 5**0.5
    assert (lengths <= most + 1e-5).all()
    far = model.inverse_transform(100 * model.codes_)
    assert np.allclose(far, model.inverse_transform(model.codes_), atol=1e-4) == (constraint == "sphere")


# --- Shapes and ranges ---


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (5, 4, 3), (20,)])
def test_images_come_back_in_the_shape_and_the_type_that_they_had(shape):
    X = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    for images in (X, X.astype(np.float64) / 255):
        model = tiny().fit(images)
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
    "frame": lambda X: Columns(X.reshape(ROWS)),
}


@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)
def test_what_holds_8_bits_is_taken_as_an_array_of_them_is(given):
    images = DIGITS[:20].reshape(20, 8, 8).astype(np.uint8)
    expected, model = tiny().fit(images), tiny().fit(given(images))
    assert model.value_range_ == (0, 255) and model.sample().dtype == np.uint8
    np.testing.assert_array_equal(model.codes_, expected.codes_)
    np.testing.assert_array_equal(model.transform(given(images)), expected.transform(images))
    assert model.score(given(images)) == expected.score(images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_floats_have_the_range_of_their_values(dtype):
    images = torch.tensor(DIGITS[:20].reshape(20, 8, 8), dtype=dtype, requires_grad=True)
    model = tiny().fit(images)
    assert model.value_range_ == (0, 16) and model.sample().dtype == np.float32


def test_images_of_several_shapes_and_values_without_a_range_are_refused():
    with pytest.raises(ValueError, match=r"X: all must have one shape, got \(3, 8\) and \(8, 8\)"):
        tiny().fit([np.zeros((8, 8)), np.zeros((3, 8))])
    with pytest.raises(ValueError, match=r"X: values must be within ±1\.7e\+38, got -1e\+308 to 1e\+308; scale them"):
        tiny().fit(np.array([[-1e308, 1e308, 0, 0]] * 4))


def test_images_and_their_rows_are_the_same():
    rows = tiny().fit(DIGITS[:20])
    images = tiny().fit(DIGITS[:20].reshape(20, 8, 8))
    np.testing.assert_array_equal(rows.codes_, images.codes_)
    np.testing.assert_array_equal(rows.transform(DIGITS[:20].reshape(20, 8, 8, 1)), images.transform(DIGITS[:20]))


@pytest.mark.parametrize("prior", ["normal", "gaussian_diag", "gaussian", "gmm", "imle"])
def test_samples_stay_in_the_range_of_the_training_set(prior: str):
    model = tiny(prior=prior).fit(DIGITS[:30])
    drawn = model.sample(50)
    assert drawn.shape == (50, 64) and 0 <= drawn.min() < drawn.max() <= 16
    assert not np.array_equal(drawn[0], drawn[1])


# --- The same random state, the same bits ---


def test_the_random_state_decides_every_bit(fitted):
    again, other = tiny().fit(DIGITS[:40]), tiny(random_state=1).fit(DIGITS[:40])
    assert everything(again) == everything(fitted) != everything(other)
    assert again.history_ == fitted.history_


def test_a_generator_as_random_state_goes_on():
    X, state = DIGITS[:20], np.random.RandomState(3)
    one, two = (tiny(random_state=state).fit(X) for _ in range(2))
    again = tiny(random_state=np.random.RandomState(3)).fit(X)
    assert everything(again) == everything(one) != everything(two)


def test_samples_are_decided_by_their_random_state(fitted):
    np.testing.assert_array_equal(fitted.sample(4), fitted.sample(4, random_state=0))
    np.testing.assert_array_equal(fitted.sample(4, random_state=7), fitted.sample(4, random_state=7))
    assert not np.array_equal(fitted.sample(4), fitted.sample(4, random_state=7))


def everything(model: IncrementalGLO) -> list[bytes]:
    """All that a fitted model gives, bit for bit."""
    return [each.tobytes() for each in (model.codes_, model.transform(DIGITS[:40]), model.sample(4, random_state=5))]


# --- With the rest of scikit-learn ---


@pytest.mark.parametrize("copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_a_copy_gives_the_same_bits(fitted, copied):
    again = copied(fitted)
    assert everything(again) == everything(fitted) and again.get_params() == fitted.get_params()
    assert again.score(DIGITS[:9]) == fitted.score(DIGITS[:9]) and again.history_ == fitted.history_


def test_a_pickle_holds_no_object_of_torch(fitted):
    names = {str(argument) for _, argument, _ in pickletools.genops(pickle.dumps(fitted)) if argument is not None}
    assert not any(name.startswith("torch") for name in names)
    assert {name for name in names if name.startswith("iglo")} == {"iglo.estimator.estimator"}


def test_an_unfitted_estimator_is_pickled_and_cloned(fitted):
    assert pickle.loads(pickle.dumps(tiny())).get_params() == tiny().get_params()
    assert not hasattr(clone(fitted), "codes_")


def test_it_works_within_a_pipeline():
    X = DIGITS[:40]
    scaled = make_pipeline(StandardScaler(), tiny()).fit(X)
    assert scaled.transform(X).shape == (40, 5) and scaled.inverse_transform(scaled.transform(X)).shape == X.shape
    plain = tiny().fit(shifted(X))
    moved = make_pipeline(FunctionTransformer(shifted), tiny()).fit(X)
    np.testing.assert_array_equal(moved.transform(X), plain.transform(shifted(X)))
    assert moved.score(X) == plain.score(shifted(X))
    assert list(moved[-1].get_feature_names_out()) == [f"incrementalglo{i}" for i in range(5)]


def test_a_grid_is_searched_with_numbers_of_numpy():
    search = GridSearchCV(tiny(), {"n_components": np.array([2, 3]), "sigma": np.array([0.1])}, cv=2)
    assert search.fit(DIGITS[:20]).best_params_["n_components"] in (2, 3)


def test_iglo_offers_it():
    assert iglo.IncrementalGLO is IncrementalGLO and "IncrementalGLO" in dir(iglo)
    with pytest.raises(AttributeError, match="no attribute 'IncrementalGlo'"):
        _ = iglo.IncrementalGlo


@pytest.mark.parametrize("verbose", [False, True])
def test_it_is_silent_unless_asked(verbose: bool, monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True, raising=False)
    tiny(verbose=verbose, joint_epochs=0).fit(DIGITS[:12])
    told = capsys.readouterr()
    assert bool(told.err) == verbose
    stages = [line.split(",")[0] for line in told.out.splitlines()]
    assert stages == [f"[IncrementalGLO] {name}" for name in ("staged 1", "staged 2", "full", "encoder")] * verbose


@pytest.mark.parametrize("copied", [lambda model: model, lambda model: pickle.loads(pickle.dumps(model))])
def test_an_exported_model_does_what_the_estimator_does(fitted, copied, tmp_path):
    copied(fitted).export(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Source: images in memory." in card and "held out: 0." in card
    model = iglo.load(tmp_path / "model")
    images = DIGITS[:9].reshape(9, 8, 8, 1).repeat(2, axis=1).repeat(2, axis=2) / 16  # as the networks see digits
    np.testing.assert_array_equal(model.encode(images), fitted.transform(DIGITS[:9]))
    drawn = model.decode(model.draw_codes(4, seed=5), floats=True).reshape(4, 8, 2, 8, 2).mean((2, 4))
    np.testing.assert_allclose(16 * drawn.reshape(4, 64), fitted.sample(4, random_state=5), rtol=1e-5)
    with pytest.raises(ValueError, match="must be that of a new folder"):
        fitted.export(tmp_path)


def test_the_settings_of_torch_stay_as_they_are():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        model = tiny().fit(DIGITS[:12])
        model.inverse_transform(model.transform(DIGITS[:12]))
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


# --- Mistakes ---


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("n_components", 0, "n_components: must be at least 1, got 0"),
        ("n_components", 2.5, "n_components: must be a whole number, got 2.5"),
        ("n_subsets", 0, "n_subsets: must be at least 1"),
        ("epochs", -1, "epochs: must be at least 0"),
        ("encoder_epochs", 0, "encoder_epochs: must be at least 1"),
        ("sigma", np.nan, "sigma: must be a finite number"),
        ("constraint", "cube", "constraint: must be one of none, ball, sphere, got 'cube'"),
        ("loss", "mse", "loss: must be one of"),
        ("prior", "flow", "prior: must be one of"),
        ("learning_rate", 0, "learning_rate: must be greater than 0"),
        ("batch_size", None, "batch_size: must be a whole number, got None"),
        ("image_shape", (3, 5), "image_shape: must be the shape of the samples in X"),
        ("value_range", (1, 0), "value_range: must be"),
        ("random_state", "seven", "'seven' cannot be used to seed"),
        ("loss_weights", "nowhere.safetensors", "nowhere.safetensors"),
    ],
)
def test_a_wrong_argument_is_a_value_error(argument: str, value, words: str):
    loss = {"loss": "perceptual"} if argument == "loss_weights" else {}
    with pytest.raises(ValueError, match=words):
        tiny(**{**loss, argument: value}).fit(DIGITS[:12])


def test_images_of_another_shape_are_a_value_error():
    model = tiny().fit(DIGITS[:4].reshape(4, 8, 8))
    with pytest.raises(ValueError, match=r"X: images must have the shape \(8, 8, 1\), as in fit, got \(4, 16\)"):
        model.transform(np.zeros((4, 4, 16)))
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.transform(np.zeros((4, 9, 9)))
    with pytest.raises(ValueError, match="X: images must be"):
        tiny().fit(np.zeros((4, 8, 8, 2)))
    with pytest.raises(ValueError, match="at most 128×128"):
        tiny().fit(np.zeros((2, 200, 180)))


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((2, 4)), "Z: must have 5 columns, the length of a code, got 4"),
        (np.full((2, 5), np.nan), "Z contains NaN"),
        (np.zeros(5), "Expected 2D array"),
        (np.zeros((0, 5)), "0 sample"),
    ],
)
def test_wrong_codes_are_a_value_error(fitted, codes, words: str):
    with pytest.raises(ValueError, match=words):
        fitted.inverse_transform(codes)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
def test_a_wrong_number_of_samples_is_a_value_error(fitted, count):
    with pytest.raises(ValueError, match="n_samples: must be a whole number of at least 1"):
        fitted.sample(count)


def test_without_fit_there_is_nothing_to_use():
    for method in ("transform", "score", "inverse_transform", "sample"):
        with pytest.raises(NotFittedError):
            getattr(tiny(), method)(*([] if method == "sample" else [DIGITS[:2]]))
