"""Commands that describe and make exported models: info and export."""

import re
from pathlib import Path
from typing import Any

import click

from iglo.cli.options import (
    CLASS_CONTENT,
    EXPORTED,
    PLAIN,
    PRIORS_FOLDER,
    ModelOptions,
    OutputOptions,
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
@click.option("--model", metavar="FOLDER", help=f"A trained model with an encoder.  [default: {PLAIN.model}]")
@click.option("--priors", default=PRIORS_FOLDER, show_default=True, metavar="FOLDER", help="Fitted priors.")
@click.option("--params", metavar="FILE", help="Params of the run; only needed for a model that an earlier iglo made.")
@click.option(
    "--metrics", metavar="FILE", help=f"Metrics for the model card.  [default: {PLAIN.metrics} if it is of this model]"
)
@click.option(
    "--class-content", is_flag=True, help=f"Export the model of the pipeline disentangle, {CLASS_CONTENT.model}."
)
@click.option("--onnx", is_flag=True, help="Also write both networks as ONNX, checked against torch.")
@output_options(required=False, default=EXPORTED, show_default=True, help="The folder to make.")
def export(
    model: str | None,
    priors: str,
    params: str | None,
    metrics: str | None,
    class_content: bool,
    onnx: bool,
    output: OutputOptions,
) -> None:
    """Pack a trained model into one folder. All other commands use this folder. Run `dvc repro` first.

    \b
    Example:
      iglo export --out models/export --onnx
    """
    from iglo.export.bundle import FILES
    from iglo.export.writing import export_model
    from iglo.models.glo import kind_of
    from iglo.params.reading import load_params

    left = CLASS_CONTENT if class_content or (model is not None and kind_of(model) == "class_content") else PLAIN
    known = load_params(params) if params else None
    measured = read_json(metrics) if metrics else _metrics_left(left.metrics)
    with output.writing(("",), re.compile("|".join(map(re.escape, FILES)))) as place:
        export_model(place, model or left.model, priors if left is PLAIN else None, known, measured, onnx)


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
