"""Commands that draw images from codes: sample, decode, interpolate and walk."""

from typing import Any

import click

from iglo.cli.files import IMAGE_KINDS, read, read_codes, write_images, write_walks
from iglo.cli.options import (
    NAMED,
    ModelOptions,
    OutputOptions,
    classes_option,
    loss_option,
    method_option,
    model_options,
    output_options,
    path_option,
    seed_option,
)


@click.command()
@click.option("-n", "--count", type=int, default=16, show_default=True, help="How many images.")
@classes_option
@seed_option
@model_options
@output_options()
def sample(count: int, classes: tuple[str, ...], seed: int, model: ModelOptions, output: OutputOptions) -> None:
    """Draw new images.

    \b
    Example:
      iglo sample --count 64 --seed 1 --out samples.png
    """
    loaded = model.load()
    with output.writing(IMAGE_KINDS) as place:
        write_images(place, loaded.sample(count, seed, classes=classes or None))


@click.command()
@click.argument("codes", metavar="CODES.npy", type=NAMED)
@model_options
@output_options()
def decode(codes: str, model: ModelOptions, output: OutputOptions) -> None:
    """Draw the images of codes. The codes are an array (N, d).

    \b
    Example:
      iglo decode codes.npy --out decoded
    """
    loaded, given = model.load(), read_codes(codes)
    with output.writing(IMAGE_KINDS) as place:
        write_images(place, loaded.decode(given))


@click.command()
@click.argument("stops", nargs=-1, required=True, type=NAMED)
@click.option("--steps", type=int, default=9, show_default=True, help="Images from one stop to the next.")
@click.option("--closed", is_flag=True, help="Return to the first stop. A path of more than two stops always does.")
@path_option(default="chord")
@method_option
@loss_option
@model_options
@output_options()
def interpolate(
    stops: tuple[str, ...], steps: int, closed: bool, model: ModelOptions, output: OutputOptions, **search: Any
) -> None:
    """Draw the path from one image to the next. STOPS are images, or one .npy of codes.

    \b
    Example:
      iglo interpolate one.png other.png --steps 15 --out between.gif
    """
    loaded = model.load()
    coded = len(stops) == 1 and stops[0].endswith(".npy")
    points = read_codes(stops[0]) if coded else read(loaded, stops)[0]
    with output.writing((*IMAGE_KINDS, ".gif")) as place:
        if len(points) == 2 and not closed:
            write_images(place, loaded.interpolate(*points, steps, **search))
        else:
            write_images(place, loaded.tour(points, steps, **search))


@click.command()
@click.option("--stops", type=int, default=8, show_default=True, help="Training codes, drawn at random, on each walk.")
@click.option("--steps", type=int, default=12, show_default=True, help="Images from one stop to the next.")
@click.option("--tiles", type=int, default=1, show_default=True, help="Walks side by side.")
@path_option(default="graph")
@seed_option
@model_options
@output_options()
def walk(model: ModelOptions, output: OutputOptions, **asked: Any) -> None:
    """Draw a closed walk through the images of random training codes. A .gif has at most 3 MB.

    \b
    Example:
      iglo walk --tiles 8 --seed 1 --out walk.gif
    """
    loaded = model.load()
    with output.writing((".gif", ".npy")) as place:
        write_walks(place, loaded.walk(**asked))
