"""Checks what a user gives to a loaded model. Every check raises UserError, of one sentence."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from torch import Tensor

from iglo import environment
from iglo.errors import UserError
from iglo.params.run_record import Loss

LOSSES = get_args(Loss.__annotations__["name"])


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises UserError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"{name}: must be a whole number of at least {least}, got {value!r}.")


def check_loss(loss: str | None) -> None:
    """Raises UserError unless `loss` is None or the name of a loss."""
    if loss is not None and loss not in LOSSES:
        raise UserError(f"loss: must be one of {', '.join(LOSSES)}, got {loss!r}.")


def check_memory(name: str, count: int, values: int, dimension: int) -> None:
    """Raises UserError if `count` images of `values` bytes, and codes (count, dimension), need too much memory."""
    needed, there = count * (2 * values + 8 * dimension), environment.memory()  # twice: in batches and in one array
    if needed > there:
        raise UserError(
            f"{name}: {count} images take about {needed / 2**30:,.0f} GiB of memory, and this machine has "
            f"{there / 2**30:,.0f} GiB; ask for fewer."
        )


def code_array(codes: np.ndarray | Tensor, dimension: int) -> np.ndarray:
    """Converts codes to a contiguous array (N, dimension) float32.

    Raises:
        UserError: there are no codes, their length is another, or they are not finite numbers.
    """
    array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else np.asarray(codes)
    if array.ndim != 2 or array.shape[1] != dimension or not len(array) or array.dtype.kind not in "fiu":
        raise UserError(
            f"codes: must be numbers (N, {dimension}) with N at least 1, got {array.dtype} {tuple(array.shape)}."
        )
    array = np.ascontiguousarray(array, np.float32)
    if bad := int((~np.isfinite(array)).any(axis=1).sum()):
        raise UserError(f"codes: must be finite, but {bad} of {len(array)} hold NaN or infinity; leave them out.")
    return array


def class_labels(names: Sequence[str] | None, known: Sequence[str]) -> list[int]:
    """Returns the labels of classes, which are their places in `known`.

    Args:
        names: names of classes; None: all.
        known: the classes of the model, in their order.

    Raises:
        UserError: the model has no classes, no class is named, or a name is unknown.
    """
    if not known:
        raise UserError("classes: this model has none; take one of class and content.")
    names = list(known if names is None else names)
    if not names:
        raise UserError(f"classes: must name at least one of {', '.join(known)}.")
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}."
            raise UserError(f"classes: the model has no class {name!r}; {hint}")
    return [known.index(name) for name in names]


def batch_of_one(stop: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Makes a batch of one code or one image."""
    stop = stop if isinstance(stop, Tensor) else np.asarray(stop)
    batch = stop[None] if stop.ndim in (1, 3) else stop
    if batch.ndim == 0 or len(batch) != 1:
        raise UserError(
            f"a, b: must be one code or one image each, got {tuple(batch.shape)}; `tour` goes through many."
        )
    return batch
