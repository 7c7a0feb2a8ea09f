"""Opens a trained or an exported model, and what the page shows with it: images, history and priors."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from iglo.errors import UserError, shown, warn
from iglo.export.api import LoadedModel, load
from iglo.export.training_images import TrainingImages, read_training_images
from iglo.export.writing import export_model
from iglo.files.folders import natural_key
from iglo.latent.arrays import evenly_spaced
from iglo.latent.priors import PRIORS, Prior, PriorChoice, fit_prior
from iglo.models.history import History
from iglo.params.run_record import folder_digest
from iglo.params.validate import short_repr

QUICK = ("normal", "gaussian_diag", "gaussian", "neighbours")  # priors that are fitted in a moment
MOST_SHOWN = 10_000  # training codes on the map


class Places(NamedTuple):
    """Where a run has left its results.

    Attributes:
        model: folder of a trained or an exported model.
        priors: folder of fitted priors of a trained model; None: there is none.
        prepared: for each kind of model, the folder of the prepared images of the first run.
        arrived: folder with a folder of prepared images for each arrival.
    """

    model: str
    priors: str | None
    prepared: Mapping[str, str]
    arrived: str


@dataclass(frozen=True, eq=False)
class Explored:
    """A model, and what is known of its training.

    Attributes:
        name: what the page calls the model.
        digest: digest of the files of the model, as in its metrics.
        model: the model.
        training: the training images; None: they are not here.
        history: the history of the training; None: an export has none.
        priors: the priors by name, in the order of PRIORS.
        kernel_distance: the kernel distance of each prior to the validation images; empty if it is not known.
        chosen: the name of the model's own prior.
    """

    name: str
    digest: str
    model: LoadedModel
    training: TrainingImages | None
    history: History | None
    priors: Mapping[str, Prior]
    kernel_distance: Mapping[str, float]

    @property
    def chosen(self) -> str:
        return self.model.bundle.prior.name

    @property
    def codes(self) -> Tensor:
        """The codes of the training images, (N, d) float32."""
        return self.model.ways.codes

    @cached_property
    def rows(self) -> list[int]:
        """The training images that the map shows: all, or MOST_SHOWN of them, evenly spaced."""
        return evenly_spaced(torch.arange(len(self.codes)), MOST_SHOWN).tolist()

    @cached_property
    def labels(self) -> list[str]:
        """The different labels of the training images; empty if they have none."""
        known = set(self.training.labels) if self.training else set()
        return sorted(known - {""}, key=natural_key)


def open_model(places: Places, device: str | None = None) -> Explored:
    """Opens a trained or an exported model.

    A trained model needs an encoder. It comes with its history and all its priors. The training images are shown if
    they are where the run has left them.

    Raises:
        UserError: the folder holds no such model, or the priors are those of another model.
    """
    folder = Path(places.model)
    if (folder / "generator.safetensors").is_file() and (folder / "history.json").is_file():
        model, history, choice = _trained(folder, places.priors, device)
    else:
        model, history, choice = load(folder, device), None, None
    priors = choice.priors if choice else _quick_priors(model)
    distances = choice.kernel_distance if choice else {}
    digest, training = folder_digest(folder), _training(model, places)
    return Explored(shown(places.model), digest, model, training, history, priors, distances)


def _trained(folder: Path, priors: str | None, device: str | None) -> tuple[LoadedModel, History, PriorChoice | None]:
    """Exports a trained model into a temporary folder, and opens the export."""
    with tempfile.TemporaryDirectory() as temporary:
        export_model(Path(temporary) / "model", folder, priors)
        model = load(Path(temporary) / "model", device)
        table = model.config.tables()[model.config.prior_table]
        choice = PriorChoice.load(priors, table.geometry) if priors else None
        _ = model.ways.codes  # are read before the folder is deleted
    return model, History.load(folder), choice


def _quick_priors(model: LoadedModel) -> dict[str, Prior]:
    """Returns the model's own prior, and those that are fitted in a moment."""
    own, config = model.bundle.prior, model.config
    geometry = config.tables()[config.prior_table].geometry
    codes = model.ways.codes[:, config.class_dimension :]
    made = {name: fit_prior(name, codes, geometry, model.bundle.record.seed) for name in QUICK if name != own.name}
    found = made | {own.name: own}
    return {name: found[name] for name in PRIORS if name in found}


def _training(model: LoadedModel, places: Places) -> TrainingImages | None:
    """Reads the training images, with names and labels as they can be shown; None: they are not here."""
    prepared = places.prepared[model.config.kind]
    try:
        found = read_training_images(model.bundle, prepared, places.arrived)
    except UserError:
        if Path(prepared).is_dir():
            warn(f"training: {shown(prepared)} does not hold the images of this model; reconstructions are shown.")
        return None
    return TrainingImages(found.images, [*map(shown, found.names)], [*map(shown, found.labels)])


def checked_prior(explored: Explored, name: str) -> Prior:
    """Returns the prior of this name; UserError if the model has none."""
    if name not in explored.priors:
        raise UserError(f"prior: must be one of {', '.join(explored.priors)}, got {short_repr(name)}.")
    return explored.priors[name]
