"""What is measured of class and content, against codes and images of which the answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from iglo.data.store import ImageStore
from iglo.disentangle.renders import (
    MORPH_STEPS,
    MORPHED,
    content_kept,
    conversion,
    convert,
    leakage,
    morph,
    recognised,
    reconstruction,
    renders,
    scratch,
    spread,
)
from iglo.models.config import ClassContentConfig
from iglo.models.glo import GLOModel
from iglo.models.snapshots import Snapshots
from tests.tiny import RUNTIME, generator, tiny_class_params

K, N, UNSEEN = 3, 12, 9
LABELS = np.arange(N) % K


class Painter(nn.Module):
    """Writes the class code into the upper half of an image, 100 times brighter, and two of content into the lower."""

    def forward(self, codes):
        images = torch.zeros(len(codes), 1, 4, 2)
        images[:, 0, :2] = codes[:, :1, None] * 0.1
        images[:, 0, 2:] = codes[:, None, 1:]
        return images


class Reader(nn.Module):
    """Reads what Painter has written."""

    def forward(self, images):
        return torch.cat([images[:, 0, 0, :1] * 10, images[:, 0, 2]], dim=1)


class FeatureNetwork(SimpleNamespace):
    """Sees the class that Painter has written."""

    def classes(self, images):
        return (images[:, 0, 0, 0] * 10).round().astype(np.int64)


@pytest.fixture
def model():
    """Class codes 0, 1, 2; content codes are pixels of 8 bits."""
    levels = torch.randint(0, 256, (N, 2), generator=generator()) / 255
    snapshots = Snapshots(torch.arange(2))
    shape = ClassContentConfig(1, 2, 4, 1, 1, "concat")
    codes = torch.arange(float(K))[:, None]
    return GLOModel(shape, Painter(), codes, levels, LABELS, ("x", "y", "z"), snapshots).to(RUNTIME.device)


@pytest.fixture
def store():
    images = np.random.default_rng(0).integers(0, 256, (N + UNSEEN, 4, 2, 1), dtype=np.uint8)
    return ImageStore(images, ("",) * len(images), ("x", "y", "z") * 7, N)


def small(**changes):
    sizes = {"renders__unseen": 5, "renders__converted": 10, "renders__samples": 4}
    return tiny_class_params(**(sizes | changes))


# --- Pictures ---


def test_a_conversion_has_the_content_of_its_row_and_the_class_of_its_column(model):
    content = model.content_codes[[7, 2]]
    converted = convert(model, content, RUNTIME)
    assert converted.shape == (2, K, 4, 2, 1)
    for row, column in np.ndindex(2, K):
        assert converted[row, column, :2] == pytest.approx(column / 10)
        np.testing.assert_array_equal(converted[row, column, 2:, :, 0], content[row].cpu().expand(2, 2))


def test_images_from_scratch_are_of_every_class_and_of_the_same_content_in_each(model):
    model.codes.tables["content"].codes.data *= 0.01
    drawn = scratch(model, 50, 0, RUNTIME)
    assert list(drawn) == ["normal", "gaussian"]
    for images in drawn.values():
        assert images.shape == (K, 50, 4, 2, 1)
        np.testing.assert_allclose(images[:, :, 0, 0, 0], np.arange(K)[:, None].repeat(50, 1) / 10, rtol=1e-6)
        np.testing.assert_array_equal(images[0, :, 2:], images[2, :, 2:])
    near, far = drawn["gaussian"][:, :, 2:].std(), drawn["normal"][:, :, 2:].std()
    assert near < 0.02 and far == pytest.approx(1, abs=0.2)  # fitted to the learned codes, or not


def test_a_morphing_goes_through_every_class_and_back_in_even_steps(model):
    content = model.content_codes[:2]
    frames = morph(model, content, RUNTIME)
    assert frames.shape == (K * MORPH_STEPS, 2, 4, 2, 1)
    np.testing.assert_allclose(frames[::MORPH_STEPS].swapaxes(0, 1), convert(model, content, RUNTIME))
    path = np.append(frames[:, 0, 0, 0, 0], 0)
    steps = np.diff(path).reshape(K, MORPH_STEPS) * 10 * MORPH_STEPS
    np.testing.assert_allclose(steps, np.repeat([[1], [1], [-2]], MORPH_STEPS, axis=1), rtol=1e-4)


def test_a_probe_draws_training_images_and_the_unseen_that_are_not_the_judges(model, store):
    without = renders(model, store, small(), RUNTIME)
    assert without.unseen_converted is None and without.unseen_encoded is None
    model.encoder = Reader()
    drawn = renders(model, store, small(), RUNTIME)
    assert len({*drawn.chosen}) == 10 and set(drawn.chosen) <= set(range(N))
    assert sorted(drawn.unseen) == list(range(N, N + 5))
    np.testing.assert_array_equal(drawn.chosen, without.chosen)
    np.testing.assert_array_equal(drawn.converted[:, 1, 2, :, 0], model.content_codes[drawn.chosen].cpu())
    assert drawn.morphing.shape[1] == MORPHED
    unseen = store.images[drawn.unseen] / 255
    np.testing.assert_allclose(drawn.unseen_converted[:, 2, 2], unseen[:, 2], rtol=1e-6)
    np.testing.assert_allclose(drawn.unseen_encoded[:, 2], unseen[:, 2], rtol=1e-6)
    other = renders(model, store, small(seed=1), RUNTIME)
    assert not np.array_equal(other.chosen, drawn.chosen)


def test_fewer_images_than_are_to_be_probed_are_all_probed(model, store):
    drawn = renders(model, store, small(renders__unseen=20, renders__converted=30), RUNTIME)
    assert len(drawn.chosen) == N and len(drawn.unseen) == UNSEEN


# --- Numbers ---


def test_the_share_that_is_recognised_is_of_the_classes_asked_for(model):
    converted = convert(model, model.content_codes, RUNTIME)
    seeing, blind = (
        FeatureNetwork(accuracy=0.8),
        SimpleNamespace(accuracy=0.5, classes=lambda images: np.zeros(len(images))),
    )
    assert recognised(converted, seeing) == {"recognised": 1.0, "recognised_of_judge": 1 / 0.8}
    assert recognised(converted, blind) == pytest.approx({"recognised": 1 / 3, "recognised_of_judge": 2 / 3})
    assert recognised(converted[:, ::-1], seeing)["recognised"] == pytest.approx(1 / 3)  # only the middle is right


def test_a_conversion_to_its_own_class_does_not_count(model):
    converted = convert(model, model.content_codes, RUNTIME)
    blind = SimpleNamespace(accuracy=0.5, classes=lambda images: np.zeros(len(images)))
    assert conversion(converted, LABELS, FeatureNetwork(accuracy=0.5)) == {
        "recognised": 1.0,
        "recognised_of_judge": 2.0,
    }
    assert conversion(converted, LABELS, blind)["recognised"] == pytest.approx(1 / 3)
    assert conversion(converted, np.zeros(N, int), blind)["recognised"] == 0
    kept = converted.copy()
    kept[:] = converted[np.arange(N), LABELS][:, None]  # nothing is converted at all
    assert conversion(kept, LABELS, FeatureNetwork(accuracy=1.0))["recognised"] == 0


def test_content_is_kept_by_as_much_as_the_encoder_reads_it_back(model, store):
    model.encoder = Reader()
    drawn = renders(model, store, small(), RUNTIME)
    assert content_kept(model, drawn, RUNTIME) == pytest.approx(1, abs=1e-6)
    mean = model.content_codes[drawn.chosen].mean(0)
    model.encoder.forward = lambda images: torch.nn.functional.pad(mean, (1, 0)).expand(len(images), 3)
    assert content_kept(model, drawn, RUNTIME) == pytest.approx(0, abs=1e-6)


def test_the_spread_is_within_classes_and_every_class_weighs_the_same():
    images = np.zeros((6, 2, 2, 1), np.float32)
    images[4:] = 1  # class 1: 0, 0, 1, 1; class 0: twice the same
    images[:2] = 0.7
    assert spread(images, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.25 / 2)
    images[2:4, 0] = 1  # in one row all are the same
    assert spread(images, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.25 / 4)


def test_a_reconstruction_that_is_off_by_a_tenth():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (3, 4, 4, 1)).astype(np.float32)
    values = reconstruction(images + 0.1, images)
    assert values == pytest.approx({"psnr": 20, "l1": 0.1, "l2": 0.01, "l1_l2": 0.11}, rel=1e-4)


def test_leakage_is_1_where_the_class_is_in_the_code_and_chance_where_it_is_not():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2, 3], [75, 75, 75, 75]))
    codes = rng.standard_normal((300, 6)).astype(np.float32)
    clean = leakage(codes, labels, 0)
    assert clean["chance"] == 0.25 and max(clean["logistic"], clean["mlp"]) < 0.36
    told = leakage(np.concatenate([codes, 20 * np.eye(4)[labels]], axis=1), labels, 0)
    assert min(told["logistic"], told["mlp"]) > 0.95


def test_a_class_that_no_line_parts_leaks_to_the_mlp_alone():
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (600, 2)) + 0.1
    told = leakage(codes, (codes[:, 0] * codes[:, 1] > 0).astype(np.int64), 0)
    assert told["logistic"] < 0.65 and told["mlp"] > 0.95


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_leakage_of_few_images_is_measured_too():
    codes = np.random.default_rng(0).standard_normal((4, 6))
    assert set(leakage(codes, np.array([0, 1, 1, 0]), 0)) == {"logistic", "mlp", "chance"}
