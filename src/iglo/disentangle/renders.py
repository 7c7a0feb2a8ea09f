"""What a model of class and content has told apart: leakage, conversions, images from scratch; as numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from iglo.data.store import ImageStore
from iglo.disentangle.classifier import Classifier
from iglo.disentangle.model import class_codes, combined, content_codes, labels_of
from iglo.evaluation import metrics
from iglo.latent.priors import fit_prior
from iglo.models.geometry import make_geometry
from iglo.models.glo import GLOModel, encode, render
from iglo.params.sections import ClassContentParams
from iglo.randomness import numpy_generator, sklearn_seed, torch_generator
from iglo.runtime.device import Runtime

MORPHED, MORPH_STEPS = 8, 8  # images, and frames from one class to the next
FOLDS = 5  # of the images whose class is predicted from their content; fewer where a class has fewer
ENOUGH_TO_STOP = 8  # images of a class, from which some can be spared to say when to stop learning


@dataclass(frozen=True)
class Renders:
    """What is drawn once and then measured and shown.

    Attributes:
        chosen, unseen: (M,), (U,) ids of training and test images, drawn by seed.
        reconstructed: (N, H, W, C) G of every training image's codes; float in [0, 1], as all images here.
        converted: (M, K, H, W, C) the content of each chosen image with the code of every class.
        unseen_converted: (U, K, H, W, C) the same of unseen images, their content read by the encoder.
        unseen_encoded: (U, H, W, C) G of both codes that the encoder reads.
        scratch: images per way to draw content, (K, S, H, W, C).
        morphing: (T, M, H, W, C) a few chosen images, turning into every class in a circle.
    """

    chosen: np.ndarray
    unseen: np.ndarray
    reconstructed: np.ndarray
    converted: np.ndarray
    unseen_converted: np.ndarray | None
    unseen_encoded: np.ndarray | None
    scratch: dict[str, np.ndarray]
    morphing: np.ndarray


def convert(model: GLOModel, content: Tensor, runtime: Runtime) -> np.ndarray:
    """(M, content) codes → (M, K, H, W, C), each with the code of every class."""
    kinds = len(model.config.classes)
    labels = np.tile(np.arange(kinds), len(content))
    images = render(model.generator, combined(model, labels, content.repeat_interleave(kinds, 0)), runtime)
    return images.reshape(len(content), kinds, *images.shape[1:])


def content_of(model: GLOModel, images: np.ndarray, runtime: Runtime) -> Tensor:
    """(M, H, W, C) uint8 → (M, content) codes, as the encoder reads them."""
    return encode(model.encoder, images, model.config, runtime)[:, model.config.class_dimension :]


def scratch(model: GLOModel, count: int, seed: int, runtime: Runtime) -> dict[str, np.ndarray]:
    """Images of random content in every class: `normal` from N(0, I), `gaussian` fitted to the learned codes."""
    content, rng = content_codes(model), torch_generator(seed, "scratch/normal")
    fitted = fit_prior("gaussian", content, make_geometry("none", None, content.shape[1]), seed)
    drawn = {
        "normal": torch.randn(count, content.shape[1], generator=rng, dtype=torch.float32),
        "gaussian": fitted.draw(count, torch_generator(seed, "scratch/gaussian")),
    }
    return {name: convert(model, content, runtime).swapaxes(0, 1) for name, content in drawn.items()}


def morph(model: GLOModel, content: Tensor, runtime: Runtime) -> np.ndarray:
    """(M, content) codes → (T, M, H, W, C): from class to class and back to the first, along straight lines."""
    codes, frames = class_codes(model), []
    for start, end in zip(codes, codes.roll(-1, 0), strict=True):
        for time in torch.linspace(0, 1, MORPH_STEPS + 1, dtype=torch.float32)[:-1]:
            between = torch.lerp(start, end, time.item()).expand(len(content), -1)
            frames.append(render(model.generator, torch.cat([between, content], dim=1), runtime))
    return np.stack(frames)


def renders(model: GLOModel, store: ImageStore, params: ClassContentParams, runtime: Runtime) -> Renders:
    """Draws everything; without an encoder nothing of unseen images."""
    section, rng = params.renders, numpy_generator(params.seed, "probe")
    chosen = rng.permutation(store.train_count)[: section.converted]
    unseen = store.train_count + rng.permutation(min(section.unseen, len(store.test)))
    unseen_converted = unseen_encoded = None
    if model.encoder is not None:
        images = np.asarray(store.images[unseen])
        codes = encode(model.encoder, images, model.config, runtime)
        unseen_converted = convert(model, codes[:, model.config.class_dimension :], runtime)
        unseen_encoded = render(model.generator, codes, runtime)
    return Renders(
        chosen,
        unseen,
        render(model.generator, model.codes.values, runtime),
        convert(model, content_codes(model)[torch.from_numpy(chosen)], runtime),
        unseen_converted,
        unseen_encoded,
        scratch(model, section.samples, params.seed, runtime),
        morph(model, content_codes(model)[torch.from_numpy(chosen[:MORPHED])], runtime),
    )


def measure(
    drawn: Renders,
    model: GLOModel,
    store: ImageStore,
    classifier: Classifier,
    params: ClassContentParams,
    runtime: Runtime,
) -> dict[str, Any]:
    """All numbers. Shares are of images, in [0, 1]; those `_of_judge` are over the classifier's own accuracy."""
    train, labels = np.asarray(store.train, np.float32) / 255, labels_of(model)
    all_labels = store.label_ids
    values = {
        "train": reconstruction(drawn.reconstructed, train) | {"spread": spread(drawn.reconstructed, labels)},
        "leakage": leakage(content_codes(model).cpu().numpy(), labels, params.seed),
        "conversion": conversion(drawn.converted, labels[drawn.chosen], classifier),
        "scratch": {name: recognised(images.swapaxes(0, 1), classifier) for name, images in drawn.scratch.items()},
        "real": {"accuracy": classifier.accuracy, "spread": spread(train, labels)},
    }
    if model.encoder is not None:
        unseen = np.asarray(store.images[drawn.unseen], np.float32) / 255
        values["unseen"] = {
            **reconstruction(drawn.unseen_encoded, unseen),
            "conversion": conversion(drawn.unseen_converted, all_labels[drawn.unseen], classifier),
        }
        values["conversion"]["content_kept"] = content_kept(model, drawn, runtime)
    return values


def reconstruction(images: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """PSNR in dB, L1, L2 and their sum, as means over pixels, of (N, H, W, C) float in [0, 1]."""
    l1, l2 = metrics.l1(images, targets), float(np.square(images - targets).mean())
    return {"psnr": metrics.psnr(images, targets), "l1": l1, "l2": l2, "l1_l2": l1 + l2}


def spread(images: np.ndarray, labels: np.ndarray) -> float:
    """Variance of a pixel across the images of a class, averaged over pixels and classes."""
    return float(np.mean([images[labels == label].var(0).mean() for label in np.unique(labels)]))


def leakage(content: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Share of images whose class can be predicted from their content code, each by a classifier that was fitted to
    other images (five folds); `chance` is the share of the most frequent class."""
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=sklearn_seed(seed, "leakage/folds"))
    random_state = sklearn_seed(seed, "leakage/mlp")
    classifiers = {
        "logistic": LogisticRegression(max_iter=1000),
        "mlp": MLPClassifier((64,), early_stopping=fewest >= ENOUGH_TO_STOP, max_iter=200, random_state=random_state),
    }
    shares = {}
    for name, classifier in classifiers.items():
        predicted = cross_val_predict(make_pipeline(StandardScaler(), classifier), content, labels, cv=folds)
        shares[name] = float((predicted == labels).mean())
    return shares | {"chance": float(np.bincount(labels).max() / len(labels))}


def recognised(images: np.ndarray, classifier: Classifier) -> dict[str, float]:
    """(M, K, H, W, C): share of images in which the classifier sees the class of their column."""
    count, kinds = images.shape[:2]
    share = float(
        (
            classifier.classes(images.reshape(count * kinds, *images.shape[2:])) == np.tile(np.arange(kinds), count)
        ).mean()
    )
    return {"recognised": share, "recognised_of_judge": share / classifier.accuracy}


def conversion(converted: np.ndarray, labels: np.ndarray, classifier: Classifier) -> dict[str, float]:
    """(M, K, H, W, C) conversions of images of these classes: share recognised as the class asked for, their own left
    out."""
    count, kinds = converted.shape[:2]
    asked = np.tile(np.arange(kinds), (count, 1))
    others = asked != labels[:, None]
    share = float((classifier.classes(converted[others]) == asked[others]).mean())
    return {"recognised": share, "recognised_of_judge": share / classifier.accuracy}


def content_kept(model: GLOModel, drawn: Renders, runtime: Runtime) -> float:
    """How well the content that the encoder reads from conversions predicts the content they were made with: R²."""
    flat = drawn.converted.reshape(-1, *drawn.converted.shape[2:])
    read = content_of(model, (flat * 255).round().astype(np.uint8), runtime).cpu().numpy()
    true = content_codes(model)[torch.from_numpy(drawn.chosen)].cpu().numpy().repeat(len(model.config.classes), axis=0)
    return float(1 - np.square(read - true).sum() / np.square(true - true.mean(0)).sum())
