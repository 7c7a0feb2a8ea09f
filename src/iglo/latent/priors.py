"""Priors draw new codes. They are fitted to the learned codes, and every draw is projected by the geometry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from iglo.errors import UserError
from iglo.files.io import read_json, write_json
from iglo.latent.arrays import Arrays
from iglo.latent.flow import draw_flow, fit_flow
from iglo.latent.gaussians import draw_gaussians, fit_diagonal, fit_full, fit_mixture, fit_normal
from iglo.latent.imle import draw_imle, fit_imle
from iglo.latent.neighbours import draw_neighbours, fit_neighbours
from iglo.models.geometry import Euclidean
from iglo.randomness import torch_generator


@dataclass(frozen=True)
class Prior:
    """A distribution of codes. It consists of a name and arrays, so that it can be saved without pickle.

    Attributes:
        name: one of PRIORS.
        arrays: the fitted arrays, contiguous, because the last bits of a draw can depend on the layout in memory.
        geometry: the geometry of the codes.
    """

    name: str
    arrays: Arrays
    geometry: Euclidean

    @property
    def settings(self) -> dict[str, float]:
        """The settings with which it was fitted: k and noise of `neighbours`; the others have none."""
        if self.name != "neighbours":
            return {}
        return {"k": self.arrays["neighbours"].shape[1], "noise": round(self.arrays["noise"].item(), 6)}

    @property
    def label(self) -> str:
        """The name with the settings, such as `neighbours (k 5, noise 0.3)`."""
        settings = ", ".join(f"{key} {value:g}" for key, value in self.settings.items())
        return f"{self.name} ({settings})" if settings else self.name

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draws (count, d) float32 codes, projected by the geometry."""
        return self.geometry.project(DRAW[self.name](self.arrays, self.geometry, count, rng).float())

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file of the arrays; the name is in its metadata."""
        save_file(dict(self.arrays), path, {"prior": self.name})

    @classmethod
    def load(cls, path: str | Path, geometry: Euclidean) -> "Prior":
        """Reads what `save` has written; UserError if it has no prior, or if codes drawn from it are not finite."""
        try:
            with safe_open(path, "pt") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                prior = cls(file.metadata()["prior"], arrays, geometry)
            usable = bool(prior.draw(2, torch_generator(0, "samplers/load")).isfinite().all())
        except (OSError, SafetensorError, LookupError, TypeError, RuntimeError):
            usable = False
        if not usable:
            raise UserError(f"{path}: this file has no usable prior; run the stage that writes it again.")
        return prior


def fit_prior(name: str, codes: Tensor, geometry: Euclidean, seed: int, **settings: float) -> Prior:
    """Fits a prior to (N, d) learned codes.

    Args:
        name: one of PRIORS.
        codes: (N, d), already projected by the geometry.
        settings: `k` and `noise` of the prior `neighbours`; the others have none.

    Raises:
        UserError: a code is not finite.
    """
    if not codes.isfinite().all():
        raise UserError(f"codes: must be finite to fit the prior {name}, got NaN or infinity; train the model again.")
    arrays = FIT[name](codes.detach().cpu().double(), geometry, seed, **settings)
    return Prior(name, {key: array.contiguous() for key, array in arrays.items()}, geometry)


@dataclass(frozen=True)
class PriorChoice:
    """All priors of a model, and the chosen one.

    Attributes:
        priors: the priors by name.
        chosen: the name of the chosen prior.
        kernel_distance: for each prior, the kernel distance between its samples and the validation images; empty if
            there are too few images.
        standard_error: the standard errors of these distances, for each prior; empty if they are not known.
        neighbours: how k and noise of the prior `neighbours` were chosen, as `choose_neighbours` returns it; empty if
            they were not chosen.
        about: `model`, the digest of the model; and `feature_network`, the network and weights that measured.
    """

    priors: Mapping[str, Prior]
    chosen: str
    kernel_distance: Mapping[str, float]
    standard_error: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    neighbours: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        for name, prior in self.priors.items():
            prior.save(folder / f"{name}.safetensors")
        numbers = {"kernel_distance": dict(self.kernel_distance), "standard_error": dict(self.standard_error)}
        more = {"neighbours": dict(self.neighbours), "of": dict(self.about)}
        write_json(folder / "priors.json", {"chosen": self.chosen, **numbers, **more})

    @classmethod
    def load(cls, folder: str | Path, geometry: Euclidean) -> "PriorChoice":
        """Reads what `save` has written; UserError if it is damaged."""
        path = Path(folder) / "priors.json"
        record = read_json(path)
        try:
            chosen, distances = record["chosen"], record["kernel_distance"]
            about, settings = (dict(record.get(key, {})) for key in ("of", "neighbours"))
            distance, error = (
                {name: float(numbers[name]) for name in PRIORS} if numbers != {} else {}
                for numbers in (distances, record.get("standard_error", {}))
            )
        except (LookupError, TypeError, ValueError, AttributeError):
            chosen = None
        if chosen not in PRIORS:
            raise UserError(f"{path}: this file has no choice of priors; run the stage that writes it again.")
        priors = {name: Prior.load(path.with_name(f"{name}.safetensors"), geometry) for name in PRIORS}
        return cls(priors, chosen, distance, error, about, settings)


# The names are in the order of tables and figures, from simple to complex.
FIT: dict[str, Callable[..., Arrays]] = {
    "normal": fit_normal,
    "gaussian_diag": fit_diagonal,
    "gaussian": fit_full,
    "gmm": fit_mixture,
    "imle": fit_imle,
    "neighbours": fit_neighbours,
    "flow": fit_flow,
}
DRAW: dict[str, Callable[[Arrays, Euclidean, int, torch.Generator], Tensor]] = {
    **dict.fromkeys(FIT, draw_gaussians),
    "imle": draw_imle,
    "neighbours": draw_neighbours,
    "flow": draw_flow,
}
PRIORS = tuple(FIT)
