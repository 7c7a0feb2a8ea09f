"""Writes the model card of an exported model, its README, from the record of its run.

The names in the card can be any text (class names are names of folders), so all are escaped for Markdown and HTML.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iglo.export.bundle import KEPT_BY
from iglo.files.markdown import markdown
from iglo.latent.priors import Prior
from iglo.models.config import ModelConfig
from iglo.models.history import ArrivalRecord
from iglo.params.run_record import Network, Provenance

METHODS = {
    "glo": "generative latent optimization (Bojanowski et al. 2017)",
    "incremental": "incremental generative latent optimization (Helman et al. 2019)",
    "class_content": "one code per class and one per image (simplified from Gabbay & Hoshen 2019)",
}
HOLDS_CODES = (
    " They lie between learned codes, so this folder holds learned codes; who has it can render training images."
)
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
    provenance: Provenance,
    config: ModelConfig,
    train_count: int,
    log: Sequence[Mapping[str, Any]],
    prior: Prior,
    arrivals: Sequence[ArrivalRecord] = (),
) -> str:
    """Returns the model card as Markdown.

    Args:
        train_count: number of training images, those of arrivals too.
        log: a row per stage and epoch; `images_seen` counts the images since the start of the stage.
        prior: draws the codes of new images.
        arrivals: the images that came after the first run.
    """
    run, side = provenance.run, config.image_size
    colours = "grey" if config.channels == 1 else "colour"
    lines = [
        "# An image generator made by iglo",
        "",
        f"{side}×{side} pixels, {colours}; trained without a GAN, by {METHODS[run.method]}.",
        "",
        "## Data",
        "",
        *_data(run.data, train_count, arrivals),
        *([f"- Classes: {', '.join(map(markdown, config.classes))}."] if config.classes else []),
        "",
        *_arrived(arrivals),
        "## Training",
        "",
        f"- Seed {run.seed}, precision {run.precision}, loss {markdown(run.loss.name)}.",
        f"- Standard deviation of the noise on codes: {run.noise:g}.",
        f"- Codes for samples are drawn by {markdown(prior.label)}.{HOLDS_CODES if prior.name == 'neighbours' else ''}",
        "",
        "| stage | epochs | images seen |",
        "|---|---|---|",
        *(f"| {markdown(name)} | {epochs} | {images_seen} |" for name, epochs, images_seen in _stages(log)),
        "",
        "## Metrics",
        "",
        *_metrics(provenance.metrics),
        "",
        "## Pretrained weights, and their licence",
        "",
        *_licences(provenance),
        "",
        "## Use",
        "",
        USE,
    ]
    return "\n".join(lines)


def _data(data: Mapping[str, Any], train_count: int, arrivals: Sequence[ArrivalRecord]) -> Iterator[str]:
    """Yields the lines on the images of the first run, and on how many came later."""
    later = sum(each.count for each in arrivals)
    if not later:
        yield f"- Source: {_source(data)}."
        yield f"- {train_count} images for training; held out: {_held_out(data)}."
        return
    yield f"- Source of the first run: {_source(data)}."
    yield (
        f"- {train_count} images for training: {train_count - later} in the first run, and {later} that arrived later."
    )
    yield f"- Held out in the first run: {_held_out(data)}."


def _arrived(arrivals: Sequence[ArrivalRecord]) -> Iterator[str]:
    """Yields the section on the images that came after the first run; nothing if there are none."""
    if not arrivals:
        return
    yield from ("## Images that arrived later", "")
    yield "The model learned them after all earlier images. Rows are those of `codes.safetensors`, from 0. The last"
    yield "column says what was replayed, so that the generator kept the earlier images."
    yield from ("", "| id | images | rows | held out | left out as known | kept by |", "|---|---|---|---|---|---|")
    for each in arrivals:
        held_out = f"{each.validation} for validation, {each.test} for tests" if each.validation + each.test else "0"
        rows = f"{each.first} to {each.first + each.count - 1}"
        yield f"| {markdown(each.id)} | {each.count} | {rows} | {held_out} | {each.known} | {KEPT_BY[each.keep]} |"
    yield ""


def _held_out(data: Mapping[str, Any]) -> str:
    """Returns how many images were held out, and for what."""
    if not data.get("test"):
        return str(data.get("test", "not recorded"))
    return f"{data.get('validation', 0)} for validation, {data['test']} for tests"


def _source(data: Mapping[str, Any]) -> str:
    known = {key: markdown(value) for key, value in data.items()}
    match data.get("source"):
        case "digits":
            return "scikit-learn's handwritten digits"
        case "lines":
            return "lines from the centre of the image, at random angles"
        case "folder":
            return f"a folder of images, {known['folder']}" if known.get("folder") else "images in memory"
        case "git":
            return f"{known.get('subdir')} of {known.get('url')} at revision {known.get('rev')}"
        case "torchvision":
            classes = ", ".join(map(markdown, data.get("classes") or []))
            return f"{known.get('dataset')}, by torchvision" + (f", classes {classes}" if classes else "")
    return "not recorded"


def _stages(log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int, int]]:
    """Yields each stage with its epochs and the images that it has seen."""
    for stage in dict.fromkeys(row["stage"] for row in log):
        rows = [row for row in log if row["stage"] == stage]
        yield stage, max(row["epoch"] for row in rows), max(row["images_seen"] for row in rows)


def _metrics(metrics: Mapping[str, Any] | None) -> list[str]:
    """Returns the table of the metrics, without those of every prior: `samples` has those of the exported one."""
    if not metrics:
        return ["None were given for this model."]
    shown = {key: value for key, value in metrics.items() if key != "priors"}
    return [
        "| metric | value ± standard error |",
        "|---|---|",
        *(f"| {markdown(key)} | {value} |" for key, value in _flat(shown)),
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the values of nested mappings with their dotted keys; `se` holds the standard errors of its neighbours."""
    errors = values.get("se", {})
    errors = errors if isinstance(errors, Mapping) else {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            if value is not errors:
                yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _value(value) + (f" ± {errors[key]:.2g}" if isinstance(errors.get(key), float) else "")


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else markdown(value)


def _licences(provenance: Provenance) -> Iterator[str]:
    run = provenance.run
    loss = run.loss if run.loss.name == "perceptual" else Network("no network", "random")
    uses = {"Loss": loss}
    if run.method != "class_content":
        uses |= {
            "Features for clustering": provenance.features,
            "Feature network of the metrics": provenance.feature_network,
        }
    for use, network in uses.items():
        words = f"{markdown(network.network)}, {_licence(network)}" if network else "not recorded."
        yield f"- {use}: {words}"


def _licence(network: Network) -> str:
    weights = network.weights
    if weights == "random":
        return "no pretrained weights."
    if weights == "digits":
        return "iglo's weights, trained on scikit-learn's digits (the licence of iglo)."
    if weights == "imagenet" and network.network.startswith("timm/"):
        return "timm's pretrained weights (its code: Apache 2.0; the weights have their own licence)."
    if weights == "imagenet":
        return (
            "torchvision's ImageNet weights (its code: BSD-3-Clause; trained on ImageNet, whose terms allow "
            "non-commercial research)."
        )
    return f"weights of {markdown(Path(weights).name)} (the licence of that file)."
