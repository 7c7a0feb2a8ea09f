"""The params of images that arrive after the first run."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import PlainValidator

from iglo.errors import UserError
from iglo.params.fields import Batch, Epochs, EpochsOrZero, Flag, PositiveInt, Rate, Text, Weight, need, section
from iglo.params.validate import short_repr

FIRST = "joint"  # the stage of the first run whose model the first arrival starts from
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = ("staged", "full", "encoder", FIRST, "priors", "export")  # folders in models/
PREFIXES = ("learned-", "reference-", "priors-")  # of other folders of an arrival in models/
SPECIAL = frozenset('"$`\\')  # characters that mean something to a shell, even in quotes

# YAML reads 2026-12-01 as a date, and 2026 and 1e3 as numbers.
Quoted = Annotated[
    str, need("a text (put a date or a number in quotes)", lambda value: isinstance(value, str), PlainValidator)
]


@section
class Arrival:
    """Images that arrive together, and are learned after all earlier images."""

    id: Quoted
    """The name of the arrival, and of its folders: letters, digits, dots, hyphens and underscores."""
    after: Quoted
    """The id of the arrival before; `joint`, the last stage of the first run, for the first arrival."""
    keep: Literal["images", "generated", "none"]
    """What is replayed, so that the generator keeps the earlier images. images: the earlier images. generated: renders
    of their codes and of codes between them; the images are not needed. none: nothing of the earlier images."""
    path: Text
    """The folder of its images."""


@section
class ArrivalParams:
    """How arrivals are learned."""

    epochs: Epochs
    """Passes over each subset of the new images."""
    polish_epochs: EpochsOrZero
    """Passes over all new images after that, with noise as in the last stage of the first run."""
    encoder_epochs: EpochsOrZero
    """Passes of the encoder over the new images."""
    least_steps: PositiveInt
    """Each of the three trainings takes at least this number of steps, so that few images are learned too."""
    generator_rate: Rate
    """The learning rate of the generator."""
    encoder_rate: Rate
    """The learning rate of the encoder."""
    earlier_weight: Weight
    """The weight of what is replayed while the generator learns; new images have weight 1."""
    earlier_batch: Batch
    """Replayed images in a step."""
    current_batch: Batch
    """New images in a step."""
    between: Weight
    """With `keep: generated`: how many codes between earlier codes are replayed, for each earlier image."""
    reference: Flag
    """true: a model also learns all images from scratch, with as many images seen, to compare."""


def check_arrivals(arrivals: Sequence[Arrival], how: ArrivalParams | None) -> None:
    """Raises UserError unless the ids are different names and each arrival follows the one before."""
    if arrivals and how is None:
        raise UserError("arrival: is missing, but there are arrivals; take this section from a file in presets/.")
    before = FIRST
    for index, item in enumerate(arrivals):
        check_name(f"arrivals.{index}.id", item.id)
        if item.id in (other.id for other in arrivals[:index]):
            raise UserError(f"arrivals.{index}.id: must be a new name, but {item.id} is the id of an earlier arrival.")
        if item.after != before:
            raise UserError(
                f"arrivals.{index}.after: must be {before}, {'the arrival' if index else 'the model'} before it, got "
                f"{short_repr(item.after)}; the arrivals follow each other in the order of the list."
            )
        if not item.path or not item.path.isprintable() or SPECIAL & {*item.path}:
            raise UserError(
                f"arrivals.{index}.path: must be a path without quotes, dollar signs, backslashes and control "
                f"characters, got {short_repr(item.path)}; rename the folder."
            )
        before = item.id


def check_name(key: str, name: str) -> None:
    """Raises UserError, which begins with `key`, unless a text can be the id of an arrival."""
    if not NAME.fullmatch(name) or name in RESERVED or name.startswith(PREFIXES):
        raise UserError(
            f"{key}: must be a name of letters, digits, dots, hyphens and underscores, and none of "
            f"{', '.join(RESERVED)}, {', '.join(f'{prefix}…' for prefix in PREFIXES)}, got {short_repr(name)}."
        )
