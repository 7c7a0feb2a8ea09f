"""The command `iglo`: a trained model on the command line.

A user's mistake is one sentence on stderr and exit code 2. torch takes seconds to import: what needs it is imported
where it is used, so that --help answers at once.
"""

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

import iglo
from iglo.cli.common import (
    EXPORTED,
    NAMED,
    Commands,
    OutPath,
    classes_option,
    device_option,
    images_argument,
    inversion_options,
    load,
    loss_option,
    method_option,
    model_option,
    out_option,
    output,
    seed_option,
)
from iglo.cli.files import (
    COLUMNS,
    IMAGE_KINDS,
    class_endings,
    read,
    read_codes,
    read_training,
    write_grid,
    write_images,
)
from iglo.errors import shown
from iglo.files.io import read_json, write_array, write_json

# What `dvc repro` leaves: (model, metrics, prepared images) of either pipeline.
LEFT = {
    False: ("models/joint", "metrics-all.json", "data/prepared"),
    True: ("disentangle/work/encoded", "disentangle/work/renders/metrics.json", "disentangle/work/images"),
}
SAMPLERS = "models/priors"


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(iglo.__version__)
def main() -> None:
    """Use a trained model.

    Give images as folders, files or patterns such as 'frogs/*.png'. The name after --out decides what is written: a
    folder of image files, one .png with all of them, a .gif, or an array .npy. A line on stdout says what was written.

    \b
    Example:
      iglo export
      iglo sample --count 64 --out samples.png
    """


@main.command()
@model_option
@click.option("-n", "--count", type=int, default=16, show_default=True, help="How many images.")
@classes_option
@seed_option
@device_option
@out_option
def sample(
    model: str, count: int, classes: tuple[str, ...], seed: int, device: str | None, out: Path, force: bool
) -> None:
    """Draw new images.

    \b
    Example:
      iglo sample --count 64 --seed 1 --out samples.png
    """
    loaded = load(model, device)
    with output(out, force, IMAGE_KINDS) as place:
        write_images(place, loaded.sample(count, seed, classes=classes or None))


@main.command()
@images_argument
@model_option
@inversion_options
@device_option
@out_option
def encode(images: tuple[str, ...], model: str, device: str | None, out: Path, force: bool, **search: Any) -> None:
    """Find the codes of images. Writes an array (N, d) as .npy.

    \b
    Example:
      iglo encode my-pictures --method encoder --out codes.npy
    """
    loaded = load(model, device)
    given, _ = read(loaded, images)
    with output(out, force, (".npy",)) as place:
        write_array(place, loaded.invert(given, **search))


@main.command()
@click.argument("codes", metavar="CODES.npy", type=NAMED)
@model_option
@device_option
@out_option
def decode(codes: str, model: str, device: str | None, out: Path, force: bool) -> None:
    """Draw the images of codes. The codes are an array (N, d).

    \b
    Example:
      iglo decode codes.npy --out decoded
    """
    loaded, given = load(model, device), read_codes(codes)
    with output(out, force, IMAGE_KINDS) as place:
        write_images(place, loaded.decode(given))


@main.command()
@images_argument
@model_option
@inversion_options
@device_option
@out_option
def reconstruct(images: tuple[str, ...], model: str, device: str | None, out: Path, force: bool, **search: Any) -> None:
    """Draw images again from their codes. A .png shows them below the originals.

    \b
    Example:
      iglo reconstruct 'my-pictures/*.png' --steps 100 --out reconstructed.png
    """
    loaded = load(model, device)
    given, _ = read(loaded, images)
    with output(out, force, IMAGE_KINDS) as place:
        made = loaded.reconstruct(given, **search)
        if place.suffix == ".png":
            pairs = [(given[i : i + COLUMNS], made[i : i + COLUMNS]) for i in range(0, len(given), COLUMNS)]
            rows = [row for pair in pairs for row in pair]
            write_grid(place, rows, row_labels=["original", "reconstruction"] * len(pairs))
        else:
            write_images(place, made)


@main.command()
@click.argument("stops", nargs=-1, required=True, type=NAMED)
@model_option
@click.option("--steps", type=int, default=9, show_default=True, help="Images from one stop to the next.")
@click.option("--closed", is_flag=True, help="Return to the first stop; with more than two stops this is always so.")
@method_option
@loss_option
@device_option
@out_option
def interpolate(
    stops: tuple[str, ...],
    model: str,
    steps: int,
    closed: bool,
    device: str | None,
    out: Path,
    force: bool,
    **search: Any,
) -> None:
    """Draw the path from one image to the next. STOPS are images, or one .npy of codes.

    \b
    Example:
      iglo interpolate one.png other.png --steps 15 --out between.gif
    """
    loaded = load(model, device)
    coded = len(stops) == 1 and stops[0].endswith(".npy")
    points = read_codes(stops[0]) if coded else read(loaded, stops)[0]
    with output(out, force, (*IMAGE_KINDS, ".gif")) as place:
        if len(points) == 2 and not closed:
            write_images(place, loaded.interpolate(*points, steps, **search))
        else:
            write_images(place, loaded.tour(points, steps, **search))


@main.command()
@images_argument
@click.option(
    "--among",
    required=True,
    type=NAMED,
    metavar="IMAGES",
    help="Where to look for neighbours; `training`: the images that the model was trained on.",
)
@model_option
@click.option("-k", type=int, default=5, show_default=True, help="How many neighbours.")
@click.option("--space", default="pixels", show_default=True, help="Where to measure: pixels or features.")
@device_option
@out_option
def neighbours(
    images: tuple[str, ...], among: str, model: str, k: int, space: str, device: str | None, out: Path, force: bool
) -> None:
    """Find the nearest images among others. A .png shows them; a .json has their names and distances.

    \b
    Example:
      iglo neighbours samples --among data/images --out neighbours.png
    """
    loaded = load(model, device)
    given, names = read(loaded, images)
    if among == "training":
        others, other_names = read_training(loaded, LEFT[bool(loaded.classes)][2])
    else:
        others, other_names = read(loaded, [among])
    with output(out, force, (".png", ".json")) as place:
        rows, distances = loaded.neighbours(given, others, k, space)
        if place.suffix == ".json":
            found = [
                [{"image": str(other_names[row]), "distance": distance} for row, distance in zip(*pair, strict=True)]
                for pair in zip(rows, distances.tolist(), strict=True)
            ]
            texts = map(str, names)
            write_json(place, [{"image": text, "nearest": near} for text, near in zip(texts, found, strict=True)])
        else:
            shown = np.concatenate([given[:, None], others[rows]], axis=1)
            write_grid(place, list(shown), column_labels=["image", *map(str, range(1, k + 1))])


@main.command()
@images_argument
@model_option
@classes_option
@click.option("--method", default="encoder", show_default=True, help="How to find content: encoder or hybrid.")
@loss_option
@device_option
@out_option
def convert(
    images: tuple[str, ...],
    model: str,
    classes: tuple[str, ...],
    device: str | None,
    out: Path,
    force: bool,
    **search: Any,
) -> None:
    """Draw images in other classes. Needs a model of class and content.

    \b
    Example:
      iglo convert digits --class 3 --class 8 --out converted.png
    """
    loaded = load(model, device)
    given, _ = read(loaded, images)
    with output(out, force, IMAGE_KINDS) as place:
        made = loaded.convert(given, classes or None, **search)
        names = classes or loaded.classes
        if place.suffix == ".png":
            write_grid(place, list(np.concatenate([given[:, None], made], axis=1)), column_labels=["image", *names])
        elif place.suffix == ".npy":
            write_array(place, made)
        else:
            write_images(place, made.reshape(-1, *made.shape[2:]), class_endings(names))


@main.command()
@model_option
@device_option
def info(model: str, device: str | None) -> None:
    """Describe a model.

    \b
    Example:
      iglo info --model models/export
    """
    values = load(model, device).info()
    for name, value in values.items():
        click.echo(f"{name:18} {shown(', '.join(value) if isinstance(value, list) else str(value))}")


@main.command()
@click.option("--model", metavar="FOLDER", help=f"A trained model with an encoder.  [default: {LEFT[False][0]}]")
@click.option("--priors", default=SAMPLERS, show_default=True, metavar="FOLDER", help="Fitted priors.")
@click.option("--params", metavar="FILE", help="Params of the run; only needed for a model that an earlier iglo made.")
@click.option(
    "--metrics", metavar="FILE", help=f"Metrics for the model card.  [default: {LEFT[False][1]} if it is of this model]"
)
@click.option("--class-content", is_flag=True, help=f"Export the model of the pipeline disentangle, {LEFT[True][0]}.")
@click.option("--onnx", is_flag=True, help="Also write both networks as ONNX, checked against torch.")
@click.option("--out", default=EXPORTED, show_default=True, type=OutPath(path_type=Path), help="The folder to make.")
@click.option("--force", is_flag=True, help="Replace an exported model that is there.")
def export(
    model: str | None,
    priors: str,
    params: str | None,
    metrics: str | None,
    class_content: bool,
    onnx: bool,
    out: Path,
    force: bool,
) -> None:
    """Pack a trained model into one folder. All other commands use this folder. Run `dvc repro` first.

    \b
    Example:
      iglo export --out models/export --onnx
    """
    from iglo.export.bundle import FILES
    from iglo.export.writing import export_model
    from iglo.models.glo import kind_of
    from iglo.params.sections import load_params

    with_classes = class_content or (model is not None and kind_of(model) == "class_content")
    folder, metrics_file, _ = LEFT[with_classes]
    known = load_params(params) if params else None
    measured = read_json(metrics) if metrics else _metrics_left(metrics_file)
    with output(out, force, ("",), re.compile("|".join(map(re.escape, FILES)))) as place:
        export_model(place, model or folder, None if with_classes else priors, known, measured, onnx)


def _metrics_left(file: str) -> dict[str, Any] | None:
    """The metrics in the default file; None, with a warning, if it does not say which model they are of."""
    if not Path(file).is_file():
        return None
    metrics = read_json(file)
    if isinstance(metrics, dict) and "of" in metrics:
        return metrics
    click.echo(
        f"warning: {file}: does not say which model it is of, so the model card has none; run `dvc repro` again.",
        err=True,
    )
    return None


if __name__ == "__main__":
    main()
