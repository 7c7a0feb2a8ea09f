"""The README of an exported model, written from what is known of its run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iglo.params import ClassContentParams, DataParams, Params

METHODS = {
    "glo": "generative latent optimization (Bojanowski et al. 2017)",
    "incremental": "incremental generative latent optimization (Helman et al. 2019)",
    "class_content": "one code per class and one per image (simplified from Gabbay & Hoshen 2019)",
}
USE = """\
```python
import iglo

model = iglo.load("PATH OF THIS FOLDER")
images = model.sample(16, seed=0)  # (16, H, W, C) uint8
codes = model.encode(images)
```

or, on the command line, `iglo sample --model FOLDER --count 16 --out samples`.
"""


def model_card(
    params: Params | ClassContentParams,
    train_count: int,
    log: Sequence[Mapping[str, Any]],
    sampler: str,
    classes: Sequence[str] = (),
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """The card as Markdown.

    Args:
        params: of the run.
        train_count: training images.
        log: a row per stage and epoch, with the images `presented` so far in the stage.
        metrics: nested numbers.
    """
    data, method = params.data, params.method if isinstance(params, Params) else "class_content"
    held_out = "all other images" if data.test is None else f"{data.test} images"
    colours = "grey" if data.channels == 1 else "colour"
    lines = [
        "# An image generator made by iglo",
        "",
        f"{data.image_size}×{data.image_size} pixels, {colours}; trained without a GAN, by {METHODS[method]}.",
        "",
        "## Data",
        "",
        f"- Source: {_source(data)}.",
        f"- {train_count} images for training; held out: {held_out}.",
        *([f"- Classes: {', '.join(classes)}."] if classes else []),
        "",
        "## Training",
        "",
        f"- Seed {params.seed}, precision {params.precision}, loss `{params.loss.name}`.",
        f"- Codes for samples are drawn by `{sampler}`.",
        "",
        "| stage | epochs | images presented |",
        "|---|---|---|",
        *(f"| {name} | {epochs} | {presented} |" for name, epochs, presented in _budget(log)),
        "",
        "## Metrics",
        "",
        *_metrics(metrics),
        "",
        "## Pretrained weights, and their licence",
        "",
        *(f"- {use}: {network}, {_licence(weights)}" for use, network, weights in _networks(params)),
        "",
        "## Use",
        "",
        USE,
    ]
    return "\n".join(lines)


def _source(data: DataParams) -> str:
    if data.source == "digits":
        return "scikit-learn's handwritten digits"
    if data.source == "folder" and not data.path:
        return "images in memory"
    if data.source == "folder":
        return f"a folder of images, `{Path(data.path).name}`"
    if data.source == "git":
        return f"`{data.subdir}` of {data.url} at revision `{data.rev}`"
    return f"{data.dataset}, by torchvision" + (f", classes {', '.join(data.classes)}" if data.classes else "")


def _budget(log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int, int]]:
    for stage in dict.fromkeys(row["stage"] for row in log):
        rows = [row for row in log if row["stage"] == stage]
        yield stage, max(row["epoch"] for row in rows), max(row["presented"] for row in rows)


def _metrics(metrics: Mapping[str, Any] | None) -> list[str]:
    if not metrics:
        return ["None were given."]
    return ["| metric | value |", "|---|---|", *(f"| `{key}` | {_value(value)} |" for key, value in _flat(metrics))]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _networks(params: Params | ClassContentParams) -> Iterator[tuple[str, str, str]]:
    """What each network was used for, its name and its weights."""
    if params.loss.name == "perceptual":
        yield "Loss", params.loss.network, params.loss.weights
    else:
        yield "Loss", "no network", "random"
    if isinstance(params, Params):
        yield "Features for clustering", params.features.network, params.features.weights
        yield "Judge of the metrics", params.evaluate.network, params.evaluate.weights


def _licence(weights: str) -> str:
    if weights == "random":
        return "no pretrained weights."
    if weights == "imagenet":
        return (
            "torchvision's ImageNet weights (its code: BSD-3-Clause; trained on ImageNet, whose terms allow "
            "non-commercial research)."
        )
    return f"weights of `{Path(weights).name}` (the licence of that file)."
