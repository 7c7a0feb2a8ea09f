"""Commands that take images: encode, reconstruct, neighbours and convert."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from iglo.cli.files import (
    COLUMNS,
    IMAGE_KINDS,
    class_endings,
    read,
    write_grid,
    write_images,
)
from iglo.cli.options import (
    ARRIVED,
    NAMED,
    PREPARED,
    PREPARED_CLASSES,
    ModelOptions,
    OutputOptions,
    classes_option,
    images_argument,
    inversion_options,
    loss_option,
    model_options,
    output_options,
)
from iglo.files.io import write_array, write_json


@click.command()
@images_argument
@inversion_options
@model_options
@output_options()
def encode(images: tuple[str, ...], model: ModelOptions, output: OutputOptions, **search: Any) -> None:
    """Find the codes of images. Writes an array (N, d) as .npy.

    \b
    Example:
      iglo encode my-pictures --method encoder --out codes.npy
    """
    loaded = model.load()
    given, _ = read(loaded, images)
    with output.writing((".npy",)) as place:
        write_array(place, loaded.invert(given, **search))


@click.command()
@images_argument
@inversion_options
@model_options
@output_options()
def reconstruct(images: tuple[str, ...], model: ModelOptions, output: OutputOptions, **search: Any) -> None:
    """Find the codes of images, and draw the images of these codes. A .png shows them below the originals.

    \b
    Example:
      iglo reconstruct 'my-pictures/*.png' --steps 100 --out reconstructed.png
    """
    loaded = model.load()
    given, _ = read(loaded, images)
    with output.writing(IMAGE_KINDS) as place:
        made = loaded.reconstruct(given, **search)
        if place.suffix == ".png":
            pairs = [(given[i : i + COLUMNS], made[i : i + COLUMNS]) for i in range(0, len(given), COLUMNS)]
            rows = [row for pair in pairs for row in pair]
            write_grid(place, rows, row_labels=["original", "reconstruction"] * len(pairs))
        else:
            write_images(place, made)


@click.command()
@images_argument
@click.option(
    "--among",
    required=True,
    type=NAMED,
    metavar="IMAGES",
    help="Where to look for neighbours; `training`: the images that the model was trained on.",
)
@click.option("-k", type=int, default=5, show_default=True, help="How many neighbours.")
@click.option("--space", default="pixels", show_default=True, help="Where to measure distances: pixels or features.")
@model_options
@output_options()
def neighbours(
    images: tuple[str, ...], among: str, k: int, space: str, model: ModelOptions, output: OutputOptions
) -> None:
    """Find the nearest images among others. A .png shows them; a .json has their names and distances.

    \b
    Example:
      iglo neighbours samples --among data/images --out neighbours.png
    """
    from iglo.export.training_images import read_training_images

    loaded = model.load()
    given, names = read(loaded, images)
    if among == "training":
        prepared = PREPARED_CLASSES if loaded.classes else PREPARED
        others, other_names, _ = read_training_images(loaded.bundle, prepared, ARRIVED)
    else:
        others, other_names = read(loaded, [among])
    with output.writing((".png", ".json")) as place:
        rows, distances = loaded.neighbours(given, others, k, space)
        if place.suffix == ".json":
            _write_neighbours(place, names, [[other_names[row] for row in found] for found in rows], distances)
        else:
            pictures = np.concatenate([given[:, None], others[rows]], axis=1)
            write_grid(place, list(pictures), column_labels=["image", *map(str, range(1, k + 1))])


def _write_neighbours(place: Path, names: list[Path], nearest: list[list[Any]], distances: np.ndarray) -> None:
    """Writes, for every image, the names and distances of its neighbours as JSON."""
    records = [
        {
            "image": str(name),
            "nearest": [{"image": str(near), "distance": away} for near, away in zip(found, row, strict=True)],
        }
        for name, found, row in zip(names, nearest, distances.tolist(), strict=True)
    ]
    write_json(place, records)


@click.command()
@images_argument
@classes_option
@click.option("--method", default="encoder", show_default=True, help="How to find content: encoder or hybrid.")
@loss_option
@model_options
@output_options()
def convert(
    images: tuple[str, ...], classes: tuple[str, ...], model: ModelOptions, output: OutputOptions, **search: Any
) -> None:
    """Draw images in other classes. Needs a model of class and content.

    \b
    Example:
      iglo convert digits --class 3 --class 8 --out converted.png
    """
    loaded = model.load()
    given, _ = read(loaded, images)
    with output.writing(IMAGE_KINDS) as place:
        made = loaded.convert(given, classes or None, **search)
        names = classes or loaded.classes
        if place.suffix == ".png":
            write_grid(place, list(np.concatenate([given[:, None], made], axis=1)), column_labels=["image", *names])
        elif place.suffix == ".npy":
            write_array(place, made)
        else:
            write_images(place, made.reshape(-1, *made.shape[2:]), class_endings(names))
