"""What is minimised: a weighted sum of terms. A term returns one value per image; `Objective` averages and weighs.

Methods differ in their list of terms. Terms that look at a generated image say which codes to render; the objective
renders all of them in one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from iglo.losses import Distance, Representation, mean_absolute, mean_square


@dataclass(frozen=True)
class Part:
    """Some images of a batch.

    Attributes:
        ids: (B,) int64 training ids.
        images: (B, C, H, W) float in [0, 1].
        target: the images' representation under the distance in use; empty where nothing is rendered.
    """

    ids: Tensor
    images: Tensor
    target: Representation


Batch = Mapping[str, Part]


class RenderedTerm(Protocol):
    """Distance of G(codes) to the images of a part."""

    name: str
    part: str

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor: ...


class DirectTerm(Protocol):
    """Any other value per image."""

    name: str

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Reconstruction:
    """‖G(z_x), x‖ (Bojanowski et al. 2017)."""

    name: str = "reconstruction"
    part: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        return model.table(batch[self.part].ids)


@dataclass(frozen=True)
class Preservation:
    """‖G(z_x), x‖ over earlier subsets, whose codes are frozen: only G has to keep them (Helman et al. 2019)."""

    name: str = "preservation"
    part: str = "earlier"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        return model.table(batch[self.part].ids).detach()


@dataclass(frozen=True)
class Continuity:
    """‖G(z_x + ε), x‖, ε ~ N(0, σ²I), not projected back (Helman et al. 2019)."""

    sigma: float
    name: str = "continuity"
    part: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        codes = model.table(batch[self.part].ids)
        return codes + model.table.noise(codes, self.sigma, rng)


@dataclass(frozen=True)
class CodeRegression:
    """λ1·‖E(x) − z_x‖₁ + λ2·‖E(x) − z_x‖₂², each a mean over coordinates, codes fixed."""

    l1: float
    l2: float
    name: str = "code_regression"
    part: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        part = batch[self.part]
        predicted, codes = model.encoder(part.images), model.table(part.ids).detach()
        return self.l1 * mean_absolute(predicted, codes) + self.l2 * mean_square(predicted, codes)


class Objective:
    """The weighted sum of terms; a term of weight 0 is not built.

    Args:
        terms: (weight, term) pairs.
        distance: between rendered images and their targets; None where no term renders.
    """

    def __init__(self, terms: Sequence[tuple[float, RenderedTerm | DirectTerm]], distance: Distance | None = None):
        self.weights = {term.name: weight for weight, term in terms if weight}
        self.rendered = [term for weight, term in terms if weight and hasattr(term, "codes")]
        self.direct = [term for weight, term in terms if weight and not hasattr(term, "codes")]
        self.distance = distance

    @property
    def names(self) -> list[str]:
        return list(self.weights)

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor], int]:
        """The scalar to minimise, each term's mean (detached), and how many images were presented."""
        values = {term.name: term(model, batch, rng) for term in self.direct}
        values |= self._render(model, batch, rng)
        means = {name: values[name].mean() for name in self.weights}
        total = sum(weight * means[name] for name, weight in self.weights.items())
        presented = sum(len(value) for value in values.values())
        return total, {name: mean.detach() for name, mean in means.items()}, presented

    def _render(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """One pass through the generator and the distance's network for the codes of all terms."""
        if not self.rendered:
            return {}
        codes = [term.codes(model, batch, rng) for term in self.rendered]
        images = model.generator(torch.cat(codes))
        targets = [batch[term.part].target for term in self.rendered]
        distances = self.distance.compare(self.distance.represent(images), *targets)
        pieces = distances.split([len(piece) for piece in codes])
        return {term.name: piece for term, piece in zip(self.rendered, pieces, strict=True)}
