"""The latent space of a model: the code of every address, maps, directions, and paths."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.explore.addresses import SAMPLES, Address, Sample, parse_address
from iglo.explore.maps import (
    CodeMap,
    Directions,
    Embedding,
    NeighbourMap,
    PrincipalMap,
    Shade,
    principal_directions,
)
from iglo.explore.opening import Explored, checked_prior
from iglo.export.pretrained import nearest_rows
from iglo.models.geometry import Euclidean, Sphere

MOST_DIRECTIONS = 20
SHADE_SIDE = 64  # places on a side of the grid of distances


class LatentSpace:
    """Where the codes of a model are.

    Args:
        explored: the model.
        embeddings: folder in which neighbour embeddings are kept.
    """

    def __init__(self, explored: Explored, embeddings: Path):
        self.explored, self.codes, self.config = explored, explored.codes, explored.model.config
        self.geometry = self.config.geometry()
        self.first = self.config.class_dimension  # coordinate after those of the class code
        self.directions: Directions = principal_directions(self.codes, self.first, MOST_DIRECTIONS)
        self.shown = self.codes[torch.tensor(explored.rows)]
        self.embedding = Embedding(self.shown, embeddings)
        self._maps: dict[str, CodeMap] = {"pca": PrincipalMap(self.directions, self.shown, self.geometry)}
        self._shades: dict[str, Shade] = {}
        self._draw = lru_cache(16)(self._drawn)

    @property
    def ways(self) -> list[str]:
        """The names of the paths from code to code."""
        return (["circle"] if isinstance(self.geometry, Sphere) else []) + ["line", "graph"]

    # --- Addresses ---

    def code(self, address: str) -> Tensor:
        """Returns the code (d,) of an address; UserError if there is no such code."""
        return self.code_of(parse_address(address))

    def code_of(self, address: Address) -> Tensor:
        """Returns the code (d,) of a parsed address; UserError if there is no such code."""
        code = self._start(address.start)
        if address.moves or address.label_moves:
            code = code + self._along_directions(address) + self._between_labels(address)
            code = torch.cat([code[: self.first], self.geometry.project(code[None])[0, self.first :]])
        if address.label is None:
            return code
        if not address.label < len(self.config.classes):
            raise UserError(f"ref: class must be below {len(self.config.classes)}, got {address.label}.")
        return torch.cat([self.explored.model.bundle.class_codes[address.label], code[self.first :]])

    def _start(self, start: int | Sample | tuple | Tensor) -> Tensor:
        if isinstance(start, Sample):
            return self.truncated(self._draw(start.prior, start.seed)[start.index][None], start.psi, start.toward)[0]
        if isinstance(start, int):
            if start >= len(self.codes):
                raise UserError(f"ref: training image must be below {len(self.codes)}, got {start}.")
            return self.codes[start]
        if isinstance(start, tuple):
            layout, x, y = start
            return self.map(layout).code_at(np.array([[x, y]]))[0]
        if len(start) != self.config.dimension:
            raise UserError(f"ref: a code must have {self.config.dimension} numbers, got {len(start)}.")
        return self.geometry.project(start[None])[0]

    def _along_directions(self, address: Address) -> Tensor:
        """Returns the sum (d,) of the moves along principal directions."""
        count = len(self.directions.std)
        if far := [move.direction for move in address.moves if move.direction >= count]:
            raise UserError(f"ref: direction must be below {count}, got {far[0]}.")
        rows = torch.tensor([move.direction for move in address.moves], dtype=torch.int64)
        amounts = torch.tensor([move.amount for move in address.moves], dtype=torch.float32)
        return (amounts * self.directions.std[rows]) @ self.directions.vectors[rows]

    def _between_labels(self, address: Address) -> Tensor:
        """Returns the sum (d,) of the moves from label to label. The coordinates of a class code do not move."""
        total, labels = torch.zeros(self.config.dimension, dtype=torch.float32), self.explored.labels
        for start, end, share in address.label_moves:
            if max(start, end) >= len(labels):
                raise UserError(f"ref: label must be below {len(labels)}, got {max(start, end)}.")
            total += share * (self.label_means[end] - self.label_means[start])
        total[: self.first] = 0
        return total

    @cached_property
    def label_means(self) -> Tensor:
        """The mean of the codes of each label, (L, d)."""
        labels = np.array(self.explored.training.labels)
        of_label = [torch.from_numpy(np.flatnonzero(labels == label)) for label in self.explored.labels]
        return torch.stack([self.codes[rows].mean(0) for rows in of_label])

    # --- Samples ---

    def samples(self, prior: str, seed: int, psi: float, toward: str) -> Tensor:
        """Draws the SAMPLES codes of a seed, and truncates them."""
        return self.truncated(self._draw(prior, seed), psi, toward)

    def _drawn(self, prior: str, seed: int) -> Tensor:
        return torch.from_numpy(self.explored.model.draw_codes(SAMPLES, seed, checked_prior(self.explored, prior)))

    def truncated(self, codes: Tensor, psi: float, toward: str) -> Tensor:
        """Moves codes (N, d) toward the mean of all codes or the nearest code. psi 1: not at all; 0: all the way."""
        if psi == 1:
            return codes
        if toward == "mean":
            target = self.geometry.project(self.directions.mean[None]).expand_as(codes)
        else:
            target = self.codes[nearest_rows(codes, self.codes, 1)[0][:, 0]]
        times = torch.tensor([psi], dtype=torch.float32)
        moved = self.geometry.interpolate(target, codes, times)[:, 0]
        return torch.cat([codes[:, : self.first], moved[:, self.first :]], dim=1)

    # --- Maps ---

    def map(self, layout: str) -> CodeMap:
        """Returns a map. UserError: the neighbour embedding is not ready or has failed."""
        if layout not in self._maps:
            points = self.embedding.found()
            if points is None:
                self.embedding.start()
                raise UserError(self.waiting())
            self._maps[layout] = NeighbourMap(points, self.shown, self.geometry)
        return self._maps[layout]

    def is_ready(self, layout: str) -> bool:
        """Whether a map is there, or has failed for good."""
        return layout in self._maps or self.embedding.found() is not None or self.embedding.failed

    def waiting(self) -> str:
        """Returns a sentence about the neighbour embedding, which is not there."""
        if self.embedding.failed:
            return "The neighbour embedding could not be computed; the terminal of the server says why."
        return f"The neighbour embedding is being computed; {self.embedding.seconds} seconds so far."

    def shade(self, layout: str) -> Shade:
        """Returns how far the places of a map are from the nearest code."""
        if layout not in self._shades:
            self._shades[layout] = Shade.of(self.map(layout), SHADE_SIDE)
        return self._shades[layout]

    # --- Paths ---

    def path(self, stops: Sequence[Tensor], way: str, steps: int, closed: bool) -> Tensor:
        """Returns the codes of a path: `steps` codes from each stop to the next, and the last stop if it is open."""
        if way not in self.ways:
            raise UserError(f"way: must be one of {', '.join(self.ways)}, got {way!r}.")
        points = torch.stack([*stops, stops[0]] if closed else list(stops))
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float32)[:-1]
        legs = self._leg(way)(points[:-1], points[1:], times).flatten(0, 1)
        return legs if closed else torch.cat([legs, points[-1:]])

    def _leg(self, way: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        if way == "graph":
            return self.explored.model.ways.along("graph").interpolate
        return self.geometry.interpolate if way == "circle" else self._straight

    def _straight(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        return Euclidean.interpolate(self.geometry, start, end, times)  # it projects every point
