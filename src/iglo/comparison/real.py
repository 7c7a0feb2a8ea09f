"""Real images as each judge (a feature network) sees them: computed once, because all runs have the same images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from iglo.backbones.networks import backbone_name
from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.image_sets import EvaluationNetworks, ImageSet, Reference, Values, measure_set, seen_classes
from iglo.evaluation.measure import split_quality
from iglo.evaluation.run import noise, some_rows
from iglo.files.io import read_array, write_array
from iglo.params.comparison import Comparison
from iglo.randomness import numpy_generator
from iglo.runtime.device import Runtime

SHOWN = 12  # images of each part that figures show
FIELDS = ("features", "probabilities", "inception", "nyquist")  # of an ImageSet, in the names of files


def make_judges(comparison: Comparison, runtime: Runtime) -> list[EvaluationNetworks]:
    """Returns the judge of `base.evaluate`, then those of `measure.other_judges`.

    All compare with the loss of `base`, so that a judge has the same name in every run.
    """
    base = comparison.params()
    sections = [base.evaluate]
    for other in comparison.measure.other_judges:
        sections.append(replace(base.evaluate, network=other.network, weights=other.weights, fid_weights=None))
    return [EvaluationNetworks.make(section, base.loss, runtime) for section in sections]


@dataclass(frozen=True)
class RealImages:
    """What a judge sees in the real images.

    Attributes:
        train: (N, D) features of the training images.
    """

    train: np.ndarray
    validation: ImageSet
    test: ImageSet

    @classmethod
    def see(cls, judge: EvaluationNetworks, store: ImageStore) -> "RealImages":
        validation, test = (judge.see(UnitImages(part)) for part in (store.validation, store.test))
        return cls(judge.main.features(UnitImages(store.train)), validation, test)

    def save(self, folder: Path, index: int) -> None:
        """Writes the arrays of judge number `index`."""
        write_array(folder / f"judge-{index}-train-features.npy", self.train)
        for part in ("validation", "test"):
            for field in FIELDS:
                if (array := getattr(getattr(self, part), field)) is not None:
                    write_array(folder / f"judge-{index}-{part}-{field}.npy", array)

    @classmethod
    def load(cls, folder: Path, index: int) -> "RealImages":
        """Reads what `save` has written."""
        sets = []
        for part in ("validation", "test"):
            paths = [folder / f"judge-{index}-{part}-{field}.npy" for field in FIELDS]
            sets.append(ImageSet(*(read_array(path) if path.exists() else None for path in paths)))
        return cls(read_array(folder / f"judge-{index}-train-features.npy"), *sets)

    def reference(self, name: str, seed: int) -> Reference:
        """Returns what sets of images are compared with.

        Args:
            name: of the judge.
            seed: `evaluate.seed`.
        """
        return Reference.make(name, self.train, self.validation, self.test, seed)


def shown_ids(count: int, seed: int) -> np.ndarray:
    """Draws the ids of the images that figures show, out of `count`: (SHOWN,) int64, or fewer."""
    return numpy_generator(seed, "comparison/shown").permutation(count)[:SHOWN]


def measure_reference(
    folder: Path,
    store: ImageStore,
    split: tuple[np.ndarray, np.ndarray, np.ndarray],
    comparison: Comparison,
    runtime: Runtime,
) -> dict[str, Any]:
    """Measures real images and noise as if they were samples, and the quality of the split.

    Args:
        folder: receives the originals of the images that figures show, and what each judge sees in real images.
        split: the features in which the first round clustered (N, P), their clusters (N,), and the ids of the first
            subset (M,).
    """
    params, judges = comparison.params(), make_judges(comparison, runtime)
    seed, samples = params.evaluate.seed, params.evaluate.samples
    for name, images in (("train", store.train), ("test", store.test)):
        write_array(folder / f"{name}.npy", np.asarray(images[shown_ids(len(images), seed)]))
    real = [RealImages.see(judge, store) for judge in judges]
    for index, each in enumerate(real):
        each.save(folder, index)
    reference = real[0].reference(judges[0].name, seed)
    ceiling = judges[0].see(noise(samples, store.train.shape[1:], seed))
    return {
        "real": measure_set(real[0].validation, reference),
        "noise": measure_set(ceiling, reference),
        "split": split_quality(*split, seed),
        "feature_network": judges[0].name,
        "other_judges": [judge.name for judge in judges[1:]],
        "recognised_classes": [] if reference.classes is None else reference.classes.tolist(),
        "trained_on": _trained_on(comparison),
        "machine": runtime.machine,
        "budget": comparison.budget,
        "counts": _counts(store, samples, seed),
        "image_size": store.train.shape[1],
    }


def _trained_on(comparison: Comparison) -> str | None:
    """Returns the network of the perceptual loss; None if no method uses it."""
    losses = [comparison.params(method).loss for method in comparison.run]
    return next((backbone_name(loss.network, loss.weights) for loss in losses if loss.name == "perceptual"), None)


def _counts(store: ImageStore, samples: int, seed: int) -> dict[str, int]:
    return {
        **{part: len(getattr(store, part)) for part in ("train", "validation", "test")},
        "samples": samples,
        "midpoints": samples if len(store.train) > 1 else 0,
        "reconstructions": len(some_rows(len(store.train), samples, seed, "train")),
    }


def load_real(folder: Path, judges: Sequence[EvaluationNetworks]) -> list[RealImages]:
    """Returns what each judge sees in the real images, from the folder of `measure_reference`."""
    return [RealImages.load(folder, index) for index in range(len(judges))]


def brief(images: ImageSet, reference: Reference, real: np.ndarray | None = None) -> Values:
    """Returns the kernel distance to the test images, what is recognised, the confidence, and `se`.

    Args:
        real: (M, D) features of the real images; None: those of all test images.
    """
    real = reference.test.features if real is None else real
    values, errors = seen_classes(images, reference.classes)
    fewest = min(len(images), len(real))
    if fewest >= metrics.FEWEST_FOR_DISTANCE:
        values["kd"] = metrics.kernel_distance(images.features, real)
    if fewest >= metrics.FEWEST_FOR_DISTANCE_ERROR:
        errors["kd"] = metrics.kernel_distance_error(images.features, real)
    return reference.named(values, errors)
