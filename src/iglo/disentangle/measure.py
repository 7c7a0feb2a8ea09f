"""Measures how well class and content are separated: reconstructions, leakage, conversions, random content."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier
from iglo.disentangle.model import content_codes, labels_of
from iglo.disentangle.renders import Renders, content_of
from iglo.evaluation import metrics
from iglo.models.glo import GLOModel
from iglo.params.class_content import ClassContentParams
from iglo.randomness import sklearn_seed
from iglo.runtime.device import Runtime

FOLDS = 5  # in the cross-validation of leakage; fewer if a class has fewer images
ENOUGH_TO_STOP = 8  # with fewer images of a class, the MLP has no early stopping, which holds images out


def measure(
    renders: Renders,
    model: GLOModel,
    store: ImageStore,
    classifier: Classifier,
    params: ClassContentParams,
    runtime: Runtime,
) -> dict[str, Any]:
    """Measures everything, and returns the numbers as a nested dict.

    `recognised` is the share of images in [0, 1] whose class the classifier predicts as intended.
    `recognised_of_classifier` is this share divided by the accuracy of the classifier on real images.
    """
    train, labels = np.asarray(store.train, np.float32) / 255, labels_of(model)
    values = {
        "train": reconstruction(renders.reconstructed, train) | {"spread": spread(renders.reconstructed, labels)},
        "leakage": leakage(content_codes(model).cpu().numpy(), labels, params.renders.seed),
        "conversion": conversion(renders.converted, labels[renders.chosen], classifier),
        "scratch": {name: recognised(images.swapaxes(0, 1), classifier) for name, images in renders.scratch.items()},
        "real": {"accuracy": classifier.accuracy, "spread": spread(train, labels)},
    }
    if model.encoder is not None:
        unseen = np.asarray(store.images[renders.unseen], np.float32) / 255
        values["unseen"] = {
            **reconstruction(renders.unseen_encoded, unseen),
            "conversion": conversion(renders.unseen_converted, store.label_ids[renders.unseen], classifier),
        }
        values["conversion"]["content_kept"] = content_kept(model, renders, runtime)
    return values


def reconstruction(images: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Computes PSNR in dB, L1, L2 and L1 + L2, as means over pixels of (N, H, W, C) floats in [0, 1]."""
    l1, l2 = metrics.l1(images, targets), float(np.square(images - targets).mean())
    return {"psnr": metrics.psnr(images, targets), "l1": l1, "l2": l2, "l1_l2": l1 + l2}


def spread(images: np.ndarray, labels: np.ndarray) -> float:
    """Computes the variance of a pixel over the images of a class, averaged over pixels and classes."""
    return float(np.mean([images[labels == label].var(0).mean() for label in np.unique(labels)]))


def leakage(content: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Measures the share of images whose class can be predicted from their content code, in [0, 1].

    Two probes (`logistic`, `mlp`) predict the class in a cross-validation: each image is predicted by a probe that was
    fitted to other images. `chance` is the share of the most frequent class.
    """
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=sklearn_seed(seed, "leakage/folds"))
    random_state = sklearn_seed(seed, "leakage/mlp")
    probes = {
        "logistic": LogisticRegression(max_iter=1000),
        "mlp": MLPClassifier((64,), early_stopping=fewest >= ENOUGH_TO_STOP, max_iter=200, random_state=random_state),
    }
    shares = {}
    for name, probe in probes.items():
        predicted = cross_val_predict(make_pipeline(StandardScaler(), probe), content, labels, cv=folds)
        shares[name] = float((predicted == labels).mean())
    return shares | {"chance": float(np.bincount(labels).max() / len(labels))}


def recognised(images: np.ndarray, classifier: Classifier) -> dict[str, float]:
    """Measures the share of images (M, K, H, W, C) that the classifier recognises; image k of a row has class k."""
    count, class_count = images.shape[:2]
    found = classifier.predict(images.reshape(count * class_count, *images.shape[2:]))
    return _shares(found, np.tile(np.arange(class_count), count), classifier)


def conversion(converted: np.ndarray, labels: np.ndarray, classifier: Classifier) -> dict[str, float]:
    """Measures the share of conversions (M, K, H, W, C) that the classifier recognises; conversion k has class k.

    A conversion of an image to its own class does not count.

    Args:
        labels: (M,) int64, the class of each image before the conversion.
    """
    count, class_count = converted.shape[:2]
    asked = np.tile(np.arange(class_count), (count, 1))
    others = asked != labels[:, None]
    return _shares(classifier.predict(converted[others]), asked[others], classifier)


def _shares(found: np.ndarray, asked: np.ndarray, classifier: Classifier) -> dict[str, float]:
    share = float((found == asked).mean())
    return {"recognised": share, "recognised_of_classifier": share / classifier.accuracy}


def content_kept(model: GLOModel, renders: Renders, runtime: Runtime) -> float:
    """Computes R² between the content codes that the encoder reads from conversions and the original codes."""
    flat = renders.converted.reshape(-1, *renders.converted.shape[2:])
    read = content_of(model, (flat * 255).round().astype(np.uint8), runtime).cpu().numpy()
    shown = content_codes(model)[torch.from_numpy(renders.chosen)].cpu().numpy()
    true = shown.repeat(len(model.config.classes), axis=0)
    return float(1 - np.square(read - true).sum() / np.square(true - true.mean(0)).sum())
