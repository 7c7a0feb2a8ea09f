"""The options of a training, and a variant: a training that differs from its base in some of them."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """All that a training and its measurement depend on.

    Attributes:
        data: frogs | frogs-64 | emoji, a name of the command's folders.
        images: number of training images, N.
        size: side of the images, in pixels.
        budget: images that the generator renders in the training; noisy codes and drawn codes count too.
        measured: images in each set that is measured.
        dimension: of a code, d.
        generator: dcgan | style.
        width: of the generator.
        batch: images of a step.
        network_rate, code_rate: learning rates.
        schedule: of both rates. constant, or tail: they fall from a quarter before the end on.
        start: where codes start: the PCA of pixels, of features (block 4 of the loss), of both, or normal.
        pixel_weight: of pixels in the loss; each block of features has weight 1.
        noise: standard deviation of the noise on a second code of each image, at first; it falls linearly to 0.
        noise_weight: of that second code's reconstruction (the continuity term); 0: there is no second code.
        neighbour_weight: the same for a code that is moved, up to half-way, towards one of its five nearest codes.
        realism_weight: of a term for images of 25 drawn codes; 0: there is none.
        realism: that term. energy: the energy distance of features to those of 256 real images; chamfer: the distance
            to the nearest real image.
        levels: the blocks of the loss whose features the term compares.
        drawn: the drawn codes. pairs: anywhere between two codes; normal: N(0, I); mixed: one of them in each step.
        augmented: share of the images that are augmented (flip, shift, gain). The generator is told how, as four more
            inputs, which are 0 in the measurement.
    """

    data: str = "frogs"
    images: int = 800
    size: int = 32
    budget: int = 24_000
    measured: int = 300
    dimension: int = 100
    generator: str = "dcgan"
    width: int = 64
    batch: int = 75
    network_rate: float = 1e-3
    code_rate: float = 5e-2
    schedule: str = "constant"
    start: str = "pixels"
    pixel_weight: float = 1.0
    noise: float = 0.0
    noise_weight: float = 0.0
    neighbour_weight: float = 0.0
    realism_weight: float = 0.0
    realism: str = "energy"
    levels: str = "1234"
    drawn: str = "pairs"
    augmented: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")


CHOICES = {
    "data": ("frogs", "frogs-64", "emoji"),
    "generator": ("dcgan", "style"),
    "schedule": ("constant", "tail"),
    "start": ("pixels", "features", "both", "normal"),
    "realism": ("energy", "chamfer"),
    "drawn": ("pairs", "normal", "mixed"),
}
SETTING = ("data", "size", "images", "budget", "measured")  # the options that all variants of a section share


@dataclass(frozen=True)
class Variant:
    """A training that is compared with another.

    Attributes:
        name: its key in the results.
        base: the name of the variant that it is compared with; None: it is the first of its section.
        changes: its options that differ from those of the base; for a first variant, from the defaults.
        expected: a sentence: what was expected, and why.
        seeds: a training for each.
    """

    name: str
    base: str | None
    changes: Mapping[str, object]
    expected: str
    seeds: tuple[int, ...] = field(default=(0,))


def options_of(variants: Iterable[Variant]) -> dict[str, Options]:
    """Returns the options of each variant, with seed 0. A base must stand before the variants that are based on it.

    Raises:
        ValueError: a name occurs twice, a base is unknown or has another setting, or a change is none.
    """
    found: dict[str, Options] = {}
    for variant in variants:
        if variant.name in found or (variant.base and variant.base not in found):
            raise ValueError(f"{variant.name}: occurs twice, or its base {variant.base} does not stand before it.")
        base = found[variant.base] if variant.base else Options()
        options = dataclasses.replace(base, **variant.changes)
        if variant.base and (setting(options) != setting(base) or options == base):
            raise ValueError(f"{variant.name}: must have the setting of its base, and change something.")
        found[variant.name] = options
    return found


def setting(options: Options) -> tuple:
    """Returns what all variants of a section of the report share."""
    return tuple(getattr(options, name) for name in SETTING)
