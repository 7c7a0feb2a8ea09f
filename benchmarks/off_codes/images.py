"""Reads the images of an experiment, and lets a judge look at sets of images."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from iglo.errors import UserError
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.files.folders import natural_key
from iglo.params.pipeline import EvaluateParams
from iglo.params.sections import LossParams
from iglo.runtime.device import Runtime

MOST, HELD_OUT = 6000, 250  # images that are read; validation images, and as many test images
JUDGE = "timm/tf_efficientnet_lite0"


def load_images(folder: Path, size: int, shuffle: bool) -> np.ndarray:
    """Reads the images of a folder in the natural order of their names: (N, size, size, 3) uint8.

    Transparent images lie on white. Other sizes are resized.

    Args:
        shuffle: whether their order is random, always the same.
    """
    paths = sorted(folder.rglob("*.*g"), key=lambda path: natural_key(path.name))[:MOST]
    if not paths:
        raise UserError(f"{folder}: holds no images (.png, .jpg, .jpeg); name another folder.")
    images = np.stack([_load(path, size) for path in paths])
    return images[np.random.RandomState(0).permutation(len(images))] if shuffle else images


def _load(path: Path, size: int) -> np.ndarray:
    image = Image.open(path).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(image.resize((size, size), Image.LANCZOS))


def split(images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns training, validation and test images: the first `count`, and equal numbers of the next ones."""
    rest = len(images) - count
    if rest < 2:
        raise UserError(f"--images: there are {len(images)} images; the experiment needs more than {count + 1}.")
    held_out = min(HELD_OUT, rest // 2)
    return images[:count], images[count : count + held_out], images[count + held_out : count + 2 * held_out]


def load_judge(weights: Path, runtime: Runtime) -> FeatureNetwork:
    """Loads EfficientNet-Lite0 from a file of weights."""
    evaluate = EvaluateParams(
        seed=0, network=JUDGE, weights=str(weights), fid_weights=None, pairs=32, steps=10, samples=500
    )
    loss = LossParams(name="l1", network="vgg16", weights="random", blocks=4, pixel_weight=1.0, cache_gb=1)
    return FeatureNetwork.make(evaluate, loss, runtime)


class Judged:
    """Real images of an experiment, and what the judge sees in them and in others. It runs in the runtime's precision.

    Args:
        training, validation, test: (N, H, W, 3) uint8.
    """

    def __init__(self, training: np.ndarray, validation: np.ndarray, test: np.ndarray, judge: FeatureNetwork):
        self.training, self.validation, self.test, self._judge = training, validation, test, judge

    def numbers(self, images: np.ndarray) -> dict[str, float]:
        """Measures images (N, H, W, 3) float in [0, 1] against the test images.

        `copies` is the share of images that look copied from a training image.
        """
        features, probabilities = self._look(images)
        return self._compared(features, probabilities)

    @cached_property
    def real(self) -> dict[str, float]:
        """The same numbers of the validation images, but `recognised` of the test images.

        The validation images chose the classes that count as recognised.
        """
        features, probabilities = self._validation
        recognised = self._compared(*self._test)["recognised"]
        return self._compared(features, probabilities) | {"recognised": recognised}

    def nearest(self, images: np.ndarray) -> np.ndarray:
        """Returns the training image that is nearest to each image in the judge's features, uint8."""
        return self.training[metrics.nearest(self._look(images)[0], self._training[0])[1].ravel()]

    def _compared(self, features: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
        test = self._test[0]
        classes = metrics.top_classes(self._validation[1])
        precision, recall = metrics.precision_recall(test, features)
        density, coverage = metrics.density_coverage(test, features)
        return {
            "kd": metrics.kernel_distance(features, test),
            "recognised": float(metrics.recognised(probabilities, classes).mean()),
            "copies": float(metrics.copies(metrics.nearest(features, self._training[0], 2)[0]).mean()),
            "precision": precision,
            "recall": recall,
            "density": density,
            "coverage": coverage,
        }

    @cached_property
    def _training(self) -> Any:
        return self._look(self.training.astype(np.float32) / 255)

    @cached_property
    def _validation(self) -> Any:
        return self._look(self.validation.astype(np.float32) / 255)

    @cached_property
    def _test(self) -> Any:
        return self._look(self.test.astype(np.float32) / 255)

    def _look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns features (N, D) and probabilities of classes (N, K)."""
        with self._judge.runtime.autocast():
            return self._judge.features_and_probabilities(images)
