"""Settings of the whole process: deterministic algorithms, TF32, and torch's default type."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_building = threading.RLock()


def use_exact_settings() -> None:
    """Makes torch use deterministic algorithms only."""
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import torch's compiler: a second
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a fifth of a step
    torch.backends.cudnn.benchmark = False


def allow_tf32(allowed: bool) -> None:
    """Sets whether a GPU may round the inputs of 32-bit products to 10 bits. torch's default: in convolutions."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def library_call(precision: str = "fp32") -> Iterator[None]:
    """Makes the user's process compute as a stage does; restores its settings afterwards.

    Algorithms are deterministic, a GPU rounds as `precision` says, and gradients work even within an outer
    torch.no_grad or torch.inference_mode. Calls of several threads may overlap. Also works as a decorator.
    """
    _settings.enter(precision)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _settings.leave(precision)


class _SharedSettings:
    """The settings during calls of the library. The first call changes them, and the last call restores them.

    Calls of several threads may overlap, and the settings belong to the process.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.precisions: list[str] = []  # one for each running call
        self.before: dict[str, Any] = {}

    def enter(self, precision: str) -> None:
        with self.lock:
            if not self.precisions:
                self.before = {
                    "deterministic": torch.get_deterministic_debug_mode(),
                    "fill": torch.utils.deterministic.fill_uninitialized_memory,
                    "benchmark": torch.backends.cudnn.benchmark,
                    "convolutions": torch.backends.cudnn.allow_tf32,
                    "products": torch.backends.cuda.matmul.allow_tf32,
                }
                use_exact_settings()
            self.precisions.append(precision)
            self._choose_tf32()

    def leave(self, precision: str) -> None:
        with self.lock:
            self.precisions.remove(precision)
            if self.precisions:
                self._choose_tf32()
                return
            before = self.before
            torch.set_deterministic_debug_mode(before["deterministic"])
            torch.utils.deterministic.fill_uninitialized_memory = before["fill"]
            torch.backends.cudnn.benchmark = before["benchmark"]
            torch.backends.cudnn.allow_tf32 = before["convolutions"]
            torch.backends.cuda.matmul.allow_tf32 = before["products"]

    def _choose_tf32(self) -> None:
        allow_tf32(all(precision == "tf32" for precision in self.precisions))


_settings = _SharedSettings()


@contextmanager
def building() -> Iterator[None]:
    """Makes new weights 32-bit within the block; restores torch's global random generator afterwards.

    Networks are built within it. Otherwise torch would use the default type of the process, and would draw the weights
    from the global generator. Also works as a decorator.
    """
    with _building, torch.random.fork_rng(devices=[]):
        kind = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(kind)
