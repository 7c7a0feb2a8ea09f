"""What the page may ask for: the parameters of each request, and their limits."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, get_origin

from pydantic import BeforeValidator, Field

from iglo.errors import UserError
from iglo.explore.addresses import LARGEST_SEED, SAMPLES, TOWARD
from iglo.explore.maps import LAYOUTS
from iglo.params.fields import Share, need
from iglo.params.validate import parse, short_repr

MOST_REFS, MOST_STOPS, MOST_STEPS, MOST_FRAMES = 64, 12, 60, 241
MOST_OPTIMISATION_STEPS = 1000
LARGEST_UPLOAD = 20 * 2**20  # bytes

Layout = Literal[LAYOUTS]


def whole(low: int, high: int) -> Any:
    """Returns the type of a whole number in a query, from `low` to `high`."""
    return Annotated[int, Field(strict=True, ge=low, le=high), BeforeValidator(_int_or_same)]


def _int_or_same(value: Any) -> Any:
    is_number = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18
    return int(value) if is_number else value


def several(kind: Any, low: int, high: int, words: str) -> Any:
    """Returns the type of a parameter that may be given several times, from `low` to `high` times."""
    return Annotated[list[kind], need(f"{low} to {high} {words}", lambda values: low <= len(values) <= high)]


@dataclass(frozen=True)
class Nothing:
    """A request without parameters."""


@dataclass(frozen=True)
class OfMap:
    """Asks for a map."""

    layout: Layout


@dataclass(frozen=True)
class OfRefs:
    """Asks for something about several codes."""

    ref: several(str, 1, MOST_REFS, "codes")


@dataclass(frozen=True)
class OfRef:
    """Asks for something about one code."""

    ref: str


@dataclass(frozen=True)
class OfRows:
    """Asks for training images."""

    row: several(whole(0, 2**31 - 1), 1, MOST_REFS, "rows")


@dataclass(frozen=True)
class OfSamples:
    """Asks for samples of a prior."""

    prior: str
    seed: whole(0, LARGEST_SEED) = 0
    count: whole(1, SAMPLES) = 24
    psi: Share = 1.0
    toward: Literal[TOWARD] = "mean"


@dataclass(frozen=True)
class OfPath:
    """Asks for the images of a path."""

    stop: several(str, 2, MOST_STOPS, "stops")
    way: str
    steps: whole(1, MOST_STEPS) = 16
    closed: whole(0, 1) = 0

    def __post_init__(self) -> None:
        """Raises UserError if the path has too many images."""
        frames = self.steps * (len(self.stop) - (not self.closed)) + (not self.closed)
        if frames > MOST_FRAMES:
            raise UserError(
                f"steps: the path must have at most {MOST_FRAMES} images, got {frames}; choose fewer steps."
            )


@dataclass(frozen=True)
class OfInversion:
    """Asks for an optimised code of an image."""

    steps: whole(1, MOST_OPTIMISATION_STEPS) = 100


def read_query(pairs: Sequence[tuple[str, str]], kind: type) -> Any:
    """Reads the parameters of a request as a dataclass of `kind`.

    Raises:
        UserError: a parameter is unknown, missing, given twice, or has a wrong value.
    """
    known = {field.name: field for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "left out"
            raise UserError(f"{short_repr(name)}: unknown parameter; it must be {expected}.")
        if _is_list(known[name].type):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise UserError(f"{name}: must be given once.")
        else:
            values[name] = value
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            raise UserError(f"{name}: is missing.")
    return parse(values, kind)


def _is_list(kind: Any) -> bool:
    return get_origin(getattr(kind, "__origin__", kind)) is list
