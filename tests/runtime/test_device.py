"""Precision, CUDA graphs, and the GPUs of ranks."""

import contextlib
import copy

import pytest
import torch

from iglo.errors import UserError
from iglo.models.networks import Generator, initialise
from iglo.runtime.device import runtime_on, start
from iglo.runtime.ranks import refuse_shared_gpus
from tests.tiny import generator


@pytest.mark.parametrize(("precision", "rounded"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_only_tf32_rounds_the_factors_of_products(precision, rounded):
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="takes a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cuda_graphed_module_computes_the_same(precision):
    """Outputs, gradients and batch norm's statistics, for inputs other than those that it was recorded with."""
    runtime = runtime_on("cuda", precision)
    plain = runtime.to_device(initialise(Generator(6, 16, 3, 8), generator()))
    recorded = copy.deepcopy(plain)
    replayed = runtime.cuda_graphed(recorded)
    for step in range(3):
        codes = torch.randn(5, 6, generator=generator(step)).cuda()
        for network, call in ((plain, plain), (recorded, replayed)):
            with runtime.autocast():
                call(codes.requires_grad_()).square().sum().backward()
            network.codes_gradient, codes.grad = codes.grad, None
        assert step == 0 or len(replayed.recorded) == 1
        torch.testing.assert_close(recorded.codes_gradient, plain.codes_gradient)
        torch.testing.assert_close(dict(recorded.named_buffers()), dict(plain.named_buffers()))
        pairs = zip(recorded.parameters(), plain.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, 1e-3, 1e-5) for a, b in pairs)


@pytest.mark.parametrize(
    ("gpus", "words"), [("aab", "3 ranks for 2 GPUs"), ("aa", "2 ranks for 1 GPU;"), ("abc", None)]
)
def test_ranks_that_share_a_gpu_are_refused(gpus, words):
    """Each rank may see only one GPU, so the number of visible GPUs does not help."""
    store = torch.distributed.HashStore()
    for rank, gpu in enumerate(gpus):
        store.set(f"gpu of rank {rank}", gpu)
    with pytest.raises(UserError, match=rf"^launch: .*, got {words}") if words else contextlib.nullcontext():
        refuse_shared_gpus(gpus[0], store, 0, len(gpus))
