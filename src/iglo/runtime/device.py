"""Chooses the device, the precision and the ranks. No other package asks which device there is."""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from iglo import environment
from iglo.errors import UserError
from iglo.runtime.graphs import CudaGraphed
from iglo.runtime.memory import keep_freed_memory
from iglo.runtime.process import allow_tf32, use_exact_settings
from iglo.runtime.ranks import Ranks, join
from iglo.runtime.threads import set_threads, thread_count


@dataclass(frozen=True)
class Runtime(Ranks):
    """The device and the precision of a stage, and its place among the ranks.

    Attributes:
        device: where networks and batches are.
        precision: fp32, tf32 or bf16.
    """

    device: torch.device
    precision: str

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
    def on_gpu(self) -> bool:
        """Whether the device is not the CPU, so that batches have to be copied to it."""
        return self.device.type != "cpu"

    @property
    def single_process(self) -> "Runtime":
        """The same device and precision with one rank, for work that this process does by itself."""
        return replace(self, rank=0, ranks=1)

    def autocast(self) -> AbstractContextManager:
        """Computes in bfloat16 within the block if that is the precision."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)  # a CUDA graph cannot use it

    def to_device(self, module: nn.Module) -> nn.Module:
        """Moves a network to the device, in channels-last order, which is faster on CPU and GPU."""
        return module.to(self.device, memory_format=torch.channels_last)

    def cuda_graphed(self, module: nn.Module) -> Callable[..., Tensor]:
        """Returns the module as CUDA graphs, which save the time to start hundreds of kernels one by one.

        The module is in training, takes tensors only, and these have the same shapes in every call. Without a GPU, or
        with several ranks, it is returned as it is.
        """
        return CudaGraphed(module) if self.device.type == "cuda" and self.ranks == 1 else module


def start(precision: str, distributed: bool = False) -> Runtime:
    """Sets up the process and chooses the device: the first GPU if there is one, else the CPU.

    Algorithms are deterministic, every thread pool has `thread_count` threads, and freed memory is kept. Under torchrun
    the process joins the other ranks, and each rank of a machine has a GPU of its own. With `IGLO_DEVICE=cpu` no GPU is
    used.

    Args:
        distributed: whether the stage can share its work with other ranks.

    Raises:
        UserError: an environment variable has an invalid value, or there are several ranks but the stage takes one.
    """
    use_exact_settings()
    allow_tf32(precision == "tf32")
    torch.set_flush_denormal(True)
    set_threads(thread_count())
    keep_freed_memory()
    warnings.filterwarnings("ignore", message=".*does not support bfloat16.*")
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream")  # CUDA graphs have their own
    runtime = runtime_on(None, precision)
    rank, ranks = environment.ranks()
    if ranks == 1:
        return runtime
    if not distributed:
        raise UserError(f"launch: this stage is for one process, got {ranks}; start it with python.")
    return Runtime(join(runtime.device, rank, ranks), precision, rank=rank, ranks=ranks)


def runtime_on(device: str | None, precision: str = "fp32") -> Runtime:
    """Chooses a device in a user's process; changes no settings of the process.

    Args:
        device: its name in torch; None: IGLO_DEVICE if it is set, else the first GPU, else the CPU.

    Raises:
        UserError: torch cannot use the device here.
    """
    name = device or os.environ.get("IGLO_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, dtype=torch.uint8, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        key = "device" if device else "IGLO_DEVICE"
        raise UserError(f"{key}: torch cannot use {name!r} here ({str(error).splitlines()[0]}).") from None
    return Runtime(torch.device(name), precision)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a CPU tensor to the device; does not wait for work that the GPU has not finished."""
    if device.type == "cuda":  # no test reaches this
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
