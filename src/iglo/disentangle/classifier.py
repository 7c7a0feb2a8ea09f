"""The small classifier that measures conversions. Its training images are used nowhere else in the pipeline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.data.augment import Augment
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.files.io import read_json, write_json
from iglo.losses.terms import Batch
from iglo.models.glo import load_network, save_network
from iglo.models.networks import Encoder, initialise
from iglo.params.class_content import ClassContentParams
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import network_optimizer
from iglo.training.trainer import StageSpec, Trainer

SHIFT = 2  # pixels; training images are shifted by at most this, so that the position of an object does not matter


@dataclass(frozen=True)
class Classification:
    """The cross-entropy of the predicted classes, as a term of the objective.

    Args:
        labels: (N,) int64, the class of every image.
    """

    labels: Tensor
    name: str = "classification"
    source: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        images = batch[self.source]
        return functional.cross_entropy(model(images.images).float(), self.labels[images.ids], reduction="none")


class Classifier:
    """A network that predicts the class of an image.

    Attributes:
        accuracy: share of real test images that it recognises, in [0, 1].
    """

    def __init__(self, network: Encoder, accuracy: float, runtime: Runtime):
        self.network, self.accuracy, self.runtime = runtime.to_device(network), accuracy, runtime

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predicts the class of each image: (N, H, W, C) float in [0, 1] → (N,) int64."""
        self.network.eval()
        pieces = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).split(256)
        return torch.cat([self.network(piece.to(self.runtime.device)).argmax(1).cpu() for piece in pieces]).numpy()

    def save(self, folder: Path) -> None:
        """Writes weights and accuracy into an existing folder."""
        save_network(self.network, folder / "classifier.safetensors")
        head = self.network.head
        record = {"accuracy": self.accuracy, "classes": head.out_features, "width": self.network.width}
        write_json(folder / "classifier.json", record)

    @classmethod
    def load(cls, folder: str | Path, image_size: int, channels: int, runtime: Runtime) -> "Classifier":
        """Loads the classifier that `save` wrote.

        Raises:
            UserError: the folder holds no classifier.
        """
        path = Path(folder) / "classifier.json"
        record = read_json(path)
        try:
            accuracy, classes, width = record["accuracy"], record["classes"], record["width"]
        except (KeyError, TypeError):
            raise UserError(f"{path}: describes no classifier; run the stage that makes it again.") from None
        network = load_network(Encoder(classes, image_size, channels, width), Path(folder) / "classifier.safetensors")
        return cls(network, accuracy, runtime)


def learn_classifier(
    store: ImageStore, params: ClassContentParams, runtime: Runtime, checkpoints: CheckpointFolder | None = None
) -> tuple[Classifier, RunState]:
    """Trains the classifier on the validation images, and measures its accuracy on the test images.

    So it knows neither the images that the generator learned nor those that are converted.

    Raises:
        UserError: a class has no validation images, or the accuracy is 0.
    """
    section, seed = params.classifier, params.renders.seed
    own, labels = np.arange(store.parts.train, store.first_test), store.label_ids
    missing = np.setdiff1d(labels[: store.parts.train], labels[own])
    if len(missing):
        raise UserError(
            f"data.validation: the classifier learns from these images, but none of them is of class "
            f"{store.classes[missing[0]]!r}; raise data.validation."
        )
    network = Encoder(len(store.classes), params.data.image_size, params.data.channels, section.width)
    network = runtime.to_device(initialise(network, torch_generator(seed, "judge")))
    stage = StageSpec(
        "classifier",
        [(1.0, Classification(torch.from_numpy(labels).to(runtime.device)))],
        {"current": IdSampler(own, section.batch_size, Augment(flip=False, shift=SHIFT, gain=0.0))},
        [network_optimizer("adam", network, section.rate)],
        LRSchedule(section.epochs, "cosine"),
        stream="judge",  # an earlier name of the stage; another name would draw other random numbers
        seed=seed,
    )
    state = Trainer(network, store.images, None, params, runtime, checkpoints).run(stage)
    classifier = Classifier(network, 0.0, runtime)
    test = np.asarray(store.test, np.float32) / 255
    classifier.accuracy = float((classifier.predict(test) == labels[store.first_test :]).mean())
    if not classifier.accuracy:
        raise UserError(
            f"classifier: recognises none of the {len(test)} test images; raise classifier.epochs or data.validation."
        )
    return classifier, state
