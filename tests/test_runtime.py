"""What is decided once: precision."""

import contextlib

import pytest
import torch

from iglo.runtime import runtime_on, start


@pytest.mark.parametrize(("precision", "rounded"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_only_tf32_rounds_the_factors_of_32_bit_products(precision, rounded):
    """On a GPU, where torch itself would round those of convolutions."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not rounded
    start(precision)
    assert torch.backends.cudnn.allow_tf32 is rounded and torch.backends.cuda.matmul.allow_tf32 is rounded


def test_only_bf16_computes_in_half_precision():
    for precision, kept in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        runtime, layer = runtime_on("cpu", precision), torch.nn.Linear(2, 2)
        with runtime.autocast():
            assert layer(torch.ones(1, 2)).dtype is runtime.dtype is kept
    assert isinstance(runtime_on("cpu", "tf32").autocast(), contextlib.nullcontext)
