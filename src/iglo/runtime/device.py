"""Device, precision, threads, determinism and ranks: decided once, here only.

Ranks are the processes of one run, as torchrun starts them. Each owns a block of the training images and of their
codes; what the ranks have in common (networks, log, observers) is kept alike.
"""

import atexit
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from iglo import environment
from iglo.errors import UserError
from iglo.runtime.threads import set_threads, thread_count

DIMENSIONS = 8  # at most, of a tensor that ranks exchange
_building = threading.RLock()


@dataclass(frozen=True)
class Runtime:
    """Where and in which arithmetic a stage computes, and its place among the ranks.

    What several ranks do together, all have to call, in the same order.
    """

    device: torch.device
    precision: str  # fp32 | tf32 | bf16
    rank: int = 0
    ranks: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """The type in which frozen networks run and features are cached."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def machine(self) -> str:
        """The device in words, for reports."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)}, {self.precision}"
        return f"CPU, {torch.get_num_threads()} of {os.cpu_count()} cores a process, {self.precision}"

    @property
    def has_own_memory(self) -> bool:
        """Whether the device has a memory of its own, to which batches must travel."""
        return self.device.type != "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes and shows what the ranks have in common."""
        return self.rank == 0

    @property
    def alone(self) -> "Runtime":
        """The same for what this rank computes by itself."""
        return replace(self, rank=0, ranks=1)

    def autocast(self) -> AbstractContextManager:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)  # graphs hold their own casts

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Moves a network to the device, its convolutions in channels-last order (faster on CPU and GPU alike)."""
        return module.to(self.device, memory_format=torch.channels_last)

    def replayed(self, module: nn.Module) -> Callable[..., Tensor]:
        """A module that is in training and is called with tensors alone, of the same shapes every time.

        One GPU records its kernels, forward and backward, and then replays them as CUDA graphs, which saves the time
        that it takes to start hundreds of kernels one by one. Everywhere else it is the module itself.
        """
        return _Replayed(module) if self.device.type == "cuda" and self.ranks == 1 else module

    def block(self, count: int) -> slice:
        """This rank's part of `count` things in order: as many as any other's, give or take one."""
        return slice(count * self.rank // self.ranks, count * (self.rank + 1) // self.ranks)

    def local_ids(self, ids: np.ndarray, count: int) -> np.ndarray:
        """Those of `ids` whose image, of `count`, is this rank's."""
        block = self.block(count)
        return ids if self.ranks == 1 else ids[(ids >= block.start) & (ids < block.stop)]

    def barrier(self) -> None:
        """Waits until all ranks are here."""
        if self.ranks > 1:
            distributed.barrier()

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all ranks, in place."""
        if self.ranks > 1:
            distributed.all_reduce(values)
        return values

    def all(self, holds: bool) -> bool:
        """Whether it holds on every rank."""
        return int(self.all_reduce(torch.tensor(int(holds)))) == self.ranks

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Gives every rank the first rank's values, of one type."""
        if self.ranks > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.broadcast(flat, 0)
            for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(values.view_as(tensor))

    def broadcast_int(self, number: int) -> int:
        """The first rank's number."""
        told = torch.tensor(number)
        self.broadcast([told])
        return int(told)

    def map_batches(self, function: Callable[[Any], Tensor], batches: Sequence[Any]) -> Tensor:
        """`function` of every batch, (B, …) float32 on the CPU, all of them one after the other.

        The ranks share the batches; what each has computed, all get.
        """
        if self.ranks == 1:
            return torch.cat([function(batch) for batch in batches])
        pieces = [function(batch) for batch in batches[self.block(len(batches))]]
        own = torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.float32)
        shapes = torch.zeros(self.ranks, DIMENSIONS, dtype=torch.int64)
        shapes[self.rank, : own.dim()] = torch.tensor(own.shape)
        self.all_reduce(shapes)
        inner = [size for size in shapes.amax(0)[1:].tolist() if size]
        parts = [
            own if rank == self.rank else torch.empty(rows, *inner, dtype=torch.float32)
            for rank, rows in enumerate(shapes[:, 0].tolist())
        ]
        for rank, part in enumerate(parts):
            if part.numel():
                distributed.broadcast(part, rank)
        return torch.cat([part for part in parts if part.numel()])

    def with_summed_gradients(self, function: Callable, weights: Sequence[nn.Parameter]) -> Callable:
        """`function`, whose first value is a loss, so that its gradient for `weights` is the sum over all ranks."""
        if self.ranks == 1:
            return function
        # Told that some weights may be unused, it keeps its buckets as they are; else it sorts them after its first
        # step, and a resumed run would add in another order.
        together = DistributedDataParallel(_Computed(function, weights), find_unused_parameters=True)
        together.register_comm_hook(None, _sum)
        return together


class _Replayed:
    """A module whose kernels a GPU replays. No test reaches this without one."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.recorded: dict[tuple, nn.Module] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        kind = tuple((each.shape, each.requires_grad) for each in inputs)
        if kind not in self.recorded:
            self.recorded[kind] = self._record(inputs)
        return self.recorded[kind](*inputs)

    def _record(self, inputs: Sequence[Tensor]) -> nn.Module:
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]  # batch norm counts rehearsals too
        samples = tuple(each.detach().clone().requires_grad_(each.requires_grad) for each in inputs)
        gc.collect()  # an earlier recording that is freed during this one spoils it
        recorded = torch.cuda.make_graphed_callables(copy(self.module), samples)
        for buffer, value in buffers:
            buffer.copy_(value)
        return recorded


class _Computed(nn.Module):
    """A function as a module with the weights whose gradients are exchanged."""

    def __init__(self, function: Callable, weights: Sequence[nn.Parameter]):
        super().__init__()
        self.function, self.weights = function, nn.ParameterList(weights)

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _sum(_: None, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    """The sum of gradients, where DistributedDataParallel would take the mean: each rank's loss is its share of one."""
    work = distributed.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def start(precision: str, together: bool = False) -> Runtime:
    """Sets up the process: deterministic algorithms, `thread_count` threads in every pool, the first GPU if any.

    Under torchrun it joins the other ranks; each rank of a machine has its own GPU. With `IGLO_DEVICE=cpu` no GPU is
    used.

    Args:
        together: whether the stage can share its work with other ranks.

    Raises:
        UserError: an environment variable has an invalid value, or there are several ranks but the stage takes one.
    """
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a fifth of a step
    torch.backends.cudnn.benchmark = False
    allow_tf32(precision == "tf32")
    torch.set_flush_denormal(True)
    set_threads(thread_count())
    warnings.filterwarnings("ignore", message=".*does not support bfloat16.*")
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream")  # is the one that recorded a graph
    runtime = runtime_on(None, precision)
    rank, ranks = environment.ranks()
    if ranks == 1:
        return runtime
    if not together:
        raise UserError(f"launch: this stage is for one process, got {ranks}; start it with python.")
    return _joined(runtime, rank, ranks)


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of 32-bit products to 10 bits; left alone, torch does in convolutions."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def _joined(runtime: Runtime, rank: int, ranks: int) -> Runtime:
    environment.check_launched()
    device = runtime.device
    if device.type == "cuda":  # no test reaches this: it takes two GPUs
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        store = _store()
        if device.type == "cuda":
            refuse_shared_gpus(str(torch.cuda.get_device_properties(device).uuid), store, rank, ranks)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks)
        atexit.register(distributed.destroy_process_group)
    return Runtime(device, runtime.precision, rank, ranks)


def refuse_shared_gpus(gpu: str, store: distributed.Store, rank: int, ranks: int) -> None:
    """Raises UserError if two ranks have the same GPU; NCCL would raise a long traceback.

    Args:
        gpu: an identifier that no other GPU has, on any machine.
        store: the store in which the ranks exchange it.
    """
    store.set(f"gpu of rank {rank}", gpu)
    different = len({store.get(f"gpu of rank {each}") for each in range(ranks)})
    if different < ranks:
        raise UserError(
            f"launch: every rank needs a GPU of its own, got {ranks} ranks for {different} GPU{'s' * (different > 1)}; "
            "start fewer ranks, or set IGLO_DEVICE=cpu."
        )


def runtime_on(device: str | None, precision: str = "fp32") -> Runtime:
    """Computing on a device, in a process that is somebody else's: its settings stay as they are.

    Args:
        device: as torch names it; None: what IGLO_DEVICE says, else the first GPU if any.

    Raises:
        UserError: torch cannot use the device here.
    """
    name = device or os.environ.get("IGLO_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, dtype=torch.uint8, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        asked = "device" if device else "IGLO_DEVICE"
        raise UserError(f"{asked}: torch cannot use {name!r} here ({str(error).splitlines()[0]}).") from None
    return Runtime(torch.device(name), precision)


def _store() -> distributed.Store:
    """Where ranks find each other's addresses.

    torchrun keeps one store over restarts, in which a rank may find the address of one that is dead (pytorch issue
    135712). On one machine all ranks know the same number of restarts; on several they do not, and torchrun is to be
    told with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.
    """
    store, _, _ = next(distributed.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    return distributed.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; the process does not wait for what a GPU has still to do."""
    if device.type == "cuda":  # no test reaches this
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class _Switches:
    """Settings of the whole process during calls of the library, also if calls of several threads overlap.

    The first call changes them and the last one restores them.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[str] = []  # the precision of each running call
        self.before: dict[str, Any] = {}

    def enter(self, precision: str) -> None:
        with self.lock:
            if not self.calls:
                self.before = {
                    "algorithms": torch.are_deterministic_algorithms_enabled(),
                    "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
                    "fill": torch.utils.deterministic.fill_uninitialized_memory,
                    "benchmark": torch.backends.cudnn.benchmark,
                    "convolutions": torch.backends.cudnn.allow_tf32,
                    "products": torch.backends.cuda.matmul.allow_tf32,
                }
                torch.use_deterministic_algorithms(True)
                torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = False, False
            self.calls.append(precision)
            self._choose_tf32()

    def leave(self, precision: str) -> None:
        with self.lock:
            self.calls.remove(precision)
            if self.calls:
                self._choose_tf32()
                return
            before = self.before
            torch.use_deterministic_algorithms(before["algorithms"], warn_only=before["warn_only"])
            torch.utils.deterministic.fill_uninitialized_memory = before["fill"]
            torch.backends.cudnn.benchmark = before["benchmark"]
            torch.backends.cudnn.allow_tf32 = before["convolutions"]
            torch.backends.cuda.matmul.allow_tf32 = before["products"]

    def _choose_tf32(self) -> None:
        allow_tf32(all(precision == "tf32" for precision in self.calls))


_switches = _Switches()


@contextmanager
def library_call(precision: str = "fp32") -> Iterator[None]:
    """Makes the user's process compute as a stage does; restores its settings afterwards.

    Algorithms are deterministic, a GPU rounds as `precision` says, and gradients work even within an outer
    torch.no_grad or torch.inference_mode. Calls of several threads may overlap. Also works as a decorator.
    """
    _switches.enter(precision)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _switches.leave(precision)


@contextmanager
def building() -> Iterator[None]:
    """For building networks: weights are 32-bit, and torch's global random generator is restored afterwards.

    Without it, torch would use the default type of the process, and would draw weights from that generator.
    """
    with _building, torch.random.fork_rng(devices=[]):
        kind = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(kind)
