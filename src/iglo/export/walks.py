"""The ways between codes of an exported model: its training codes, their graph, and random walks."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.export.bundle import Bundle, load_codes
from iglo.latent.paths import CodeGraph, check_path
from iglo.models.geometry import Euclidean
from iglo.randomness import numpy_generator


class Ways:
    """The ways between codes. The training codes are read when they are first needed."""

    def __init__(self, bundle: Bundle):
        self.bundle, self.geometry = bundle, bundle.config.geometry()

    @cached_property
    def codes(self) -> Tensor:
        """The codes of the training images, (N, d); UserError if the exported model has none."""
        return load_codes(self.bundle)

    @cached_property
    def graph(self) -> CodeGraph:
        """The graph of the training codes."""
        return CodeGraph.of(self.codes, self.geometry)

    def along(self, path: str) -> Euclidean | CodeGraph:
        """Returns what interpolates along a `path`, one of PATHS; UserError if there is no such path."""
        check_path(path)
        return self.graph if path == "graph" else self.geometry

    def random_stops(self, count: int, walks: int, seed: int) -> Tensor:
        """Draws different training codes for each walk, (walks, count, d); the draw of a walk depends on its number."""
        if count > len(self.codes):
            raise UserError(f"stops: must be at most {len(self.codes)}, the number of training images, got {count}.")
        rngs = [numpy_generator(seed, "walk", number) for number in range(walks)]
        return self.codes[
            torch.from_numpy(np.stack([rng.choice(len(self.codes), count, replace=False) for rng in rngs]))
        ]


def times_of_a_leg(steps: int) -> Tensor:
    """Returns times (steps,) from a stop, included, to the next, not included."""
    return torch.linspace(0, 1, steps + 1, dtype=torch.float32)[:-1]
