"""Records a module as CUDA graphs."""

import gc
from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor, nn


class CudaGraphed:
    """A module whose kernels, forward and backward, a GPU records at the first call and replays later.

    There is one recording for each combination of shapes. Tests reach this only on a machine with a GPU.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.recorded: dict[tuple, nn.Module] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        kind = tuple((each.shape, each.requires_grad) for each in inputs)
        if kind not in self.recorded:
            self.recorded[kind] = self._record(inputs)
        return self.recorded[kind](*inputs)

    def _record(self, inputs: Sequence[Tensor]) -> nn.Module:
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]  # recording changes batch norm's
        samples = tuple(each.detach().clone().requires_grad_(each.requires_grad) for each in inputs)
        gc.collect()  # freeing an earlier recording during this one would make it invalid
        recorded = torch.cuda.make_graphed_callables(copy(self.module), samples)
        for buffer, value in buffers:
            buffer.copy_(value)
        return recorded
