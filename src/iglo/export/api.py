"""Uses an exported model: `iglo.load`, and the methods of the model that it returns.

- A method takes images as arrays (N, H, W, C) or tensors (N, C, H, W), uint8 or float in [0, 1]. It converts images of
  another size or number of channels, and a warning says how.
- A method returns images as arrays (N, H, W, C) uint8.
- A method takes codes as arrays or tensors (N, d), and returns codes as arrays (N, d) float32.

The same seed gives the same bits on one machine and device.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iglo.data.user_images import read_arrays
from iglo.errors import UserError
from iglo.export.bundle import Bundle, describe, load_bundle
from iglo.export.inputs import batch_of_one, check_loss, check_memory, check_whole, class_labels, code_array
from iglo.export.pretrained import BATCH, InversionDistance, image_features, nearest_rows
from iglo.export.walks import Ways, times_of_a_leg
from iglo.latent import inversion
from iglo.latent.priors import Prior
from iglo.models.glo import encode, render
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, runtime_on
from iglo.runtime.process import library_call

SPACES = ("pixels", "features")

Images = np.ndarray | Tensor
Codes = np.ndarray | Tensor


@library_call()
def load(path: str | Path, device: str | None = None) -> "LoadedModel":
    """Loads the exported model in the folder `path`.

    Args:
        device: as torch names it; None: what IGLO_DEVICE says, else the first GPU if any.

    Raises:
        UserError: no exported model, one of a newer format, a damaged file, or no such device.
    """
    runtime = runtime_on(device)
    return LoadedModel(load_bundle(path, runtime), runtime)


class LoadedModel:
    """A generator with its encoder and prior. Every method raises UserError, of one sentence, for wrong input.

    Attributes:
        bundle: the networks and the record of the model.
        config: the sizes of images and codes, and where codes may lie.
        classes: names of the classes; empty for a model without classes.
        distance: builds the distances by which codes are found for images.
        ways: the ways between codes, and the training codes.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime):
        self.bundle, self.runtime = bundle, runtime
        self.config, self.classes = bundle.config, bundle.config.classes
        self.distance, self.ways = InversionDistance(bundle, runtime), Ways(bundle)

    def __repr__(self) -> str:
        config, record = self.config, self.bundle.record
        classes = f", {len(self.classes)} classes" if self.classes else ""
        size = f"{config.image_size}x{config.image_size}x{config.channels}"
        return (
            f"<{type(self).__name__}: {self.bundle.config.kind}, {size} images, "
            f"codes of {config.dimension}{classes}, {record.codes.count} training images, on {self.runtime.device}>"
        )

    def info(self) -> dict[str, Any]:
        """Describes the model in plain values."""
        return describe(self.bundle) | {"device": str(self.runtime.device)}

    # --- Codes to images ---

    def sample(
        self, n: int, seed: int = 0, prior: Prior | None = None, classes: Sequence[str] | None = None
    ) -> np.ndarray:
        """Draws n new images, (n, H, W, C) uint8.

        Args:
            prior: draws the codes; None: the model's own prior.
            classes: in a model with classes, the images take these classes in turn; None: all classes.
        """
        return self.decode(self.draw_codes(n, seed, prior, classes))

    @library_call()
    def draw_codes(
        self, n: int, seed: int = 0, prior: Prior | None = None, classes: Sequence[str] | None = None
    ) -> np.ndarray:
        """Draws the codes (n, d) of n new images; arguments as for `sample`."""
        check_whole("n", n, 1)
        check_whole("seed", seed, 0)
        self._check_memory("n", int(n))
        if classes is not None or self.classes:
            labels = class_labels(classes, self.classes)
        drawn = (prior or self.bundle.prior).draw(int(n), torch_generator(int(seed), "samples"))
        if self.classes:
            turns = torch.tensor(labels).repeat(-(-int(n) // len(labels)))[: int(n)]
            drawn = torch.cat([self.bundle.class_codes[turns], drawn], dim=1)
        return drawn.numpy()

    @library_call()
    def decode(self, codes: Codes, floats: bool = False) -> np.ndarray:
        """Renders codes (N, d) as images (N, H, W, C): uint8, or with `floats` float32 in [0, 1].

        Codes are not projected to where codes may lie.
        """
        images = []
        for batch in bar(torch.from_numpy(self._codes(codes)).split(BATCH), desc="decoding", unit="batch"):
            rendered = render(self.bundle.generator, batch, self.runtime, BATCH)
            if not np.isfinite(rendered).all():
                raise UserError("codes: their images are not finite; take smaller codes, or export the model again.")
            images.append(rendered if floats else np.rint(255 * rendered).astype(np.uint8))
        return np.concatenate(images)

    # --- Images to codes ---

    @library_call()
    def encode(self, images: Images) -> np.ndarray:
        """Computes the encoder's codes (N, d) of images; `invert` finds better codes."""
        images = self._images(images)
        codes = [
            encode(self.bundle.encoder, images[start : start + BATCH], self.config, self.runtime, BATCH)
            for start in bar(range(0, len(images), BATCH), desc="encoding", unit="batch")
        ]
        return torch.cat(codes).numpy()

    @library_call()
    def invert(
        self, images: Images, steps: int | None = None, method: str = "hybrid", loss: str | None = None, seed: int = 0
    ) -> np.ndarray:
        """Finds codes (N, d) whose images are as near as possible to the given images.

        Args:
            steps: most steps of optimisation; None: depends on the method.
            method: encoder; optimize (from random codes); or hybrid (optimize from the encoder's codes).
            loss: perceptual, l1, l2, l1_l2 or lap_l1; None: the loss of the training, or l1 with a warning if its
                weights are missing.
            seed: seed of the random codes.
        """
        if steps is not None:
            check_whole("steps", steps, 1)
        check_whole("seed", seed, 0)
        check_loss(loss)
        if method == "encoder":
            return self.encode(images)
        images, distance = self._images(images), self.distance(loss)
        search = inversion.Search(steps)
        found = inversion.invert(
            self.bundle, images, distance, self.runtime, method=method, search=search, seed=int(seed)
        )
        return found.codes.cpu().numpy()

    def reconstruct(
        self, images: Images, steps: int | None = None, method: str = "hybrid", loss: str | None = None, seed: int = 0
    ) -> np.ndarray:
        """Finds the codes of images and renders them, (N, H, W, C) uint8; arguments as for `invert`."""
        return self.decode(self.invert(images, steps, method, loss, seed))

    # --- Between images ---

    @library_call()
    def interpolate(
        self,
        a: Codes | Images,
        b: Codes | Images,
        steps: int = 9,
        method: str = "hybrid",
        loss: str | None = None,
        path: str = "chord",
    ) -> np.ndarray:
        """Renders the path from a to b, both included, (steps, H, W, C) uint8.

        Args:
            a, b: a code (d,) or one image, an array (H, W, C) or a tensor (C, H, W).
            method, loss: how codes of images are found, as in `invert`.
            path: chord: a straight line, or part of a great circle if codes lie on a sphere. graph: from training code
                to near training code, the shortest way; its images resemble these training images.
        """
        check_whole("steps", steps, 2)
        self._check_memory("steps", int(steps))
        start, end = (self._stops(batch_of_one(stop), method, loss) for stop in (a, b))
        return self._render_path(start, end, torch.linspace(0, 1, int(steps), dtype=torch.float32), path)

    @library_call()
    def tour(
        self,
        stops: Codes | Images,
        steps: int = 9,
        method: str = "hybrid",
        loss: str | None = None,
        path: str = "chord",
    ) -> np.ndarray:
        """Renders the closed path through M stops in their order, (M · steps, H, W, C) uint8.

        Args:
            stops: M codes or M images, M at least 2.
            steps: images from each stop, included, to the next, not included.
            method, loss: how codes of images are found, as in `invert`.
            path: from stop to stop, as in `interpolate`.
        """
        check_whole("steps", steps, 1)
        self._check_memory("steps", int(steps) * len(stops))
        codes = self._stops(stops, method, loss)
        if len(codes) < 2:
            raise UserError(f"stops: must be at least 2, got {len(codes)}.")
        return self._render_path(codes, codes.roll(-1, 0), times_of_a_leg(int(steps)), path)

    @library_call()
    def walk(self, stops: int = 8, steps: int = 12, seed: int = 0, path: str = "graph", tiles: int = 1) -> np.ndarray:
        """Renders closed walks through random training codes, (tiles, stops · steps, H, W, C) uint8.

        Args:
            stops: how many different training codes each walk passes; the seed draws them.
            steps: images from each stop, included, to the next, not included.
            path: from stop to stop, as in `interpolate`.
            tiles: how many walks.
        """
        for name, value, least in (("stops", stops, 2), ("steps", steps, 1), ("seed", seed, 0), ("tiles", tiles, 1)):
            check_whole(name, value, least)
        self._check_memory("steps", int(stops) * int(steps) * int(tiles))
        codes = self.ways.random_stops(int(stops), int(tiles), int(seed))
        images = self._render_path(
            codes.flatten(0, 1), codes.roll(-1, 1).flatten(0, 1), times_of_a_leg(int(steps)), path
        )
        return images.reshape(int(tiles), -1, *images.shape[1:])

    @library_call()
    def neighbours(
        self, images: Images, among: Images, k: int = 5, space: str = "pixels"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k images of `among` that are nearest to each of N images, the nearest first.

        Args:
            space: pixels in [0, 1], or features of the feature network that measured the model's metrics.

        Returns:
            Their rows (N, k) int64 and Euclidean distances (N, k) float64.
        """
        if space not in SPACES:
            raise UserError(f"space: must be one of {', '.join(SPACES)}, got {space!r}.")
        images, among = self._images(images), self._images(among, "among")
        check_whole("k", k, 1)
        if k > len(among):
            raise UserError(f"k: must be at most {len(among)}, the number of images to look among, got {k}.")
        points, others = (self._points(each, space) for each in (images, among))
        return nearest_rows(points, others, int(k))

    @library_call()
    def convert(
        self, images: Images, classes: Sequence[str] | None = None, method: str = "encoder", loss: str | None = None
    ) -> np.ndarray:
        """Renders each image in each of the classes, (N, K, H, W, C) uint8. It needs a model with classes.

        Args:
            classes: names of classes; None: all.
            method, loss: how the content of images is found, as in `invert`.
        """
        labels = class_labels(classes, self.classes)
        class_codes = self.bundle.class_codes[labels]
        content = torch.from_numpy(self.invert(images, method=method, loss=loss))[:, class_codes.shape[1] :]
        codes = [class_codes.repeat(len(content), 1), content.repeat_interleave(len(labels), 0)]
        rendered = self.decode(torch.cat(codes, dim=1))
        return rendered.reshape(len(content), len(labels), *rendered.shape[1:])

    # --- Parts ---

    def _images(self, images: Images, name: str = "images") -> np.ndarray:
        return read_arrays(images, self.config.image_size, self.config.channels, name)

    def _codes(self, codes: Codes) -> np.ndarray:
        return code_array(codes, self.config.dimension)

    def _check_memory(self, name: str, count: int) -> None:
        check_memory(name, count, self.config.image_size**2 * self.config.channels, self.config.dimension)

    def _stops(self, stops: Codes | Images, method: str, loss: str | None) -> Tensor:
        """Returns the codes (M, d) of M codes or images."""
        stops = stops if isinstance(stops, Tensor) else np.asarray(stops)
        codes = self._codes(stops) if stops.ndim == 2 else self.invert(stops, method=method, loss=loss)
        return torch.from_numpy(codes)

    def _render_path(self, start: Tensor, end: Tensor, times: Tensor, path: str) -> np.ndarray:
        return self.decode(self.ways.along(path).interpolate(start, end, times).flatten(0, 1))

    def _points(self, images: np.ndarray, space: str) -> Tensor:
        """Returns images as points (N, D) float64 of the space in which distances are measured."""
        if space == "pixels":
            return torch.from_numpy(images.reshape(len(images), -1) / 255)
        return image_features(images, self.bundle, self.runtime)
