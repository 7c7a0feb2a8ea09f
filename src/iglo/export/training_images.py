"""Reads the images that an exported model was trained on, from the folders of prepared images that its run left."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from iglo.data.store import ImageStore
from iglo.errors import UserError, shown
from iglo.export.bundle import Bundle


class TrainingImages(NamedTuple):
    """The training images of a model, in the order of its codes.

    Attributes:
        images: (N, H, W, C) uint8, memory-mapped if no images arrived later.
        names: N names. That of an image that arrived later begins with the id of its arrival.
        labels: N names of classes; "" for an image without a class.
    """

    images: np.ndarray
    names: list[str]
    labels: list[str]


def read_training_images(bundle: Bundle, prepared: str | Path, arrived: str | Path) -> TrainingImages:
    """Reads the training images of a model. The export does not have them.

    Args:
        prepared: folder of the prepared images of the first run.
        arrived: folder with a folder of prepared images for each arrival.

    Raises:
        UserError: the images are not there, or they are those of another run.
    """
    record, config = bundle.record, bundle.config
    folders = [Path(prepared), *(Path(arrived) / each.id for each in record.arrivals)]
    starts = [0, *(each.first for each in record.arrivals), record.codes.count]
    images, names, labels = [], [], []
    for index, folder in enumerate(folders):
        count = starts[index + 1] - starts[index]
        store = _store(folder, (count, config.image_size, config.image_size, config.channels))
        images.append(store.train)
        before = f"{record.arrivals[index - 1].id}/" if index else ""
        names += [before + name for name in store.names[:count]]
        labels += store.labels[:count]
    return TrainingImages(images[0] if len(images) == 1 else np.concatenate(images), names, labels)


def _store(folder: Path, known: tuple[int, ...]) -> ImageStore:
    """Opens prepared images; UserError unless the training images have the shape `known`, (N, H, W, C)."""
    try:
        store = ImageStore.open(folder, whole=False)
    except UserError:
        raise UserError(
            f"training: the training images must be in {shown(str(folder))}, which is not here; run the command where "
            "the model was trained, or name other images (./training for a folder of this name)."
        ) from None
    if store.train.shape != known:
        sizes = [" x ".join(map(str, each)) for each in (store.train.shape, known)]
        raise UserError(
            f"training: {shown(str(folder))} holds training images of another run ({sizes[0]}, and the model learned "
            f"{sizes[1]}); name images."
        )
    return store
