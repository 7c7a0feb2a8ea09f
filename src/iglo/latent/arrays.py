"""What the fits of priors share: the arrays that they give, and the codes that they are fitted to."""

from collections.abc import Mapping

import torch
from torch import Tensor

Arrays = Mapping[str, Tensor]

JITTER = 1e-6  # added to variances; the variances of codes are about 1


def evenly_spaced(codes: Tensor, most: int) -> Tensor:
    """Returns the codes (N, d) if they are at most `most`, else so many of them, evenly spaced from first to last."""
    return codes[torch.linspace(0, len(codes) - 1, min(len(codes), most), dtype=torch.float32).long()]
