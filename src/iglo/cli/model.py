"""Commands that describe and make exported models: info and export."""

import re
from pathlib import Path
from typing import Any

import click

from iglo.cli.options import (
    CLASS_CONTENT,
    EXPORTED,
    PLAIN,
    Left,
    ModelOptions,
    OutputOptions,
    arrivals_left,
    model_options,
    output_options,
)
from iglo.errors import shown
from iglo.files.io import read_json


@click.command()
@model_options
def info(model: ModelOptions) -> None:
    """Describe a model.

    \b
    Example:
      iglo info --model models/export
    """
    for name, value in model.load().info().items():
        click.echo(f"{name:18} {shown(', '.join(value) if isinstance(value, list) else str(value))}")


@click.command()
@click.option(
    "--model",
    metavar="FOLDER",
    help=f"A trained model with an encoder.  [default: that of the newest arrival, else {PLAIN.model}]",
)
@click.option(
    "--priors", metavar="FOLDER", help=f"Fitted priors.  [default: those of the arrival, else {PLAIN.priors}]"
)
@click.option("--params", metavar="FILE", help="Params of the run; only needed for a model that an earlier iglo made.")
@click.option(
    "--metrics",
    metavar="FILE",
    help=f"Metrics for the model card.  [default: those of the arrival, else {PLAIN.metrics} if it is of this model]",
)
@click.option(
    "--class-content", is_flag=True, help=f"Export the model of the pipeline disentangle, {CLASS_CONTENT.model}."
)
@click.option("--onnx", is_flag=True, help="Also write both networks as ONNX, checked against torch.")
@output_options(required=False, default=EXPORTED, show_default=True, help="The folder to make.")
def export(
    model: str | None,
    priors: str | None,
    params: str | None,
    metrics: str | None,
    class_content: bool,
    onnx: bool,
    output: OutputOptions,
) -> None:
    """Pack a trained model into one folder. All other commands use this folder. Run `dvc repro` first.

    Without --model, it packs the model of the newest arrival in params.yaml whose model is there.

    \b
    Example:
      iglo export --out models/export --onnx
    """
    from iglo.export.bundle import FILES
    from iglo.export.writing import export_model
    from iglo.params.reading import load_params

    left = _left(model, class_content)
    known = load_params(params) if params else None
    measured = read_json(metrics) if metrics else _metrics_left(left.metrics)
    fitted = None if left is CLASS_CONTENT else priors or left.priors
    about = "" if model or left in (PLAIN, CLASS_CONTENT) else f" from {left.model}"
    with output.writing(("",), re.compile("|".join(map(re.escape, FILES))), about) as place:
        export_model(place, model or left.model, fitted, known, measured, onnx)


def _left(model: str | None, class_content: bool) -> Left:
    """Returns what belongs to a model: its priors and metrics. None: the model that the pipeline left last."""
    from iglo.models.glo import kind_of

    if class_content or (model is not None and kind_of(model) == "class_content"):
        return CLASS_CONTENT
    arrivals = arrivals_left()
    if model is not None:
        arrivals = [each for each in arrivals if Path(each.model).resolve() == Path(model).resolve()]
    return arrivals[0] if arrivals else PLAIN


def _metrics_left(file: str) -> dict[str, Any] | None:
    """Returns the metrics in the default file; None, with a warning, if they do not name their model."""
    if not Path(file).is_file():
        return None
    metrics = read_json(file)
    if isinstance(metrics, dict) and "of" in metrics:
        return metrics
    click.echo(
        f"warning: {file}: does not say which model it is of, so the model card has no metrics; run `dvc repro` again.",
        err=True,
    )
    return None
