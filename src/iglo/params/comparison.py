"""The params of comparison/: methods that are compared with each other, each with the same budget."""

import re
from typing import Any, Literal

from pydantic import model_validator

from iglo.errors import UserError
from iglo.params.fields import Many, NonNegativeInt, PositiveInt, Rate, Text, Weight, section
from iglo.params.pipeline import Params, parse_params
from iglo.params.sections import NetworkParams
from iglo.params.validate import check_different, short_repr, within

SHARED = ("seed", "data", "features", "clustering", "evaluate")  # what no method may change


@section
class MethodParams:
    """One way to train that is compared with others."""

    title: Text
    """Its name in tables and figures."""
    about: Text
    """What it does, in one clause."""
    learner: Literal["stages", "autoencoder"]
    """stages: codes are free parameters. autoencoder: an encoder makes the codes."""
    subsets: Literal["clusters", "random"]
    """clusters: the subsets of the split. random: random subsets of the same sizes."""
    changes: dict
    """Changes to `base`, by section and key."""


@section
class MeasureParams:
    """What is measured of every run, and how."""

    points: PositiveInt
    """How often the PSNR of training images is measured along a run."""
    images: PositiveInt
    """The number of training images on which it is measured."""
    inverted: PositiveInt
    """The number of test images whose codes are found by optimisation."""
    steps: Many[NonNegativeInt]
    """Steps of that optimisation after which the images are measured; the first is 0."""
    rate: Rate
    """The learning rate of that optimisation, for codes of unit variance."""
    code_penalty: Weight
    """The weight of the squared length of the autoencoder's codes."""
    other_judges: Many[NetworkParams]
    """More feature networks that see the same images, to compare what they say; [] for none."""


@section
class Comparison:
    """A matrix of methods and seeds."""

    seeds: Many[NonNegativeInt]
    """Every method runs once with each seed."""
    budget: PositiveInt
    """Images seen by the generator, forward and backward, in every method."""
    run: Many[Text]
    """Names of the methods that are compared, in the order of the tables."""
    joint: Many[Text]
    """Names of the methods that are also measured after generator and encoder have learned together."""
    measure: MeasureParams
    base: dict
    """Every key of params.yaml."""
    methods: dict[Any, MethodParams]
    """The methods, by name."""

    def params(self, method: str | None = None, seed: int | None = None) -> Params:
        """Returns `base` with the changes of a method, and with another seed."""
        values = _merged(self.base, self.methods[method].changes if method else {})
        return parse_params(values | ({} if seed is None else {"seed": seed}))

    @model_validator(mode="after")
    def _check_together(self) -> "Comparison":
        """Checks the requirements that bind several keys."""
        for name in self.methods:
            if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
                raise UserError(f"methods: must have names of letters, digits, _ and -, got {short_repr(name)}.")
        check_different("run", self.run)
        if self.joint:
            check_different("joint", self.joint)
        for key, names, known in (("run", self.run, self.methods), ("joint", self.joint, self.run)):
            for name in names:
                if name not in known:
                    raise UserError(f"{key}: must name methods among {', '.join(known)}, got {short_repr(name)}.")
        check_different("seeds", self.seeds, "numbers")
        steps, points = self.measure.steps, self.measure.points
        if not steps or steps[0] != 0 or list(steps) != sorted(set(steps)):
            raise UserError(f"measure.steps: must start with 0 and increase, got {short_repr(list(steps))}.")
        if points > self.budget:
            raise UserError(f"measure.points: must be at most budget, {self.budget}, got {points}.")
        self._check_methods()
        return self

    def _check_methods(self) -> None:
        with within("base: "):
            base = self.params()
        if base.data.validation == 0:
            raise UserError("base.data.validation: must be at least 1, because priors are chosen on them, got 0.")
        for method, described in self.methods.items():
            with within(f"methods.{method}.changes: "):
                self.params(method)
            for shared in SHARED:
                if shared in described.changes:
                    raise UserError(
                        f"methods.{method}.changes.{shared}: must be left out, because all methods share it; "
                        "change it in base."
                    )


def _merged(values: Any, changes: Any) -> Any:
    """Returns `values` with `changes` in their place; two mappings are merged key by key."""
    if not isinstance(values, dict) or not isinstance(changes, dict):
        return changes
    return values | {key: _merged(values.get(key), new) for key, new in changes.items()}
