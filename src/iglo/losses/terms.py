"""What is minimised: a weighted sum of terms. A term returns one value per image; `Objective` averages and weighs.

Methods differ in their list of terms. Terms that look at a generated image say which codes to render; the objective
renders all of them in one pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from iglo.losses.distances import Distance, Representation, mean_absolute, mean_square
from iglo.runtime.device import Runtime


@dataclass(frozen=True)
class Part:
    """Some images of a batch.

    Attributes:
        ids: (B,) int64 training ids.
        images: (B, C, H, W) float in [0, 1].
        target: the images' representation under the distance in use; empty where nothing is rendered.
        of: images of this part in the whole batch, of which this rank has B; None: these are all.
    """

    ids: Tensor
    images: Tensor
    target: Representation
    of: int | None = None
    _encoded: list[Tensor] = field(default_factory=list)

    @property
    def whole(self) -> int:
        """Images of this part in the whole batch."""
        return self.of or len(self.ids)

    def encoded(self, encoder: nn.Module) -> Tensor:
        """E(x) of the images, (B, d): computed once, for all terms that ask."""
        if not self._encoded:
            self._encoded.append(encoder(self.images))
        return self._encoded[0]


Batch = Mapping[str, Part]


class RenderedTerm(Protocol):
    """Distance of G(codes) to the images of a part."""

    name: str
    part: str

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor: ...


class DirectTerm(Protocol):
    """Any other value per image."""

    name: str
    part: str

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor: ...


@dataclass(frozen=True)
class Reconstruction:
    """‖G(z_x), x‖ (Bojanowski et al. 2017)."""

    name: str = "reconstruction"
    part: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        return model.table(batch[self.part].ids)


@dataclass(frozen=True)
class Preservation:
    """‖G(z_x), x‖ over earlier subsets, whose codes are frozen: only G has to keep them (Helman et al. 2019).

    With sigma, ‖G(z_x + ε), x‖, ε ~ N(0, σ²I).
    """

    sigma: float = 0.0
    name: str = "preservation"
    part: str = "earlier"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        codes = model.table(batch[self.part].ids).detach()
        return codes + model.table.noise(codes, self.sigma, rng) if self.sigma else codes


@dataclass(frozen=True)
class Continuity:
    """‖G(z_x + ε), x‖, ε ~ N(0, σ²I), not projected back (Helman et al. 2019).

    Args:
        sigma: at the start of the run.
        end: at its end; between them σ falls in a straight line. None: as at the start.
    """

    sigma: float
    end: float | None = None
    name: str = "continuity"
    part: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        codes = model.table(batch[self.part].ids)
        sigma = self.sigma if self.end is None else (1 - done) * self.sigma + done * self.end
        return codes + model.table.noise(codes, sigma, rng)


@dataclass(frozen=True)
class Autoencoding:
    """‖G(E(x)), x‖: the encoder's code in the place of the learned one, projected to where codes may lie."""

    name: str = "autoencoding"
    part: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        return model.table.project(batch[self.part].encoded(model.encoder))


@dataclass(frozen=True)
class CodeDistance:
    """λ1·‖a − b‖₁ + λ2·‖a − b‖₂², each a mean over coordinates."""

    l1: float
    l2: float

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, d), (B, d) → (B,)"""
        return self.l1 * mean_absolute(a, b) + self.l2 * mean_square(a, b)


@dataclass(frozen=True)
class CodeRegression:
    """Distance of E(x) to z_x, codes fixed (Helman et al. 2019, section 3.4)."""

    distance: CodeDistance
    name: str = "code_regression"
    part: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        part = batch[self.part]
        return self.distance(part.encoded(model.encoder), model.table(part.ids).detach())


@dataclass(frozen=True)
class RenderedPairs:
    """Distance of E(G(z')) to z', with z' = z_x + N(0, σ²I) projected to where codes may lie: free pairs, G fixed.

    Where codes have a part that images share, as that of a class, z' has another image's: its content in another class.
    """

    distance: CodeDistance
    sigma: float
    name: str = "rendered_pairs"
    part: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        with torch.no_grad():
            codes = model.table.recombine(model.table(batch[self.part].ids), rng)
            codes = model.table.project(codes + model.table.noise(codes, self.sigma, rng))
            images = rendered(model.generator, codes)
        return self.distance(model.encoder(images), codes)


@dataclass(frozen=True)
class CodePenalty:
    """The mean square of E(x)'s coordinates (regularised autoencoder: Ghosh et al. 2020, equation 5)."""

    name: str = "code_penalty"
    part: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        return batch[self.part].encoded(model.encoder).float().square().mean(1)


@dataclass(frozen=True)
class CodeDecay:
    """‖c‖² of one factor's codes (Gabbay & Hoshen 2019, equation 2).

    On the batch's rows only: decay in a dense Adam moves every row at every step, at full step length, and the codes
    collapse.
    """

    factor: str
    name: str = "decay"
    part: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0) -> Tensor:
        return model.table.factors[self.factor](batch[self.part].ids).square().sum(1)


def rendered(generator: nn.Module, codes: Tensor) -> Tensor:
    """G(codes) in evaluation mode; the generator is left in the mode that it was in."""
    mode = generator.training
    images = generator.eval()(codes)
    generator.train(mode)
    return images


class Objective:
    """The weighted sum of terms, each a mean over the images of its part; a term of weight 0 is not built.

    Of a batch that ranks share, each rank has its share of the sum: the sum over ranks is the value of the whole batch.

    Args:
        terms: (weight, term) pairs.
        distance: between rendered images and their targets; None where no term renders.
        runtime: of a training, whose one generator renders batches of one size again and again; None: else.
    """

    def __init__(
        self,
        terms: Sequence[tuple[float, RenderedTerm | DirectTerm]],
        distance: Distance | None = None,
        runtime: Runtime | None = None,
    ):
        self.weights = {term.name: weight for weight, term in terms if weight}
        self.parts = {term.name: term.part for weight, term in terms if weight}
        self.rendered = [term for weight, term in terms if weight and hasattr(term, "codes")]
        self.direct = [term for weight, term in terms if weight and not hasattr(term, "codes")]
        self.distance, self.runtime = distance, runtime
        self.replayed: Callable[..., Tensor] | None = None

    @property
    def names(self) -> list[str]:
        return list(self.weights)

    def __call__(
        self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor], int]:
        """The scalar to minimise, each term's mean (detached), and how many images were presented: to the generator
        where a term renders, else to the terms.

        Args:
            done: the share of the run that lies behind, in [0, 1).
        """
        drawn = self._render(model, batch, rng, done)
        values = drawn | {term.name: term(model, batch, rng, done) for term in self.direct}
        share = {name: len(values[name]) / batch[part].whole for name, part in self.parts.items()}
        means = {name: values[name].mean() for name in self.weights}
        total = sum(weight * share[name] * means[name] for name, weight in self.weights.items())
        images_seen = sum(batch[self.parts[name]].whole for name in (drawn or values))
        return total, {name: mean.detach() * share[name] for name, mean in means.items()}, images_seen

    def _render(self, model: nn.Module, batch: Batch, rng: torch.Generator, done: float) -> dict[str, Tensor]:
        """One pass through the generator and the distance's network for the codes of all terms."""
        if not self.rendered:
            return {}
        codes = [term.codes(model, batch, rng, done) for term in self.rendered]
        targets = [level for term in self.rendered for level in batch[term.part].target]
        distances = self._rendering(model.generator)(torch.cat(codes), *targets)
        pieces = distances.split([len(piece) for piece in codes])
        return {term.name: piece for term, piece in zip(self.rendered, pieces, strict=True)}

    def _rendering(self, generator: nn.Module) -> Callable[..., Tensor]:
        if self.runtime is None:
            return _Rendering(generator, self.distance, len(self.rendered))
        if self.replayed is None:
            self.replayed = self.runtime.cuda_graphed(_Rendering(generator, self.distance, len(self.rendered)))
        return self.replayed


class _Rendering(nn.Module):
    """Codes → distances of G(codes) to the images of several parts, whose representations come level by level.

    Of its weights only the generator's are parameters: those of the distance never change.
    """

    def __init__(self, generator: nn.Module, distance: Distance, parts: int):
        super().__init__()
        self.generator, self.parts = generator, parts
        self.represent, self.compare = distance.represent, distance.compare

    def forward(self, codes: Tensor, *levels: Tensor) -> Tensor:
        """(B, d) → (B,)"""
        count = len(levels) // self.parts
        targets = [list(levels[start : start + count]) for start in range(0, len(levels), count)]
        return self.compare(self.represent(self.generator(codes)), *targets)
