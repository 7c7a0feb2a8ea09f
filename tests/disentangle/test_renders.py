"""Renders of class and content and their measures, on codes and images whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from iglo.data.store import ImageStore
from iglo.disentangle.measure import content_kept, conversion, leakage, recognised, reconstruction, spread
from iglo.disentangle.model import content_codes
from iglo.disentangle.renders import MORPH_STEPS, MORPHED, convert, make_renders, morph, scratch
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import ClassContentConfig
from iglo.models.glo import GLOModel
from iglo.params.sections import Parts
from tests.tiny import RUNTIME, generator, tiny_class_params

K, N, VALIDATION, UNSEEN = 3, 12, 3, 9
LABELS = np.arange(N) % K


class Painter(nn.Module):
    """Writes a tenth of the class code into the upper half of an image, and two content codes into the lower half."""

    def forward(self, codes):
        images = torch.zeros(len(codes), 1, 4, 2)
        images[:, 0, :2] = codes[:, :1, None] * 0.1
        images[:, 0, 2:] = codes[:, None, 1:]
        return images


class Reader(nn.Module):
    """Reads what Painter has written."""

    def forward(self, images):
        return torch.cat([images[:, 0, 0, :1] * 10, images[:, 0, 2]], dim=1)


def seeing(accuracy):
    """A classifier that reads the class that Painter has written."""
    return SimpleNamespace(accuracy=accuracy, predict=lambda images: (images[:, 0, 0, 0] * 10).round().astype(np.int64))


def blind(accuracy):
    """A classifier that always answers class 0."""
    return SimpleNamespace(accuracy=accuracy, predict=lambda images: np.zeros(len(images)))


@pytest.fixture
def model():
    """A model with class codes 0, 1, 2 and content codes that 8-bit pixels can hold."""
    levels = torch.randint(0, 256, (N, 2), generator=generator()) / 255
    config = ClassContentConfig(1, 2, 4, 1, 1, "concat", ("x", "y", "z"))
    of_class, of_content = (table.geometry for table in config.tables().values())
    classes = CodeTable(torch.arange(float(K))[:, None], of_class, torch.from_numpy(LABELS), noisy=False)
    codes = Codes(**{"class": classes, "content": CodeTable(levels, of_content)})
    return GLOModel(config, Painter(), codes).to(RUNTIME.device)


@pytest.fixture
def store():
    images = np.random.default_rng(0).integers(0, 256, (N + VALIDATION + UNSEEN, 4, 2, 1), dtype=np.uint8)
    return ImageStore(images, ("",) * len(images), ("x", "y", "z") * 8, Parts(N, VALIDATION, UNSEEN))


def small(**changes):
    sizes = {"renders__unseen": 5, "renders__converted": 10, "renders__samples": 4}
    return tiny_class_params(**(sizes | changes))


# --- Images ---


def test_a_conversion_has_the_content_of_its_row_and_the_class_of_its_column(model):
    content = content_codes(model)[[7, 2]]
    converted = convert(model, content, RUNTIME)
    assert converted.shape == (2, K, 4, 2, 1)
    for row, column in np.ndindex(2, K):
        assert converted[row, column, :2] == pytest.approx(column / 10)
        np.testing.assert_array_equal(converted[row, column, 2:, :, 0], content[row].cpu().expand(2, 2))


def test_images_from_scratch_have_the_same_content_in_every_class(model):
    model.codes.tables["content"].weight.data *= 0.01
    drawn = scratch(model, 50, 0, RUNTIME)
    assert list(drawn) == ["normal", "gaussian"]
    for images in drawn.values():
        assert images.shape == (K, 50, 4, 2, 1)
        np.testing.assert_allclose(images[:, :, 0, 0, 0], np.arange(K)[:, None].repeat(50, 1) / 10, rtol=1e-6)
        np.testing.assert_array_equal(images[0, :, 2:], images[2, :, 2:])
    near, far = drawn["gaussian"][:, :, 2:].std(), drawn["normal"][:, :, 2:].std()
    assert near < 0.02 and far == pytest.approx(1, abs=0.2)  # fitted to the learned codes, or not


def test_morphing_goes_through_every_class_and_back_in_even_steps(model):
    content = content_codes(model)[:2]
    frames = morph(model, content, RUNTIME)
    assert frames.shape == (K * MORPH_STEPS, 2, 4, 2, 1)
    np.testing.assert_allclose(frames[::MORPH_STEPS].swapaxes(0, 1), convert(model, content, RUNTIME))
    path = np.append(frames[:, 0, 0, 0, 0], 0)
    steps = np.diff(path).reshape(K, MORPH_STEPS) * 10 * MORPH_STEPS
    np.testing.assert_allclose(steps, np.repeat([[1], [1], [-2]], MORPH_STEPS, axis=1), rtol=1e-4)


def test_renders_show_training_images_and_test_images(model, store):
    without = make_renders(model, store, small(), RUNTIME)
    assert without.unseen_converted is None and without.unseen_encoded is None
    model.encoder = Reader()
    drawn = make_renders(model, store, small(), RUNTIME)
    assert len({*drawn.chosen}) == 10 and set(drawn.chosen) <= set(range(N))
    assert sorted(drawn.unseen) == list(range(N + VALIDATION, N + VALIDATION + 5))
    np.testing.assert_array_equal(drawn.chosen, without.chosen)
    np.testing.assert_array_equal(drawn.converted[:, 1, 2, :, 0], content_codes(model)[drawn.chosen].cpu())
    assert drawn.morphing.shape[1] == MORPHED
    unseen = store.images[drawn.unseen] / 255
    np.testing.assert_allclose(drawn.unseen_converted[:, 2, 2], unseen[:, 2], rtol=1e-6)
    np.testing.assert_allclose(drawn.unseen_encoded[:, 2], unseen[:, 2], rtol=1e-6)
    same, other = (make_renders(model, store, small(**{key: 1}), RUNTIME) for key in ("seed", "renders__seed"))
    np.testing.assert_array_equal(same.chosen, drawn.chosen)
    assert not np.array_equal(other.chosen, drawn.chosen)


def test_all_images_are_rendered_if_there_are_fewer_than_asked_for(model, store):
    drawn = make_renders(model, store, small(renders__unseen=20, renders__converted=30), RUNTIME)
    assert len(drawn.chosen) == N and len(drawn.unseen) == UNSEEN


# --- Numbers ---


def test_recognised_counts_images_that_show_the_class_of_their_column(model):
    converted = convert(model, content_codes(model), RUNTIME)
    assert recognised(converted, seeing(0.8)) == {"recognised": 1.0, "recognised_of_classifier": 1 / 0.8}
    assert recognised(converted, blind(0.5)) == pytest.approx({"recognised": 1 / 3, "recognised_of_classifier": 2 / 3})
    assert recognised(converted[:, ::-1], seeing(0.8))["recognised"] == pytest.approx(1 / 3)  # the middle column


def test_a_conversion_to_its_own_class_does_not_count(model):
    converted = convert(model, content_codes(model), RUNTIME)
    assert conversion(converted, LABELS, seeing(0.5)) == {"recognised": 1.0, "recognised_of_classifier": 2.0}
    assert conversion(converted, LABELS, blind(0.5))["recognised"] == pytest.approx(1 / 3)
    assert conversion(converted, np.zeros(N, int), blind(0.5))["recognised"] == 0
    kept = converted.copy()
    kept[:] = converted[np.arange(N), LABELS][:, None]  # nothing is converted at all
    assert conversion(kept, LABELS, seeing(1.0))["recognised"] == 0


def test_content_kept_is_1_if_the_encoder_reads_it_back_and_0_if_it_reads_the_mean(model, store):
    model.encoder = Reader()
    drawn = make_renders(model, store, small(), RUNTIME)
    assert content_kept(model, drawn, RUNTIME) == pytest.approx(1, abs=1e-6)
    mean = content_codes(model)[drawn.chosen].mean(0)
    model.encoder.forward = lambda images: torch.nn.functional.pad(mean, (1, 0)).expand(len(images), 3)
    assert content_kept(model, drawn, RUNTIME) == pytest.approx(0, abs=1e-6)


def test_spread_is_within_classes_and_every_class_has_the_same_weight():
    images = np.zeros((6, 2, 2, 1), np.float32)
    images[4:] = 1  # class 1: 0, 0, 1, 1; class 0: twice the same
    images[:2] = 0.7
    assert spread(images, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.25 / 2)
    images[2:4, 0] = 1  # in one row all are the same
    assert spread(images, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.25 / 4)


def test_reconstruction_of_images_that_differ_by_a_tenth():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (3, 4, 4, 1)).astype(np.float32)
    values = reconstruction(images + 0.1, images)
    assert values == pytest.approx({"psnr": 20, "l1": 0.1, "l2": 0.01, "l1_l2": 0.11}, rel=1e-4)


def test_leakage_is_1_if_the_class_is_in_the_code_and_chance_if_it_is_not():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2, 3], [75, 75, 75, 75]))
    codes = rng.standard_normal((300, 6)).astype(np.float32)
    clean = leakage(codes, labels, 0)
    assert clean["chance"] == 0.25 and max(clean["logistic"], clean["mlp"]) < 0.36
    told = leakage(np.concatenate([codes, 20 * np.eye(4)[labels]], axis=1), labels, 0)
    assert min(told["logistic"], told["mlp"]) > 0.95


def test_a_class_that_is_not_linearly_separable_leaks_to_the_mlp_alone():
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (600, 2)) + 0.1
    told = leakage(codes, (codes[:, 0] * codes[:, 1] > 0).astype(np.int64), 0)
    assert told["logistic"] < 0.65 and told["mlp"] > 0.95


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_leakage_of_few_images_is_measured_too():
    codes = np.random.default_rng(0).standard_normal((4, 6))
    assert set(leakage(codes, np.array([0, 1, 1, 0]), 0)) == {"logistic", "mlp", "chance"}
