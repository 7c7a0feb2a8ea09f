"""Compares sets of images with the test images: samples, midpoints, reconstructions, real images, noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork, InceptionFID
from iglo.evaluation.subsampling import half_sample_errors
from iglo.params.pipeline import EvaluateParams
from iglo.params.sections import LossParams
from iglo.randomness import numpy_generator
from iglo.runtime.device import Runtime

MOST_CLASSES = 20  # a network that spreads real images over more classes does not recognise what they show,
MOST_SHARE = 0.25  # nor one that spreads them over a larger share of its classes
NEIGHBOURS = 2  # training images that are looked for near each image
Values = dict[str, Any]


@dataclass(frozen=True)
class ImageSet:
    """What the networks see in N images, and their spectrum.

    Attributes:
        features: (N, D), pooled features of the feature network.
        probabilities: (N, K), its probabilities of K classes; None if it has no classes.
        inception: (N, 2048), Inception's features; None without its weights.
        nyquist: (N,), shares of power at the highest frequencies; None if the images are not known.
    """

    features: np.ndarray
    probabilities: np.ndarray | None = None
    inception: np.ndarray | None = None
    nyquist: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: slice | np.ndarray) -> "ImageSet":
        return ImageSet(*(None if each is None else each[rows] for each in self._arrays()))

    def __add__(self, other: "ImageSet") -> "ImageSet":
        """Returns the images of both sets."""
        pairs = zip(self._arrays(), other._arrays(), strict=True)
        return ImageSet(*(None if a is None else np.concatenate([a, b]) for a, b in pairs))

    def _arrays(self) -> tuple[np.ndarray | None, ...]:
        return self.features, self.probabilities, self.inception, self.nyquist


@dataclass(frozen=True)
class EvaluationNetworks:
    """The networks that see images for the metrics.

    Attributes:
        main: the network of `evaluate.network`, which most metrics use.
        inception: the network of the FID; None without its weights.
    """

    main: FeatureNetwork
    inception: InceptionFID | None = None

    @classmethod
    def make(cls, evaluate: EvaluateParams, loss: LossParams, runtime: Runtime) -> "EvaluationNetworks":
        """Loads the feature network, and Inception if `evaluate.fid_weights` names its weights."""
        return cls(FeatureNetwork.make(evaluate, loss, runtime), InceptionFID.make(evaluate, runtime))

    @property
    def name(self) -> str:
        """The name of the main network in the keys of metrics."""
        return self.main.feature_name

    def see(self, images: np.ndarray | UnitImages) -> ImageSet:
        """Shows images (N, H, W, C), float in [0, 1], to the networks, once, and computes their spectrum."""
        features, probabilities = self.main.features_and_probabilities(images)
        inception = self.inception.features(images) if self.inception else None
        return ImageSet(features, probabilities, inception, metrics.nyquist_share(images))


@dataclass(frozen=True)
class Reference:
    """The real images that every set is compared with.

    Attributes:
        name: the feature network.
        train: (N, D) features of all training images.
        test: the test images.
        unseen: (T, 2) distances from test images to the nearest and second nearest training images.
        classes: the classes that count as recognised; None if there are none.
        seed: `evaluate.seed`, for standard errors.
    """

    name: str
    train: np.ndarray
    test: ImageSet
    unseen: np.ndarray
    classes: np.ndarray | None
    seed: int

    @classmethod
    def make(cls, name: str, train: np.ndarray, validation: ImageSet | None, test: ImageSet, seed: int) -> "Reference":
        """Finds the classes on the validation images, and measures the distances of test images.

        Args:
            train: (N, D) features.
            validation: None if there are no such images; then no class counts as recognised.
        """
        unseen = metrics.nearest(test.features, train, NEIGHBOURS)[0]
        return cls(name, train, test, unseen, _classes(validation.probabilities) if validation else None, seed)

    def nearest(self, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
        """Returns distances (M, 2) to the nearest training images and their ids, the nearest first.

        Both are (M, 1) if there is only one training image.
        """
        return metrics.nearest(images.features, self.train, NEIGHBOURS)

    def named(self, values: Mapping[str, float], errors: Mapping[str, float]) -> Values:
        """Returns values and, in `se`, their standard errors, by keys that end in the name of the feature network."""
        values, errors = ({f"{key}_{self.name}": value for key, value in each.items()} for each in (values, errors))
        return {**values, "se": errors}


def measure_set(images: ImageSet, reference: Reference, distances: np.ndarray | None = None) -> Values:
    """Compares a set of images with the test images.

    A measure that needs more images is left out.

    Args:
        distances: those of `reference.nearest`, if they are known already.

    Returns:
        kd, fd, precision, recall, density, coverage, novelty, copy_rate, recognised and confidence, each with `_` and
        the name of the feature network, fid_inception, kid_inception and checkerboard; and `se`, the standard errors by
        the same keys.
    """
    distances = reference.nearest(images)[0] if distances is None else distances
    values, errors = _compared(images, reference, distances)
    for more in (copied(distances), seen_classes(images, reference.classes)):
        values |= more[0]
        errors |= more[1]
    named = reference.named(values, errors)
    errors = named.pop("se")
    for more in (_inception(images, reference), _checkerboard(images, reference)):
        named |= more[0]
        errors |= more[1]
    return {**named, "se": errors}


def seen_classes(images: ImageSet, classes: np.ndarray | None) -> tuple[dict[str, float], dict[str, float]]:
    """Returns `recognised` and `confidence`, means over the images, and their standard errors.

    Without classes, only the confidence; nothing if the network has no classes.
    """
    if images.probabilities is None or not len(images):
        return {}, {}
    per_image = {} if classes is None else {"recognised": metrics.recognised(images.probabilities, classes)}
    per_image["confidence"] = metrics.confidence(images.probabilities)
    return means_of(per_image)


def copied(distances: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the copy rate, and its standard error; it needs two training images.

    Args:
        distances: (M, 2) those of `Reference.nearest`.
    """
    if not len(distances) or distances.shape[1] < NEIGHBOURS:
        return {}, {}
    return means_of({"copy_rate": metrics.copies(distances).astype(np.float64)})


def means_of(per_image: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the mean of each measure over the images, and its standard error, which needs two images."""
    values = {key: float(np.mean(each, dtype=np.float64)) for key, each in per_image.items()}
    return values, {key: metrics.mean_error(each) for key, each in per_image.items() if len(each) > 1}


def off_code(sets: Mapping[str, Values], name: str) -> Values:
    """Returns the kernel distances of samples and of midpoints over that of reconstructions, with standard errors.

    1: images off the codes are as real as reconstructions. It is left out if the distance of reconstructions is not
    above its standard error, because the ratio is then undefined.

    Args:
        sets: the numbers of `measure_set` for `samples`, `midpoints`, `graph_midpoints` and `reconstructions`.
        name: the feature network.
    """
    key = f"kd_{name}"
    known = {each: (values[key], values["se"][key]) for each, values in sets.items() if key in values.get("se", {})}
    below, below_error = known.get("reconstructions", (0.0, 0.0))
    if below <= below_error:
        return {}
    values, errors = {}, {}
    for each in ("samples", "midpoints", "graph_midpoints"):
        if each in known:
            above, above_error = known[each]
            values[f"{each}_{name}"] = metrics.off_code_ratio(above, below)
            errors[f"{each}_{name}"] = metrics.ratio_error(above, above_error, below, below_error)
    return {**values, "se": errors}


def _classes(probabilities: np.ndarray | None) -> np.ndarray | None:
    """Returns the classes that hold half of the probability of the validation images; None if they are too many."""
    if probabilities is None:
        return None
    classes = np.asarray(metrics.top_classes(probabilities))
    return classes if len(classes) <= min(MOST_CLASSES, MOST_SHARE * probabilities.shape[1]) else None


def _compared(
    images: ImageSet, reference: Reference, distances: np.ndarray
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the numbers that compare two sets of features, and their standard errors."""
    fake, real = images.features, reference.test.features
    near, unseen = distances[:, 0], reference.unseen[:, 0]

    def statistics(chosen: np.ndarray | slice, known: np.ndarray | slice) -> dict[str, float]:
        return _statistics(fake[chosen], real[known]) | _novelty(near[chosen], unseen[known])

    values, errors = {}, {}
    if min(len(fake), len(real)) >= metrics.FEWEST_FOR_DISTANCE:
        values["kd"] = metrics.kernel_distance(fake, real)
    if min(len(fake), len(real)) >= metrics.FEWEST_FOR_DISTANCE_ERROR:
        errors["kd"] = metrics.kernel_distance_error(fake, real)
    rng = numpy_generator(reference.seed, "evaluation/errors")
    values |= statistics(slice(None), slice(None))
    errors |= half_sample_errors(statistics, (len(fake), len(real)), rng)
    return values, errors


def _statistics(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    values, fewest = {}, min(len(fake), len(real))
    if fewest >= metrics.FEWEST_FOR_DISTANCE:
        values["fd"] = metrics.frechet_distance(fake, real)
    if fewest >= metrics.FEWEST_FOR_PRECISION:
        values["precision"], values["recall"] = metrics.precision_recall(real, fake)
    if fewest >= metrics.FEWEST_FOR_DENSITY:
        values["density"], values["coverage"] = metrics.density_coverage(real, fake)
    return values


def _novelty(near: np.ndarray, unseen: np.ndarray) -> dict[str, float]:
    return {"novelty": metrics.novelty(near, unseen)} if len(near) and len(unseen) else {}


def _inception(images: ImageSet, reference: Reference) -> tuple[dict[str, float], dict[str, float]]:
    fake, real = images.inception, reference.test.inception
    if fake is None or real is None or min(len(fake), len(real)) < metrics.FEWEST_FOR_DISTANCE_ERROR:
        return {}, {}
    rng = numpy_generator(reference.seed, "evaluation/inception")

    def distance(chosen: np.ndarray, known: np.ndarray) -> dict[str, float]:
        return {"fid_inception": metrics.frechet_distance(fake[chosen], real[known])}

    kernel, _ = metrics.subset_kernel_distance(fake, real, rng)
    values = {"fid_inception": metrics.frechet_distance(fake, real), "kid_inception": kernel}
    errors = half_sample_errors(distance, (len(fake), len(real)), rng)
    return values, {**errors, "kid_inception": metrics.kernel_distance_error(fake, real)}


def _checkerboard(images: ImageSet, reference: Reference) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the mean share of power at the highest frequencies, over that of the test images; its standard error.

    It is left out if the test images have no such power.
    """
    if images.nyquist is None or reference.test.nyquist is None or not len(images):
        return {}, {}
    above, below = float(images.nyquist.mean()), float(reference.test.nyquist.mean())
    if not below > 0:
        return {}, {}
    errors = [metrics.mean_error(each) for each in (images.nyquist, reference.test.nyquist)]
    known = min(len(images), len(reference.test)) > 1
    error = {"checkerboard": metrics.ratio_error(above, errors[0], below, errors[1])} if known else {}
    return {"checkerboard": above / below}, error
