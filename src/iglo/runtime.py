"""Device, precision, threads and determinism: decided once, here only."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    return runtime_on(None, precision)


def runtime_on(device: str | None, precision: str = "fp32") -> Runtime:
    """Computing on a device, in a process that is somebody else's: its settings stay as they are.

    Args:
        device: as torch names it; None: what IGLO_DEVICE says, else the first GPU if any.

    Raises:
        UserError: torch cannot use the device here.
    """
    name = device or os.environ.get("IGLO_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        asked = "device" if device else "IGLO_DEVICE"
        raise UserError(f"{asked}: torch cannot use {name!r} here ({str(error).splitlines()[0]}).") from None
    return Runtime(torch.device(name), precision)


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic algorithms within the block, in a process that is somebody else's; afterwards all is as before."""
    algorithms, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill, benchmark = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = False, False
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = fill, benchmark
