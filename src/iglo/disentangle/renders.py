"""Renders the images of class and content: reconstructions, conversions, random content and morphing."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iglo.data.store import ImageStore
from iglo.disentangle.model import class_codes, combined, content_codes
from iglo.files.io import read_array, write_array
from iglo.latent.priors import fit_prior
from iglo.models.geometry import make_geometry
from iglo.models.glo import GLOModel, encode, render
from iglo.params.class_content import ClassContentParams
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import Runtime

MORPHED, MORPH_STEPS = 8, 8  # images that turn into other classes; frames from one class to the next


@dataclass(frozen=True)
class Renders:
    """The rendered images, which are then measured and shown: float in [0, 1].

    Attributes:
        chosen: (M,) ids of training images, chosen at random.
        unseen: (U,) ids of test images, chosen at random.
        reconstructed: (N, H, W, C) renders of the codes of all training images.
        converted: (M, K, H, W, C) the content of each chosen image with the code of every class.
        unseen_converted: (U, K, H, W, C) the same for unseen images, whose content the encoder reads.
        unseen_encoded: (U, H, W, C) renders of both codes that the encoder reads from unseen images.
        scratch: distribution of the content (`normal`, `gaussian`) → (K, S, H, W, C) renders of random content.
        morphing: (T, P, H, W, C) the first chosen images while they turn into every class and back into the first.
    """

    chosen: np.ndarray
    unseen: np.ndarray
    reconstructed: np.ndarray
    converted: np.ndarray
    unseen_converted: np.ndarray | None
    unseen_encoded: np.ndarray | None
    scratch: dict[str, np.ndarray]
    morphing: np.ndarray

    def save(self, folder: Path) -> None:
        """Writes the images, with 8 bits, and the ids into an existing folder."""
        for field in fields(self):
            value = getattr(self, field.name)
            for name, array in value.items() if isinstance(value, dict) else [(None, value)]:
                if array is not None:
                    path = folder / (f"{field.name}-{name}.npy" if name else f"{field.name}.npy")
                    write_array(path, array if array.dtype == np.int64 else (array * 255).round().astype(np.uint8))

    @classmethod
    def load(cls, folder: Path) -> "Renders":
        """Reads what `save` wrote. The images are then uint8.

        Raises:
            UserError: a file is missing.
        """
        read = {}
        for field in fields(cls):
            if field.name == "scratch":
                names = sorted(path.stem.removeprefix("scratch-") for path in folder.glob("scratch-*.npy"))
                read["scratch"] = {name: read_array(folder / f"scratch-{name}.npy") for name in names}
            elif field.name.startswith("unseen_") and not (folder / f"{field.name}.npy").exists():
                read[field.name] = None
            else:
                read[field.name] = read_array(folder / f"{field.name}.npy")
        return cls(**read)


def convert(model: GLOModel, content: Tensor, runtime: Runtime) -> np.ndarray:
    """Renders content codes with the code of every class: (M, content) → (M, K, H, W, C)."""
    class_count = len(model.config.classes)
    labels = np.tile(np.arange(class_count), len(content))
    images = render(model.generator, combined(model, labels, content.repeat_interleave(class_count, 0)), runtime)
    return images.reshape(len(content), class_count, *images.shape[1:])


def content_of(model: GLOModel, images: np.ndarray, runtime: Runtime) -> Tensor:
    """Reads the content codes of images with the encoder: (M, H, W, C) uint8 → (M, content)."""
    return encode(model.encoder, images, model.config, runtime)[:, model.config.class_dimension :]


def scratch(model: GLOModel, count: int, seed: int, runtime: Runtime) -> dict[str, np.ndarray]:
    """Renders random content in every class, (K, count, H, W, C) for each distribution.

    `normal` is N(0, I); `gaussian` is the Gaussian that is fitted to the learned content codes.
    """
    content, rng = content_codes(model), torch_generator(seed, "scratch/normal")
    fitted = fit_prior("gaussian", content, make_geometry("none", None, content.shape[1]), seed)
    drawn = {
        "normal": torch.randn(count, content.shape[1], generator=rng, dtype=torch.float32),
        "gaussian": fitted.draw(count, torch_generator(seed, "scratch/gaussian")),
    }
    return {name: convert(model, content, runtime).swapaxes(0, 1) for name, content in drawn.items()}


def morph(model: GLOModel, content: Tensor, runtime: Runtime) -> np.ndarray:
    """Renders content codes while the class code moves from class to class: (M, content) → (T, M, H, W, C)."""
    codes, frames = class_codes(model), []
    for start, end in zip(codes, codes.roll(-1, 0), strict=True):
        for time in torch.linspace(0, 1, MORPH_STEPS + 1, dtype=torch.float32)[:-1]:
            between = torch.lerp(start, end, time.item()).expand(len(content), -1)
            frames.append(render(model.generator, torch.cat([between, content], dim=1), runtime))
    return np.stack(frames)


def make_renders(model: GLOModel, store: ImageStore, params: ClassContentParams, runtime: Runtime) -> Renders:
    """Renders everything. Without an encoder, `unseen_converted` and `unseen_encoded` are None."""
    section = params.renders
    rng = numpy_generator(section.seed, "probe")  # an old name; another name would choose other images
    chosen = rng.permutation(store.parts.train)[: section.converted]
    unseen = store.first_test + rng.permutation(min(section.unseen, len(store.test)))
    unseen_converted = unseen_encoded = None
    if model.encoder is not None:
        images = np.asarray(store.images[unseen])
        codes = encode(model.encoder, images, model.config, runtime)
        unseen_converted = convert(model, codes[:, model.config.class_dimension :], runtime)
        unseen_encoded = render(model.generator, codes, runtime)
    return Renders(
        chosen,
        unseen,
        render(model.generator, model.codes.values, runtime),
        convert(model, content_codes(model)[torch.from_numpy(chosen)], runtime),
        unseen_converted,
        unseen_encoded,
        scratch(model, section.samples, section.seed, runtime),
        morph(model, content_codes(model)[torch.from_numpy(chosen[:MORPHED])], runtime),
    )
