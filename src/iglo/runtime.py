"""Device, precision, threads and determinism: decided once, here only."""

import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from iglo.errors import UserError


@dataclass(frozen=True)
class Runtime:
    """Where and in which arithmetic a stage computes."""

    device: torch.device
    precision: str  # fp32 | bf16

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

    def autocast(self) -> AbstractContextManager:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Moves a network to the device, its convolutions in channels-last order (faster on CPU and GPU alike)."""
        return module.to(self.device, memory_format=torch.channels_last)


def start(precision: str) -> Runtime:
    """Sets the process up: deterministic algorithms, IGLO_THREADS threads (default: all), the first GPU if any.

    `IGLO_DEVICE=cpu` keeps a stage off the GPU.

    Raises:
        UserError: either variable has a value that makes no sense here.
    """
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a fifth of a step
    torch.backends.cudnn.benchmark = False
    torch.set_flush_denormal(True)
    if threads := os.environ.get("IGLO_THREADS"):
        if not threads.isdecimal() or int(threads) < 1:
            raise UserError(f"IGLO_THREADS: must be a whole number of at least 1, got {threads!r}.")
        torch.set_num_threads(int(threads))
    warnings.filterwarnings("ignore", message=".*does not support bfloat16.*")
    name = os.environ.get("IGLO_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"IGLO_DEVICE: torch cannot use {name!r} here ({str(error).splitlines()[0]}).") from None
    return Runtime(torch.device(name), precision)
