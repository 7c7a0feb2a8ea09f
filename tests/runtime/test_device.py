"""What is decided once: precision, and how a GPU takes the steps of a training."""

import contextlib
import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from iglo.backbones.networks import load_backbone
from iglo.errors import UserError
from iglo.models.networks import Generator, initialise
from iglo.runtime.device import runtime_on, start
from iglo.runtime.process import building, library_call
from iglo.runtime.ranks import refuse_shared_gpus
from tests.tiny import generator


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


# --- In the user's process ---


def switches() -> tuple:
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda.matmul
    return torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32


@pytest.fixture
def foreign():
    """Gives the process settings of its own; restores those of the tests afterwards."""
    before = switches()
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield switches()
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before[2:]


def test_a_call_leaves_the_process_as_it_found_it(foreign):
    with pytest.raises(ZeroDivisionError), library_call():
        assert switches() == (True, False, False, False)  # fp32 is fp32 on a GPU too
        raise ZeroDivisionError
    assert switches() == foreign
    with library_call("tf32"):
        assert switches() == (True, False, True, True)
    assert switches() == foreign


def test_the_last_of_overlapping_calls_puts_the_settings_back(foreign):
    """The first call ends while the second still runs. If each restored its own settings, they would stay changed."""
    entered, left = threading.Event(), threading.Event()

    def second():
        with library_call():
            entered.set()
            left.wait(10)
            inside.append(switches())

    inside: list[tuple] = []
    thread = threading.Thread(target=second)
    with library_call("tf32"):
        thread.start()
        entered.wait(10)
        assert switches() == (True, False, False, False)  # the more exact of the two precisions
    left.set()
    thread.join()
    assert inside == [(True, False, False, False)] and switches() == foreign


@pytest.mark.parametrize("outer", [torch.no_grad, torch.inference_mode])
def test_gradients_are_there_within_modes_that_have_none(outer):
    @library_call()
    def slope() -> float:
        weight = torch.ones(1, requires_grad=True)
        (3 * weight).sum().backward()
        return weight.grad.item()

    with outer():
        assert slope() == 3
        assert not torch.is_grad_enabled()


def test_building_a_network_draws_nothing_from_the_process():
    state, kind = torch.get_rng_state(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with building():
            assert torch.nn.Linear(2, 2).weight.dtype is torch.float32
        assert {weights.dtype for weights in Generator(6, 16, 3, 8).parameters()} == {torch.float32}
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(kind)
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_that_build_at_the_same_time_draw_what_one_draws_alone():
    def norm(seed: int) -> float:
        return sum(weights.norm().item() for weights in load_backbone("squeezenet1_1", "random", seed).parameters())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(norm, [1, 2] * 4)) == [norm(1), norm(2)] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="takes a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_replayed_module_does_what_it_does_kernel_by_kernel(precision):
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
def test_ranks_that_share_a_gpu_are_told_before_nccl_is(gpus, words):
    """Each rank may see only one GPU, so the number of visible GPUs does not help."""
    store = torch.distributed.HashStore()
    for rank, gpu in enumerate(gpus):
        store.set(f"gpu of rank {rank}", gpu)
    with pytest.raises(UserError, match=rf"^launch: .*, got {words}") if words else contextlib.nullcontext():
        refuse_shared_gpus(gpus[0], store, 0, len(gpus))
