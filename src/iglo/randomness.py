"""Makes random generators from (seed, name, step). No code of iglo draws from a global generator.

A stream starts again at every step, so a resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, name: str, step: int = 0) -> int:
    """Returns a seed of 63 bits for the stream `name` at `step`, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, name: str, step: int = 0) -> torch.Generator:
    """Returns a generator on the CPU, so that every device gets the same numbers."""
    import torch  # here, because its import takes a second and many stages do without it

    return torch.Generator().manual_seed(derived_seed(seed, name, step))


def numpy_generator(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """Returns a generator of numpy."""
    return np.random.default_rng(derived_seed(seed, name, step))


def sklearn_seed(seed: int, name: str, step: int = 0) -> int:
    """Returns a `random_state` for scikit-learn, which takes 32 bits."""
    return derived_seed(seed, name, step) % 2**32
