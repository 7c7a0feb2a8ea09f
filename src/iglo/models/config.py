"""The config of a model: its kind, and the sizes of its networks and codes. It is enough to build the model again."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from torch import nn

from iglo.errors import UserError
from iglo.models.geometry import Euclidean, make_geometry
from iglo.models.networks import GENERATORS, Encoder, Generator, ModulatedGenerator, PairEncoder
from iglo.params.fields import Channels, ImageSize, PositiveInt, Rate
from iglo.params.validate import parse, short_repr


class TableConfig(NamedTuple):
    """The config of one table of codes.

    Attributes:
        dimension: length of a code.
        geometry: where its codes may lie.
        shared: whether images of the same class share a code. If not, every image has its own code.
        noisy: whether the noise of the continuity term reaches these codes.
    """

    dimension: int
    geometry: Euclidean
    shared: bool = False
    noisy: bool = True


@dataclass(frozen=True)
class GLOConfig:
    """GLO: one code per image.

    Attributes:
        network: the kind of generator. Models of earlier versions have no such key: theirs is dcgan.
    """

    dimension: PositiveInt
    image_size: ImageSize
    channels: Channels
    width: PositiveInt
    constraint: Literal["none", "ball", "sphere"]
    radius: Rate | None
    network: Literal["dcgan", "style"] = "dcgan"

    kind: ClassVar[str] = "glo"
    classes: ClassVar[tuple[str, ...]] = ()
    class_dimension: ClassVar[int] = 0
    prior_table: ClassVar[str] = "image"  # the table for which a prior draws new codes

    def geometry(self) -> Euclidean:
        """Makes the geometry of the codes."""
        return make_geometry(self.constraint, self.radius, self.dimension)

    def tables(self) -> dict[str, TableConfig]:
        """The tables of codes by name, in the order of their coordinates."""
        return {"image": TableConfig(self.dimension, self.geometry())}

    def generator(self) -> nn.Module:
        return GENERATORS[self.network](self.dimension, self.image_size, self.channels, self.width)

    def encoder(self, width: int) -> Encoder:
        return Encoder(self.dimension, self.image_size, self.channels, width)


@dataclass(frozen=True)
class ClassContentConfig:
    """Class and content: an image's code is the code of its class, then a code of its own.

    Attributes:
        classes: names of the K classes, in the order of the class codes.
        combine: concat: the generator reads both codes side by side. film: the class code also scales and shifts every
            block.
    """

    class_dimension: PositiveInt
    content_dimension: PositiveInt
    image_size: ImageSize
    channels: Channels
    width: PositiveInt
    combine: Literal["concat", "film"]
    classes: tuple[str, ...]

    kind: ClassVar[str] = "class_content"
    network: ClassVar[str] = "dcgan"
    prior_table: ClassVar[str] = "content"

    def __post_init__(self):
        if not self.classes:
            raise UserError("classes: must name at least one class, got none.")

    @property
    def dimension(self) -> int:
        """Length of both codes side by side."""
        return self.class_dimension + self.content_dimension

    def geometry(self) -> Euclidean:
        """Makes the geometry of both codes side by side. They may lie anywhere."""
        return make_geometry("none", None, self.dimension)

    def tables(self) -> dict[str, TableConfig]:
        """The tables of codes by name, in the order of their coordinates."""
        class_geometry = make_geometry("none", None, self.class_dimension)
        content_geometry = make_geometry("none", None, self.content_dimension)
        return {
            "class": TableConfig(self.class_dimension, class_geometry, shared=True, noisy=False),
            "content": TableConfig(self.content_dimension, content_geometry),
        }

    def generator(self) -> nn.Module:
        if self.combine == "film":
            dimensions = (self.class_dimension, self.content_dimension)
            return ModulatedGenerator(*dimensions, self.image_size, self.channels, self.width)
        return Generator(self.dimension, self.image_size, self.channels, self.width)

    def encoder(self, width: int) -> PairEncoder:
        return PairEncoder(self.class_dimension, self.content_dimension, self.image_size, self.channels, width)


ModelConfig = GLOConfig | ClassContentConfig
KINDS: dict[str, type[ModelConfig]] = {config.kind: config for config in (GLOConfig, ClassContentConfig)}


def config_record(config: ModelConfig) -> dict[str, Any]:
    """Turns a config into JSON values, with its kind. `parse_config` reads them."""
    return {"kind": config.kind, **asdict(config)}


def parse_config(record: Any, place: str = "config") -> ModelConfig:
    """Reads what `config_record` returned.

    Args:
        place: prefix of the keys in error messages.

    Raises:
        UserError: the record describes no model.
    """
    if not isinstance(record, dict):
        raise UserError(f"{place}: must be a mapping of keys to values, got {short_repr(record)}.")
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{place}.kind: must be one of {', '.join(KINDS)}, got {short_repr(kind)}.")
    return parse({key: value for key, value in record.items() if key != "kind"}, KINDS[kind], place)
