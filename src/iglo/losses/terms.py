"""The terms of the objective, and their weighted sum. A term has one value per image.

Methods differ only in their list of terms. A rendered term returns codes; the objective renders the codes of all terms
in one pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from iglo.losses.distances import Distance, Representation, mean_absolute, mean_square
from iglo.runtime.device import Runtime


@dataclass(frozen=True)
class SubBatch:
    """Images of a batch that come from one source, for example from earlier subsets.

    Attributes:
        ids: (B,) int64 training ids.
        images: (B, C, H, W) float in [0, 1].
        target: the representation of the images under the distance; empty if no term renders.
        whole_size: number of images of this sub-batch over all ranks; None: this rank has all of them.
    """

    ids: Tensor
    images: Tensor
    target: Representation
    whole_size: int | None = None
    _encoded: list[Tensor] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of images of this sub-batch, over all ranks."""
        return self.whole_size or len(self.ids)

    def encoded(self, encoder: nn.Module) -> Tensor:
        """Computes E(x) of the images, (B, d), once for all terms."""
        if not self._encoded:
            self._encoded.append(encoder(self.images))
        return self._encoded[0]


Batch = Mapping[str, SubBatch]  # by the name of the source


class RenderedTerm(Protocol):
    """A term that is the distance of G(codes) to images. It returns the codes.

    Attributes:
        source: the sub-batch that the term reads.
    """

    name: str
    source: str

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor: ...


class DirectTerm(Protocol):
    """A term that itself computes its value per image, (B,)."""

    name: str
    source: str

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor: ...


@dataclass(frozen=True)
class Reconstruction:
    """‖G(z_x), x‖: the distance of a render to its image (Bojanowski et al. 2017)."""

    name: str = "reconstruction"
    source: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        return model.codes(batch[self.source].ids)


@dataclass(frozen=True)
class Preservation:
    """‖G(z_x + ε), x‖ with ε ~ N(0, σ²I) and frozen codes: only G learns (Helman et al. 2019).

    By default σ is 0, and the images are those of earlier subsets.
    """

    sigma: float = 0.0
    name: str = "preservation"
    source: str = "earlier"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        codes = model.codes(batch[self.source].ids).detach()
        return codes + model.codes.noise(codes, self.sigma, rng) if self.sigma else codes


@dataclass(frozen=True)
class Continuity:
    """‖G(z_x + ε), x‖ with ε ~ N(0, σ²I). The noisy code is not projected (Helman et al. 2019).

    Args:
        sigma: σ at the start of the stage of training.
        end: σ at its end; σ changes linearly between the two. None: σ is constant.
    """

    sigma: float
    end: float | None = None
    name: str = "continuity"
    source: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        codes = model.codes(batch[self.source].ids)
        sigma = self.sigma if self.end is None else (1 - progress) * self.sigma + progress * self.end
        return codes + model.codes.noise(codes, sigma, rng)


@dataclass(frozen=True)
class Autoencoding:
    """‖G(E(x)), x‖. The projected code of the encoder replaces the learned code."""

    name: str = "autoencoding"
    source: str = "current"

    def codes(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        return model.codes.project(batch[self.source].encoded(model.encoder))


@dataclass(frozen=True)
class CodeDistance:
    """λ1·‖a − b‖₁ + λ2·‖a − b‖₂² between codes. Both norms are means over the coordinates."""

    l1: float
    l2: float

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Computes the distances of codes: (B, d), (B, d) → (B,)."""
        return self.l1 * mean_absolute(a, b) + self.l2 * mean_square(a, b)


@dataclass(frozen=True)
class CodeRegression:
    """Distance of E(x) to z_x. The codes are fixed (Helman et al. 2019, section 3.4)."""

    distance: CodeDistance
    name: str = "code_regression"
    source: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        images = batch[self.source]
        return self.distance(images.encoded(model.encoder), model.codes(images.ids).detach())


@dataclass(frozen=True)
class RenderedPairs:
    """Distance of E(G(z')) to z', where z' is z_x + N(0, σ²I), projected. G is fixed.

    If images share codes, z' takes the shared code of a random image of the batch.
    """

    distance: CodeDistance
    sigma: float
    name: str = "rendered_pairs"
    source: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        with torch.no_grad():
            codes = model.codes.recombine(model.codes(batch[self.source].ids), rng)
            codes = model.codes.project(codes + model.codes.noise(codes, self.sigma, rng))
            images = rendered(model.generator, codes)
        return self.distance(model.encoder(images), codes)


@dataclass(frozen=True)
class CodePenalty:
    """Mean square of the coordinates of E(x) (regularised autoencoder: Ghosh et al. 2020, equation 5)."""

    name: str = "code_penalty"
    source: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        return batch[self.source].encoded(model.encoder).float().square().mean(1)


@dataclass(frozen=True)
class CodeDecay:
    """‖c‖² of the codes of one table (Gabbay & Hoshen 2019, equation 2).

    Only the codes of the batch decay. A weight decay in a dense Adam would move every row by a full step at every step,
    and the codes would collapse to 0.
    """

    table: str
    name: str = "decay"
    source: str = "current"

    def __call__(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0) -> Tensor:
        return model.codes.tables[self.table](batch[self.source].ids).square().sum(1)


def rendered(generator: nn.Module, codes: Tensor) -> Tensor:
    """Renders codes in evaluation mode, and then restores the mode of the generator: (B, d) → (B, C, H, W)."""
    mode = generator.training
    images = generator.eval()(codes)
    generator.train(mode)
    return images


class Objective:
    """The weighted sum of terms. Each term is a mean over the images of its sub-batch; a term of weight 0 is left out.

    With several ranks, each rank computes its share of the sum. The shares add up to the value of the whole batch.

    Args:
        terms: (weight, term) pairs.
        distance: distance of rendered images to their targets; None if no term renders.
        runtime: if given, a GPU records the rendering as a graph and replays it. This needs one generator and batches
            of one size, as in a training.
    """

    def __init__(
        self,
        terms: Sequence[tuple[float, RenderedTerm | DirectTerm]],
        distance: Distance | None = None,
        runtime: Runtime | None = None,
    ):
        self.weights = {term.name: weight for weight, term in terms if weight}
        self.sources = {term.name: term.source for weight, term in terms if weight}
        self.rendered = [term for weight, term in terms if weight and hasattr(term, "codes")]
        self.direct = [term for weight, term in terms if weight and not hasattr(term, "codes")]
        self.distance, self.runtime = distance, runtime
        self.graphed: Callable[..., Tensor] | None = None

    def __call__(
        self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor], int]:
        """Computes the scalar to minimise, the mean of each term (detached) and the number of images seen.

        The images seen are those that the generator renders. If no term renders, they are those that the terms read.

        Args:
            progress: the elapsed share of the stage of training, in [0, 1).
        """
        drawn = self._render(model, batch, rng, progress)
        values = drawn | {term.name: term(model, batch, rng, progress) for term in self.direct}
        share = {name: len(values[name]) / batch[source].size for name, source in self.sources.items()}
        means = {name: values[name].mean() for name in self.weights}
        total = sum(weight * share[name] * means[name] for name, weight in self.weights.items())
        images_seen = sum(batch[self.sources[name]].size for name in (drawn or values))
        return total, {name: mean.detach() * share[name] for name, mean in means.items()}, images_seen

    def _render(self, model: nn.Module, batch: Batch, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Renders and compares the codes of all terms in one pass through the generator and the distance."""
        if not self.rendered:
            return {}
        codes = [term.codes(model, batch, rng, progress) for term in self.rendered]
        targets = [level for term in self.rendered for level in batch[term.source].target]
        distances = self._rendering(model.generator)(torch.cat(codes), *targets)
        pieces = distances.split([len(piece) for piece in codes])
        return {term.name: piece for term, piece in zip(self.rendered, pieces, strict=True)}

    def _rendering(self, generator: nn.Module) -> Callable[..., Tensor]:
        if self.runtime is None:
            return _Rendering(generator, self.distance, len(self.rendered))
        if self.graphed is None:
            self.graphed = self.runtime.cuda_graphed(_Rendering(generator, self.distance, len(self.rendered)))
        return self.graphed


class _Rendering(nn.Module):
    """Computes the distances of G(codes) to the images of several sub-batches.

    Only the weights of the generator are parameters of this module; those of the distance never change.
    """

    def __init__(self, generator: nn.Module, distance: Distance, sources: int):
        super().__init__()
        self.generator, self.sources = generator, sources
        self.represent, self.compare = distance.represent, distance.compare

    def forward(self, codes: Tensor, *levels: Tensor) -> Tensor:
        """Compares G(codes) with the images: (B, d) → (B,).

        Args:
            levels: representations of the images: all levels of the first sub-batch, then those of the next.
        """
        count = len(levels) // self.sources
        targets = [list(levels[start : start + count]) for start in range(0, len(levels), count)]
        return self.compare(self.represent(self.generator(codes)), *targets)
