"""Class and content: one code per class and one per image, learned with one generator (LORD: Gabbay & Hoshen 2019).

The model has two tables of codes instead of one. The loop, the terms and the encoder stages are those of GLO.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.losses.terms import CodeDecay, Continuity, Reconstruction
from iglo.models.codes import Codes, CodeTable, normal_codes, pca_codes
from iglo.models.config import ClassContentConfig
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.models.networks import initialise
from iglo.models.snapshots import Snapshots
from iglo.params.class_content import ClassContentParams
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import IdSampler
from iglo.training.callbacks import SnapshotCallback
from iglo.training.loop import LRSchedule, RunState
from iglo.training.optimizers import RowAdam, network_optimizer
from iglo.training.trainer import StageSpec, Trainer

FEWEST_PER_CLASS = 2  # images; from a single image, class and content cannot be told apart


def class_codes(model: GLOModel) -> Tensor:
    """Returns the code of every class, (K, class)."""
    return model.codes.tables["class"].weight.detach()


def content_codes(model: GLOModel) -> Tensor:
    """Returns the content code of every training image, (N, content)."""
    return model.codes.tables["content"].values


def labels_of(model: GLOModel) -> np.ndarray:
    """Returns the class of every training image, (N,) int64."""
    return model.codes.tables["class"].keys.cpu().numpy()


def combined(model: GLOModel, labels: np.ndarray, content: Tensor) -> Tensor:
    """Combines the codes of classes (M,) with content codes (M, content): (M, class + content)."""
    codes = class_codes(model)
    return torch.cat([codes[torch.from_numpy(labels)], content.to(codes.device)], dim=1)


def start_class_content(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], params: ClassContentParams, runtime: Runtime
) -> tuple[GLOModel, History]:
    """Makes an untrained generator with starting codes N(0, I) for classes and images, and an empty history.

    With `latent.content_init: pca` the content codes start as principal components of the images.

    Args:
        images: (N, H, W, C) uint8, the training images.
        labels: (N,) int64, the class of each image: an index into `classes`, the names.

    Raises:
        UserError: class and content cannot be told apart, as in `check_classes`.
    """
    check_classes(labels, classes, params)
    latent, data = params.latent, params.data
    config = ClassContentConfig(
        latent.class_dimension,
        latent.content_dimension,
        data.image_size,
        data.channels,
        params.generator.width,
        params.combine,
        tuple(classes),
    )
    generator = initialise(config.generator(), torch_generator(params.seed, "generator"))
    of_class, of_content = config.tables().values()
    rng = torch_generator(params.seed, "content codes")
    if latent.content_init == "pca":
        content = pca_codes(images, latent.content_dimension, of_content.geometry, rng)
    else:
        content = normal_codes(len(images), latent.content_dimension, of_content.geometry, rng)
    rng = torch_generator(params.seed, "class codes")
    starts = normal_codes(len(classes), latent.class_dimension, of_class.geometry, rng)
    tables = {
        "class": CodeTable(starts, of_class.geometry, torch.from_numpy(labels), of_class.noisy),
        "content": CodeTable(content, of_content.geometry),
    }
    model = GLOModel(config, runtime.to_device(generator), Codes(**tables)).to(runtime.device)
    snapshots = Snapshots.of_random_images(np.arange(len(images)), len(images), params.seed)
    return model, History(snapshots, np.zeros(len(images), np.int32))


def check_classes(labels: np.ndarray, classes: Sequence[str], params: ClassContentParams) -> None:
    """Checks that class and content can be told apart.

    Raises:
        UserError: an image has no label, there is one class, a class has one image, or the class code is too short.
    """
    if "" in classes:
        raise UserError("data: some images have no label; put the images of each class into a folder of its own.")
    counts = Counter(labels.tolist())
    if len(counts) < 2:
        raise UserError(
            f"data.classes: at least two classes are needed among the training images, got {len(counts)}: "
            f"{', '.join(classes[label] for label in counts)}; add classes."
        )
    for label, name in enumerate(classes):
        if counts[label] < FEWEST_PER_CLASS:
            raise UserError(
                f"data.classes: class {name!r} has {counts[label]} of the training images; at least "
                f"{FEWEST_PER_CLASS} are needed to tell class from content."
            )
    if len(classes) > 2**params.latent.class_dimension:
        raise UserError(
            f"latent.class_dimension: {params.latent.class_dimension} cannot tell {len(classes)} classes apart; use at "
            f"least {int(np.ceil(np.log2(len(classes))))}."
        )


def learn_class_content(trainer: Trainer) -> RunState:
    """Learns G, class codes e and content codes c: min Σ ‖G(e_y, c_x + ε), x‖ + decay·‖c_x‖² with ε ~ N(0, σ²I)."""
    model, params, history, count = trainer.model, trainer.params, trainer.history, len(trainer.images)
    SnapshotCallback(history.snapshots, model.generator, "train", trainer.runtime, count).take(model, 0)
    rates, tables = params.optimizer, model.codes.tables
    noise = Continuity(params.sigma, name="reconstruction")
    stage = StageSpec(
        "train",
        [(1.0, noise if params.sigma else Reconstruction()), (params.decay, CodeDecay("content"))],
        {"current": IdSampler(np.arange(count), params.train.batch_size)},
        [
            network_optimizer("adam", model.generator, rates.generator_rate),
            RowAdam([tables["class"]], rates.class_rate),
            RowAdam([tables["content"]], rates.content_rate),
        ],
        LRSchedule(params.train.epochs, rates.schedule),
        ema=params.generator.ema,
        snapshots=True,
        check=Reconstruction(),
        rate_key="optimizer.generator_rate",
    )
    return trainer.run(stage)
