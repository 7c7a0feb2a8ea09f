"""Addresses of codes: short texts that the page puts into its URL, so that a view can be kept and shared.

t:12                          the code of training image 12
s:gaussian:0:5                sample 5 of a prior with seed 0
s:gaussian:0:5:0.7:mean       the same, truncated
m:pca:0.12:-0.3               a place of a map
c:AAAA                        a code itself, as 16-bit floats in base64url
…~d:0:1.5                     and moved by 1.5 standard deviations along principal direction 0
…~l:4:9:0.5                   and moved by half the way from the mean code of label 4 to that of label 9
…~k:3                         and with the code of class 3
"""

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.explore.maps import LAYOUTS
from iglo.params.validate import short_repr

SAMPLES = 64  # samples of each seed; always the same number, because other numbers give other samples
LARGEST_SEED = 2**31 - 1
FARTHEST = 10.0  # standard deviations along a direction
MOST_CHANGES = 40
TOWARD = ("mean", "nearest")


class Sample(NamedTuple):
    """A sample of a prior, and how it is truncated."""

    prior: str
    seed: int
    index: int
    psi: float = 1.0
    toward: str = "mean"


class Move(NamedTuple):
    """A move along a principal direction, in standard deviations."""

    direction: int
    amount: float


class LabelMove(NamedTuple):
    """A move by a share of the way from the mean code of a label to that of another label."""

    start: int
    end: int
    share: float


class Address(NamedTuple):
    """The parts of an address.

    Attributes:
        start: the number of a training image, a sample, a place (layout, x, y), or a code (d,).
        moves: moves along principal directions.
        label_moves: moves from label to label.
        label: the class whose code replaces that of the image; None: the code keeps its own class.
    """

    start: int | Sample | tuple[str, float, float] | Tensor
    moves: tuple[Move, ...] = ()
    label_moves: tuple[LabelMove, ...] = ()
    label: int | None = None


def parse_address(text: str) -> Address:
    """Reads an address; UserError if the text is not an address."""
    start, *changes = text.split("~")
    kind, *parts = start.split(":")
    if kind not in STARTS or len(changes) > MOST_CHANGES:
        raise _wrong(text)
    try:
        begun = STARTS[kind](parts)
        moves = tuple(_move(each) for each in changes if each.startswith("d:"))
        label_moves = tuple(_label_move(each) for each in changes if each.startswith("l:"))
        labels = [_whole(each[2:]) for each in changes if each.startswith("k:")]
    except (ValueError, TypeError, binascii.Error):
        raise _wrong(text) from None
    if len(moves) + len(label_moves) + len(labels) < len(changes) or len(labels) > 1:
        raise _wrong(text)
    return Address(begun, moves, label_moves, labels[0] if labels else None)


def code_address(code: Tensor) -> str:
    """Returns the address of a code (d,) itself, which is rounded to 16 bits."""
    halves = code.clamp(-60000, 60000).numpy().astype("<f2").tobytes()
    return f"c:{base64.urlsafe_b64encode(halves).decode().rstrip('=')}"


def sample_address(sample: Sample) -> str:
    """Returns the address of a sample."""
    start = f"s:{sample.prior}:{sample.seed}:{sample.index}"
    return start if sample.psi == 1 else f"{start}:{sample.psi:g}:{sample.toward}"


def _wrong(text: str) -> UserError:
    return UserError(f"ref: must be the address of a code, such as t:12, got {short_repr(text)}.")


def _whole(text: str, most: int = LARGEST_SEED) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= most):
        raise ValueError
    return int(text)


def _number(text: str, most: float) -> float:
    number = float(text) if len(text) <= 32 else math.nan
    if not abs(number) <= most:
        raise ValueError
    return number


def _training(parts: Sequence[str]) -> int:
    (row,) = parts
    return _whole(row)


def _sample(parts: Sequence[str]) -> Sample:
    prior, seed, index, *truncation = parts
    drawn = Sample(prior, _whole(seed), _whole(index, SAMPLES - 1))
    if not truncation:
        return drawn
    psi, toward = truncation
    if toward not in TOWARD or not _number(psi, 1) >= 0:
        raise ValueError
    return drawn._replace(psi=float(psi), toward=toward)


def _place(parts: Sequence[str]) -> tuple[str, float, float]:
    layout, x, y = parts
    if layout not in LAYOUTS:
        raise ValueError
    return layout, _number(x, 1), _number(y, 1)


def _code(parts: Sequence[str]) -> Tensor:
    (text,) = parts
    content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    code = torch.from_numpy(np.frombuffer(content, "<f2").astype(np.float32))
    if not len(code) or not code.isfinite().all():
        raise ValueError
    return code


def _move(text: str) -> Move:
    _, direction, amount = text.split(":")
    return Move(_whole(direction), _number(amount, FARTHEST))


def _label_move(text: str) -> LabelMove:
    _, start, end, share = text.split(":")
    return LabelMove(_whole(start), _whole(end), _number(share, FARTHEST))


STARTS: dict[str, Callable] = {"t": _training, "s": _sample, "m": _place, "c": _code}
