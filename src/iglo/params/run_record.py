"""Records how a model was made, and which model a file of metrics or priors belongs to.

The stages write these records into their outputs. So an export describes its run, even if params.yaml has changed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from iglo.files.io import file_digest, read_json
from iglo.params.class_content import ClassContentParams
from iglo.params.fields import Blocks, LossName, NonNegativeInt, Precision, Text, Weight, section
from iglo.params.pipeline import Params
from iglo.params.sections import DataParams, Parts
from iglo.params.validate import parse

OF = "of"  # the key in a metrics or priors file that names its model


@section
class Network:
    """A pretrained or random network."""

    network: Text
    """torchvision's name, `timm/NAME` or `small_cnn`."""
    weights: Text
    """imagenet, random, digits or a .safetensors file."""


@section
class FeatureNetworkRecord(Network):
    """The network that measured samples and metrics."""

    seed: NonNegativeInt | None = None
    """The seed of random weights; null: that of the training, as in an earlier iglo."""


@section
class Loss(Network):
    """The distance that the model was trained with; inversion uses it too."""

    name: LossName
    """As in params.yaml."""
    blocks: Blocks
    """As in params.yaml."""
    pixel_weight: Weight = 1.0
    """As in params.yaml; an earlier iglo had always 1."""


@section
class RunRecord:
    """The values of the stage that last trained the generator."""

    method: Literal["glo", "incremental", "class_content"]
    """The pipeline and its method."""
    seed: NonNegativeInt
    """As in params.yaml."""
    precision: Precision
    """As in params.yaml."""
    noise: Weight
    """Standard deviation of the noise on codes at the end of that stage, per coordinate."""
    loss: Loss
    data: dict[str, Any]
    """The source of the images, as in `data_record`, and the counts `train`, `validation` and `test`."""

    @classmethod
    def of(cls, params: Params | ClassContentParams, data: Mapping[str, Any]) -> "RunRecord":
        loss = params.loss
        return cls(
            method="class_content" if isinstance(params, ClassContentParams) else params.method,
            seed=params.seed,
            precision=params.precision,
            noise=params.last_sigma,
            loss=Loss(loss.network, loss.weights, loss.name, loss.blocks, loss.pixel_weight),
            data=dict(data),
        )


def parse_run(record: Mapping[str, Any]) -> RunRecord | None:
    """Returns the run in a model's record; None if an earlier iglo made the model. UserError: the record is damaged."""
    run = record.get("run")
    return None if run is None else parse(run, RunRecord, "run")


@dataclass(frozen=True)
class Provenance:
    """How a model was made, for the model card.

    Attributes:
        feature_network: the network that measured samples and metrics; None: there was none, or it is not known.
        features: the network of the features for clustering; None as for `feature_network`.
        metrics: nested numbers.
    """

    run: RunRecord
    feature_network: FeatureNetworkRecord | None = None
    features: Network | None = None
    metrics: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, params: Params | ClassContentParams, test: int | None = None) -> "Provenance":
        """Returns the provenance that follows from the params of the run.

        Args:
            test: number of test images, if `data.test` is None; None: not known.
        """
        test = test if params.data.test is None else params.data.test
        counts = {"validation": params.data.validation, "test": test}
        known = {part: count for part, count in counts.items() if count is not None}
        record = RunRecord.of(params, data_record(params.data) | known)
        if isinstance(params, ClassContentParams):
            return cls(record)
        feature_network, features = params.evaluate, params.features
        return cls(
            record,
            FeatureNetworkRecord(feature_network.network, feature_network.weights, feature_network.seed),
            Network(features.network, features.weights),
        )


def data_record(data: DataParams) -> dict[str, Any]:
    """Returns the keys that the source of the images uses, without the place of a folder or the password in a URL."""
    if data.source == "folder":
        return {"source": "folder", "folder": Path(data.path).name}
    if data.source == "git":
        return {"source": "git", "url": public_address(data.url), "rev": data.rev, "subdir": data.subdir}
    if data.source == "torchvision":
        return {"source": "torchvision", "dataset": data.dataset, "classes": list(data.classes)}
    return {"source": data.source}


def prepared_data(folder: str | Path) -> dict[str, Any]:
    """Reads the record in the folder of prepared images: `data_record`, and the counts of the parts."""
    report = read_json(Path(folder) / "report.json")
    counts = report.get("images", {})
    return {**report.get("data", {}), **{split: counts.get(split, 0) for split in Parts._fields}}


def public_address(url: str) -> str:
    """Returns the address of a repository without user name, password or token. For a folder, it returns its name."""
    if Path(url).is_absolute():
        return Path(url).name
    try:
        place = urlsplit(url)
    except ValueError:
        return url
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl() if place.netloc else url


def folder_digest(folder: str | Path) -> str:
    """Returns the first 16 digits of a SHA-256 of the names and contents of a folder's files."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return whole.hexdigest()[:16]
