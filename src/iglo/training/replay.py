"""What is learned together in an arrival: new images, and what is replayed so that earlier images are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from iglo.errors import UserError
from iglo.models.glo import GLOModel, encode, render
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime

RENDERED_AT_ONCE = 4096  # codes


@dataclass(frozen=True)
class NewImages:
    """The training images of an arrival, and what is replayed beside them.

    Attributes:
        id: name of the arrival.
        images: (M, H, W, C) uint8.
        subsets: ids of these images, from 0, in the order in which they are learned.
        keep: what is replayed: images (the earlier images), generated (renders of their codes, and of codes between
            them) or none.
        earlier: (N, H, W, C) uint8. With `images`: all earlier training images. With `generated`: for each earlier
            code, what the generator rendered when it had just learned it; None: what the model renders now. The
            first is better after several arrivals, because renders of renders add up small errors.
    """

    id: str
    images: np.ndarray
    subsets: Sequence[np.ndarray]
    keep: str
    earlier: np.ndarray | None = None


@dataclass(frozen=True)
class Rows:
    """The images and the codes of a training, mixed so that every rank has its share of each kind.

    Attributes:
        images: (T, H, W, C) uint8, what the generator shall render of each code.
        codes: (T, d).
        kept, new, between: rows of earlier codes, of new codes, and of codes between earlier ones.
    """

    images: np.ndarray
    codes: Tensor
    kept: np.ndarray
    new: np.ndarray
    between: np.ndarray

    @property
    def replayed(self) -> np.ndarray:
        return np.union1d(self.kept, self.between)


def rows_to_learn(model: GLOModel, arrival: NewImages, params: Params, runtime: Runtime) -> Rows:
    """Puts together what the generator learns: new images with codes that start at E(x), and what is replayed.

    Args:
        model: has the codes of the earlier images.

    Raises:
        UserError: the earlier images are to be replayed, but they are not there.
    """
    codes = model.codes.values
    between = codes[:0]
    if arrival.keep == "generated":
        rng = torch_generator(params.seed, f"{arrival.id}/between")
        between = codes_between(model, round(params.arrival.between * len(codes)), rng)
    starts = encode(model.encoder, arrival.images, model.config, runtime).to(codes)
    return _mixed_rows(model, arrival, (codes, starts, between), params, runtime)


def _mixed_rows(
    model: GLOModel, arrival: NewImages, codes: tuple[Tensor, Tensor, Tensor], params: Params, runtime: Runtime
) -> Rows:
    """Puts together earlier codes, new codes and codes between earlier ones, each with the image that it shall give."""
    earlier, new, between = codes
    match arrival.keep:
        case "images":
            kept = arrival.earlier
        case "generated":
            kept = rendered(model, earlier, runtime) if arrival.earlier is None else arrival.earlier
        case "none":
            earlier, kept = earlier[:0], arrival.images[:0]
    if kept is None or len(kept) != len(earlier):
        raise UserError(
            f"arrivals.{arrival.id}.keep: images needs the {len(earlier)} earlier training images, got "
            f"{0 if kept is None else len(kept)}; put them back, or set it to generated, which needs none."
        )
    parts = [(earlier, kept), (new, arrival.images), (between, rendered(model, between, runtime))]
    places = mixed([len(part) for part, _ in parts])
    count = sum(map(len, places))
    all_codes = new.new_empty(count, new.shape[1])
    all_images = np.empty((count, *arrival.images.shape[1:]), np.uint8)
    for place, (part, images) in zip(places, parts, strict=True):
        all_codes[torch.from_numpy(place)] = part
        all_images[place] = images
    return Rows(all_images, all_codes, *places)


def rendered(model: GLOModel, codes: Tensor, runtime: Runtime) -> np.ndarray:
    """Renders codes (N, d) as 8-bit images (N, H, W, C), the precision of prepared images."""
    config = model.config
    images = np.empty((len(codes), config.image_size, config.image_size, config.channels), np.uint8)
    for start in range(0, len(codes), RENDERED_AT_ONCE):
        rows = slice(start, start + RENDERED_AT_ONCE)
        images[rows] = np.rint(render(model.generator, codes[rows], runtime) * 255)
    return images


def rows_to_refresh(model: GLOModel, arrival: NewImages, params: Params, runtime: Runtime) -> Rows:
    """Puts together what the encoder learns: the learned codes of new images, and what is replayed of earlier ones.

    Args:
        model: has the codes of the earlier images, and then those of the new ones.
    """
    codes, count = model.codes.values, len(model.codes.values) - len(arrival.images)
    return _mixed_rows(model, arrival, (codes[:count], codes[count:], codes[:0]), params, runtime)


def codes_between(model: GLOModel, count: int, rng: torch.Generator) -> Tensor:
    """Draws codes (count, d) at uniformly random places on the paths between random pairs of the model's codes."""
    codes = model.codes.values
    starts, ends = torch.randint(len(codes), (2, count), generator=rng)
    times = torch.rand(count, 1, generator=rng, dtype=torch.float32).to(codes)
    return model.config.geometry().interpolate(codes[starts], codes[ends], times)[:, 0]


def mixed(sizes: Sequence[int]) -> list[np.ndarray]:
    """Mixes several lists evenly into one: every block of the result has about the same share of each list.

    Returns:
        For each list the places of its entries in the mixed list, in their order.
    """
    order = np.argsort(np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in sizes]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return np.split(place, list(accumulate(sizes))[:-1])
