"""A trained model in the user's hands: `iglo.load` and what can be done with what it returns.

Images that are given: arrays (N, H, W, C) or tensors (N, C, H, W), uint8 or float in [0, 1]. If their size or channels
are not the model's they are converted, with a warning that says what was done. Images that come back: arrays
(N, H, W, C) uint8. Codes that are given: arrays or tensors (N, d); that come back: arrays (N, d) float32.

The same seed gives the same bits on one machine and device.
"""

import dataclasses
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from iglo.data.user_images import read_arrays
from iglo.environment import memory
from iglo.errors import IgloWarning, UserError, shown, warn
from iglo.evaluation.feature_networks import load_feature_network
from iglo.export.bundle import Bundle, load_bundle
from iglo.latent import inversion
from iglo.latent.priors import Prior
from iglo.losses.distances import PIXEL_DISTANCES, Distance
from iglo.models.glo import encode, render
from iglo.params.run_record import Loss, Network
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, library_call, runtime_on
from iglo.training.glo_stages import make_distance

BATCH = 256
LOSSES = get_args(Loss.__annotations__["name"])
SPACES = ("pixels", "features")
FALLBACK = "l1"  # the distance that needs no weights

Images = np.ndarray | Tensor
Codes = np.ndarray | Tensor


class FallbackWarning(IgloWarning):
    """The weights of the loss are missing, so another distance is used to find codes."""


@library_call()
def load(path: str | Path, device: str | None = None) -> "LoadedModel":
    """The exported model in the folder `path`.

    Args:
        device: as torch names it; None: what IGLO_DEVICE says, else the first GPU if any.

    Raises:
        UserError: no exported model, one of a newer format, a damaged file, or no such device.
    """
    runtime = runtime_on(device)
    return LoadedModel(load_bundle(path, runtime), runtime)


class LoadedModel:
    """A generator with its encoder and prior. Every method raises UserError, of one sentence, for what it cannot use.

    Attributes:
        bundle: the networks themselves and all that is on record.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime):
        self.bundle, self.runtime = bundle, runtime
        self.shape, self.classes = bundle.config, bundle.config.classes
        self._warned = False

    def __repr__(self) -> str:
        config, record = self.bundle.config, self.bundle.record
        size = f"{config.image_size}x{config.image_size}x{config.channels}"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"<{type(self).__name__}: {config.kind}, {size} images, codes of {config.dimension}{classes}, "
            f"{record.codes.count} training images, on {self.runtime.device}>"
        )

    def info(self) -> dict[str, Any]:
        """What the model is, as plain values."""
        record = self.bundle.record
        return {
            "kind": self.bundle.config.kind,
            "format_version": record.version,
            **dataclasses.asdict(self.shape),
            "dimension": self.shape.dimension,
            "encoder_width": record.encoder_width,
            "generator_weights": sum(each.numel() for each in self.bundle.generator.parameters()),
            "encoder_weights": sum(each.numel() for each in self.bundle.encoder.parameters()),
            "prior": record.prior,
            "training_images": record.codes.count,
            "mean_code_length": record.codes.length,
            "loss": record.loss.name,
            "seed": record.seed,
            "device": str(self.runtime.device),
            **({"classes": list(self.classes)} if self.classes else {}),
        }

    # --- Codes to images ---

    def sample(
        self, n: int, seed: int = 0, prior: Prior | None = None, classes: Sequence[str] | None = None
    ) -> np.ndarray:
        """n new images, (n, H, W, C) uint8.

        Args:
            prior: None: the model's own.
            classes: of a model with classes: those that the images take in turn; None: all.
        """
        return self.decode(self.draw_codes(n, seed, prior, classes))

    @library_call()
    def draw_codes(
        self, n: int, seed: int = 0, prior: Prior | None = None, classes: Sequence[str] | None = None
    ) -> np.ndarray:
        """(n, d) codes of n new images; arguments as `sample`."""
        _check_whole("n", n, 1)
        _check_whole("seed", seed, 0)
        self._check_memory("n", int(n))
        if classes is not None or self.classes:
            labels = self._labels(classes)
        drawn = (prior or self.bundle.prior).draw(int(n), torch_generator(int(seed), "samples"))
        if self.classes:
            turns = torch.tensor(labels).repeat(-(-int(n) // len(labels)))[: int(n)]
            drawn = torch.cat([self.bundle.class_codes[turns], drawn], dim=1)
        return drawn.numpy()

    @library_call()
    def decode(self, codes: Codes, floats: bool = False) -> np.ndarray:
        """(N, d) codes → (N, H, W, C) images: uint8, or with `floats` float32 in [0, 1]; codes are not projected."""
        pieces = torch.from_numpy(self._checked_codes(codes)).split(BATCH)
        images = []
        for piece in bar(pieces, desc="decoding", unit="batch"):
            drawn = render(self.bundle.generator, piece, self.runtime, BATCH)
            if not np.isfinite(drawn).all():
                raise UserError("codes: their images are not finite; take smaller codes, or export the model again.")
            images.append(_as_asked(drawn, floats))
        return np.concatenate(images)

    # --- Images to codes ---

    @library_call()
    def encode(self, images: Images) -> np.ndarray:
        """Images → (N, d) codes, as the encoder reads them; `invert` finds better ones."""
        images = self._images(images)
        codes = [
            encode(self.bundle.encoder, images[start : start + BATCH], self.shape, self.runtime, BATCH)
            for start in bar(range(0, len(images), BATCH), desc="encoding", unit="batch")
        ]
        return torch.cat(codes).numpy()

    @library_call()
    def invert(
        self,
        images: Images,
        steps: int | None = None,
        method: str = "hybrid",
        loss: str | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Finds (N, d) codes whose images are as near as possible to the given images.

        Args:
            steps: most steps of optimisation; None: depends on the method.
            method: encoder; optimize (from random codes); or hybrid (optimize from the encoder's codes).
            loss: perceptual, l1, l2, l1_l2 or lap_l1; None: the loss of the training, or l1 with a warning if its
                weights are missing.
            seed: seed of the random codes.
        """
        if steps is not None:
            _check_whole("steps", steps, 1)
        _check_whole("seed", seed, 0)
        _check_loss(loss)
        if method == "encoder":
            return self.encode(images)
        images, distance = self._images(images), self._distance(loss)
        found = inversion.invert(
            self.bundle, images, distance, self.runtime, method=method, steps=steps, seed=int(seed)
        )
        return found.codes.cpu().numpy()

    def reconstruct(
        self,
        images: Images,
        steps: int | None = None,
        method: str = "hybrid",
        loss: str | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Images as the model draws them, (N, H, W, C) uint8; arguments as `invert`."""
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
    ) -> np.ndarray:
        """The path from a to b, both included, (steps, H, W, C) uint8.

        It is a part of a great circle if codes lie on a sphere, else a straight line.

        Args:
            a, b: a code (d,) or one image, an array (H, W, C) or a tensor (C, H, W).
            method, loss: how codes of images are found, as in `invert`.
        """
        _check_whole("steps", steps, 2)
        self._check_memory("steps", int(steps))
        start, end = (self._stops(_one(stop), method, loss) for stop in (a, b))
        return self._drawn_path(start, end, torch.linspace(0, 1, int(steps), dtype=torch.float32))

    @library_call()
    def tour(
        self, stops: Codes | Images, steps: int = 9, method: str = "hybrid", loss: str | None = None
    ) -> np.ndarray:
        """The closed path through M stops in their order, (M · steps, H, W, C) uint8.

        Args:
            stops: M codes or M images, M at least 2.
            steps: images from each stop, included, to the next, not included.
            method, loss: as in `interpolate`.
        """
        _check_whole("steps", steps, 1)
        self._check_memory("steps", int(steps) * len(stops))
        codes = self._stops(stops, method, loss)
        if len(codes) < 2:
            raise UserError(f"stops: must be at least 2, got {len(codes)}.")
        return self._drawn_path(
            codes, codes.roll(-1, 0), torch.linspace(0, 1, int(steps) + 1, dtype=torch.float32)[:-1]
        )

    @library_call()
    def neighbours(
        self, images: Images, among: Images, k: int = 5, space: str = "pixels"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of each of N images the k nearest of M others, nearest first.

        Args:
            space: pixels in [0, 1], or features of the network that judged the model's metrics.

        Returns:
            Their rows (N, k) int64 and Euclidean distances (N, k) float64.
        """
        if space not in SPACES:
            raise UserError(f"space: must be one of {', '.join(SPACES)}, got {space!r}.")
        images, among = self._images(images), self._images(among, "among")
        _check_whole("k", k, 1)
        if k > len(among):
            raise UserError(f"k: must be at most {len(among)}, the number of images to look among, got {k}.")
        points, others = (self._features(each, space) for each in (images, among))
        nearest = []
        for piece in bar(points.split(64), desc="neighbours", unit="batch"):
            # by subtraction: exactly 0 for a copy
            distances = torch.cdist(piece, others, compute_mode="donot_use_mm_for_euclid_dist")
            nearest.append(distances.topk(int(k), largest=False))
        rows, distances = (torch.cat([getattr(found, name) for found in nearest]) for name in ("indices", "values"))
        return rows.numpy(), distances.numpy()

    @library_call()
    def convert(
        self,
        images: Images,
        classes: Sequence[str] | None = None,
        method: str = "encoder",
        loss: str | None = None,
    ) -> np.ndarray:
        """Draws each image in each of the classes, (N, K, H, W, C) uint8. It needs a model with classes.

        Args:
            classes: names of classes; None: all.
            method, loss: how the content of images is found, as in `invert`.
        """
        labels = self._labels(classes)
        content = torch.from_numpy(self.invert(images, method=method, loss=loss))[:, self.shape.class_dimension :]
        codes = [self.bundle.class_codes[labels].repeat(len(content), 1), content.repeat_interleave(len(labels), 0)]
        drawn = self.decode(torch.cat(codes, dim=1))
        return drawn.reshape(len(content), len(labels), *drawn.shape[1:])

    # --- What users give, checked ---

    def _images(self, images: Images, name: str = "images") -> np.ndarray:
        return read_arrays(images, self.shape.image_size, self.shape.channels, name)

    def _checked_codes(self, codes: Codes) -> np.ndarray:
        array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else np.asarray(codes)
        wanted = self.shape.dimension
        if array.ndim != 2 or array.shape[1] != wanted or not len(array) or array.dtype.kind not in "fiu":
            raise UserError(
                f"codes: must be numbers (N, {wanted}) with N at least 1, got {array.dtype} {tuple(array.shape)}."
            )
        array = np.ascontiguousarray(array, np.float32)
        if bad := int((~np.isfinite(array)).any(axis=1).sum()):
            raise UserError(f"codes: must be finite, but {bad} of {len(array)} hold NaN or infinity; leave them out.")
        return array

    def _labels(self, classes: Sequence[str] | None) -> list[int]:
        if not self.classes:
            raise UserError("classes: this model has none; take one of class and content.")
        names = list(self.classes if classes is None else classes)
        if not names:
            raise UserError(f"classes: must name at least one of {', '.join(self.classes)}.")
        for name in names:
            if name not in self.classes:
                close = difflib.get_close_matches(str(name), self.classes, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(self.classes)}."
                raise UserError(f"classes: the model has no class {name!r}; {hint}")
        return [self.classes.index(name) for name in names]

    def _distance(self, loss: str | None) -> Distance:
        record = self.bundle.record
        wanted = record.loss if loss is None else dataclasses.replace(record.loss, name=loss)
        try:
            if wanted.name == "perceptual":
                wanted = self._with_weights(wanted, "loss.weights")
            return make_distance(dataclasses.replace(record, loss=wanted), self.runtime)
        except UserError as error:
            reason = str(error).rstrip(".")
        if loss is not None:
            raise UserError(f"{reason}; or take another loss, such as {FALLBACK}, which needs no weights.")
        if not self._warned:
            warn(
                f"loss: the model was trained with {wanted.name}, which does not work here ({reason}); {FALLBACK} is "
                f"used instead. Name a loss to choose another.",
                FallbackWarning,
            )
        self._warned = True
        return PIXEL_DISTANCES[FALLBACK]().to(self.runtime.device)

    def _with_weights(self, network: Network, key: str) -> Any:
        """The network with the path of its weights here: in the model's folder, or the path of the training.

        Only a regular file is opened: opening a pipe, for example, could wait for ever.
        """
        if network.weights in ("imagenet", "random"):
            return network
        name = Path(network.weights).name
        for path in (self.bundle.folder / name, Path(network.weights)):
            if os.path.isfile(path):
                return dataclasses.replace(network, weights=str(path))
        folder = shown(str(self.bundle.folder))
        raise UserError(f"{key}: there is no file {shown(name)} here; put it into {folder}.")

    def _check_memory(self, name: str, count: int) -> None:
        """Raises UserError if so many images do not fit into memory."""
        shape = self.shape
        image = shape.image_size**2 * shape.channels
        needed, there = count * (2 * image + 8 * shape.dimension), memory()  # twice: as parts and as one array
        if needed > there:
            raise UserError(
                f"{name}: {count} images take about {needed / 2**30:,.0f} GiB of memory, and this machine has "
                f"{there / 2**30:,.0f} GiB; ask for fewer."
            )

    # --- Parts ---

    def _stops(self, stops: Codes | Images, method: str, loss: str | None) -> Tensor:
        """(M, d) codes of M codes or images."""
        stops = stops if isinstance(stops, Tensor) else np.asarray(stops)
        codes = self._checked_codes(stops) if stops.ndim == 2 else self.invert(stops, method=method, loss=loss)
        return torch.from_numpy(codes)

    def _drawn_path(self, start: Tensor, end: Tensor, times: Tensor) -> np.ndarray:
        return self.decode(self.shape.geometry().interpolate(start, end, times).flatten(0, 1))

    def _features(self, images: np.ndarray, space: str) -> Tensor:
        """(N, D) float64."""
        if space == "pixels":
            return torch.from_numpy(images.reshape(len(images), -1) / 255)
        feature_network, seed = self.bundle.record.feature_network, self.bundle.record.seed
        if feature_network is None:
            raise UserError("space: 'features' needs a network, and this model has none on record; take 'pixels'.")
        feature_network = self._with_weights(feature_network, "feature_network.weights")
        _, features = load_feature_network(feature_network.network, feature_network.weights, seed, self.runtime.device)
        batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(BATCH)
        found = [features(batch.float() / 255).cpu() for batch in bar(batches, desc="features", unit="batch")]
        return torch.cat(found).double()


def _as_asked(images: np.ndarray, floats: bool) -> np.ndarray:
    """Converts images in [0, 1] to 8 bits, unless `floats`."""
    return images if floats else np.rint(255 * images).astype(np.uint8)


def _check_loss(loss: str | None) -> None:
    if loss is not None and loss not in LOSSES:
        raise UserError(f"loss: must be one of {', '.join(LOSSES)}, got {loss!r}.")


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"{name}: must be a whole number of at least {least}, got {value!r}.")


def _one(stop: Codes | Images) -> Codes | Images:
    """One code or image as a batch of one."""
    stop = stop if isinstance(stop, Tensor) else np.asarray(stop)
    batch = stop[None] if stop.ndim in (1, 3) else stop
    if batch.ndim == 0 or len(batch) != 1:
        raise UserError(
            f"a, b: must be one code or one image each, got {tuple(batch.shape)}; `tour` goes through many."
        )
    return batch
