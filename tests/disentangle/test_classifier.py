"""The classifier learns classes that are easy to see, and from the validation images only."""

import dataclasses

import numpy as np
import pytest

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier, learn_classifier
from iglo.errors import UserError
from iglo.params.sections import Parts
from tests.tiny import RUNTIME, same_bits, tiny_class_params

PARTS = Parts(train=10, validation=40, test=20)
LABELS = np.arange(sum(PARTS)) % 2
PARAMS = tiny_class_params(classifier__epochs=8, classifier__rate=0.01)


def store(labels=LABELS) -> ImageStore:
    """Noise whose left or right half is brighter, by LABELS; the labels may say something else."""
    images = np.random.default_rng(0).integers(0, 100, (len(LABELS), 16, 16, 1), dtype=np.uint8)
    for image, label in zip(images, LABELS, strict=True):
        image[:, 8 * label : 8 * label + 8] += 150
    return ImageStore(images, ("",) * len(images), tuple("ab"[label] for label in labels), PARTS)


def pictures(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


@pytest.fixture(scope="module")
def classifier():
    return learn_classifier(store(), PARAMS, RUNTIME)[0]


def test_it_learns_classes_that_are_easy_to_see(classifier):
    assert classifier.accuracy == 1
    np.testing.assert_array_equal(classifier.predict(pictures(store().images)), LABELS)


def test_its_accuracy_is_measured_on_the_test_images_alone():
    """Most test images have wrong labels, and all training images."""
    labels = LABELS.copy()
    labels[-15:] = 1 - labels[-15:]
    labels[: PARTS.train] = 1 - labels[: PARTS.train]
    misled, progress = learn_classifier(store(labels), PARAMS, RUNTIME)
    assert misled.accuracy == 0.25 and progress.images_seen == 8 * PARTS.validation
    np.testing.assert_array_equal(misled.predict(pictures(store().images)), LABELS)


def test_it_learns_from_the_validation_images_alone(monkeypatch):
    seen = []

    def stop(network, objective, batches, *_, **__):
        seen.extend(batch["current"].ids.cpu().numpy() for batch in batches.between(0, batches.steps))
        raise InterruptedError

    monkeypatch.setattr("iglo.training.trainer.fit", stop)
    with pytest.raises(InterruptedError):
        learn_classifier(store(), PARAMS, RUNTIME)
    np.testing.assert_array_equal(np.unique(np.concatenate(seen)), np.arange(PARTS.train, store().first_test))


def test_the_seed_of_the_training_does_not_move_it(classifier):
    other = learn_classifier(store(), dataclasses.replace(PARAMS, seed=1), RUNTIME)[0]
    assert same_bits(dict(other.network.state_dict()), dict(classifier.network.state_dict()))


def test_a_saved_classifier_is_loaded_unchanged(classifier, tmp_path):
    classifier.save(tmp_path)
    loaded = Classifier.load(tmp_path, 16, 1, RUNTIME)
    weights = classifier.network.state_dict()
    assert loaded.accuracy == classifier.accuracy
    assert all(np.array_equal(value.cpu(), weights[key].cpu()) for key, value in loaded.network.state_dict().items())


def test_a_folder_without_a_classifier_is_refused(classifier, tmp_path):
    with pytest.raises(UserError, match=r"classifier\.json: there is no such file; run the stage"):
        Classifier.load(tmp_path, 16, 1, RUNTIME)
    classifier.save(tmp_path)
    with pytest.raises(UserError, match=r"classifier\.safetensors: holds no weights of this network; run the stage"):
        Classifier.load(tmp_path, 32, 1, RUNTIME)
    (tmp_path / "classifier.json").write_text('{"shape": {}}')
    with pytest.raises(UserError, match=r"classifier\.json: describes no classifier; run the stage"):
        Classifier.load(tmp_path, 16, 1, RUNTIME)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            np.repeat([0, 1, 0, 1], [5, 5, 40, 20]),
            "data.validation: the classifier learns from .* none of them is of class 'b'; raise data.validation.",
        ),
        (
            np.where(np.arange(len(LABELS)) < len(LABELS) - PARTS.test, LABELS, 1 - LABELS),
            "classifier: recognises none of the 20 test images; .*",
        ),
    ],
)
def test_images_that_cannot_train_a_classifier_are_refused(labels, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        learn_classifier(store(labels), PARAMS, RUNTIME)
