"""Random generators derived from (seed, name, step); nothing here or elsewhere draws from a global one.

A stream restarts from its own name and step, so a resumed run draws what an uninterrupted one would have drawn.
"""

import hashlib

import numpy as np
import torch


def derived_seed(seed: int, name: str, step: int = 0) -> int:
    """A 63-bit seed for the stream `name` at `step`, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, name: str, step: int = 0) -> torch.Generator:
    """A CPU generator; drawing on the CPU keeps a stream the same on every device."""
    return torch.Generator().manual_seed(derived_seed(seed, name, step))


def numpy_generator(seed: int, name: str, step: int = 0) -> np.random.Generator:
    return np.random.default_rng(derived_seed(seed, name, step))


def sklearn_seed(seed: int, name: str, step: int = 0) -> int:
    """A `random_state` for scikit-learn, which takes 32 bits."""
    return derived_seed(seed, name, step) % 2**32
