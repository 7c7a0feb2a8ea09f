"""The types of the values in a params file, and `section`, which makes a frozen pydantic model of a class.

All sections of params.yaml are pydantic dataclasses: `dataclasses.replace`, `asdict` and `fields` work with them.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, Strict, StrictBool, StrictInt
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

LARGEST_INT = 2**63 - 1
T = TypeVar("T")

section = dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))


def number(**limits: float) -> Any:
    """Returns the type of a finite float. A whole number, and a number in quotes, is converted.

    Args:
        limits: `ge`, `gt`, `le` and `lt`, as for pydantic's Field.
    """
    return Annotated[float, Field(strict=True, allow_inf_nan=False, **limits), BeforeValidator(_float_or_same)]


def _float_or_same(value: Any) -> Any:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    return value


def need(words: str, holds: Callable[[Any], bool], validator: type = AfterValidator) -> Any:
    """Returns a requirement that pydantic does not have. `words` follow "must be" in the message."""

    def check(value: Any) -> Any:
        if not holds(value):
            told = {"value": value} if isinstance(value, float) else {}  # pydantic cannot write huge integers
            raise PydanticCustomError("need", "must be {words}", {"words": words, **told})
        return value

    return validator(check)


def between(low: float, high: float) -> Any:
    """Returns the requirement of a value from `low` to `high`, both included."""
    return need(f"from {low} to {high}", lambda value: low <= value <= high)


# A plain validator, because pydantic's str refuses paths that are not UTF-8.
Text = Annotated[str, need("a text", lambda value: isinstance(value, str), PlainValidator)]
Flag = StrictBool
Many = Annotated[tuple[T, ...], Strict(), BeforeValidator(lambda value: tuple(value) if type(value) is list else value)]
PositiveInt = Annotated[int, Field(strict=True, ge=1, le=LARGEST_INT)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0, le=LARGEST_INT)]
Number = number()
Rate = number(gt=0)
Weight = number(ge=0, le=1e6)  # far beyond, 32-bit losses and codes are infinite
Share = Annotated[Number, between(0, 1)]
ShareBelowOne = Annotated[Number, need("at least 0 and less than 1", lambda value: 0 <= value < 1)]
ShareWithin = Annotated[Number, need("greater than 0 and less than 1", lambda value: 0 < value < 1)]
Radius = Annotated[Rate, between(1e-6, 1e6)]  # far beyond, 32-bit codes are zero or infinite

# No useful run is above these bounds. `backbones.requirements` checks whether a run fits into this machine's memory.
Batch = Annotated[PositiveInt, Field(le=65_536)]
Dimension = Annotated[PositiveInt, Field(le=4096)]
Epochs = Annotated[PositiveInt, Field(le=1_000_000)]
EpochsOrZero = Annotated[NonNegativeInt, Field(le=1_000_000)]
Side = Annotated[PositiveInt, Field(le=1024)]  # in pixels
Width = Annotated[PositiveInt, Field(le=1024)]

Channels = Annotated[StrictInt, need("1 or 3", lambda value: value in (1, 3))]
ImageSize = Annotated[StrictInt, need("a power of two from 16 to 128", lambda value: value in (16, 32, 64, 128))]
Blocks = Annotated[StrictInt, between(1, 5)]

LossName = Literal["perceptual", "l1", "l2", "l1_l2", "lap_l1"]
Precision = Literal["fp32", "tf32", "bf16"]
Schedule = Literal["constant", "linear", "cosine"]
