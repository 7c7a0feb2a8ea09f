"""The settings of a user's process during calls of the library, and the building of networks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from iglo.backbones.networks import load_backbone
from iglo.models.networks import Generator
from iglo.runtime.process import building, library_call


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


def test_a_call_restores_the_settings(foreign):
    with pytest.raises(ZeroDivisionError), library_call():
        assert switches() == (True, False, False, False)  # fp32 is fp32 on a GPU too
        raise ZeroDivisionError
    assert switches() == foreign
    with library_call("tf32"):
        assert switches() == (True, False, True, True)
    assert switches() == foreign


def test_the_last_of_overlapping_calls_restores_the_settings(foreign):
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
def test_gradients_work_within_modes_without_gradients(outer):
    @library_call()
    def slope() -> float:
        weight = torch.ones(1, requires_grad=True)
        (3 * weight).sum().backward()
        return weight.grad.item()

    with outer():
        assert slope() == 3
        assert not torch.is_grad_enabled()


def test_building_a_network_does_not_use_the_global_generator():
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


def test_several_threads_may_build_at_the_same_time():
    def norm(seed: int) -> float:
        return sum(weights.norm().item() for weights in load_backbone("squeezenet1_1", "random", seed).parameters())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(norm, [1, 2] * 4)) == [norm(1), norm(2)] * 4
