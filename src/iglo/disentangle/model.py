"""One code per class and one per image, learned together with a generator of both (LORD: Gabbay & Hoshen 2019).

The table of codes has two factors instead of one; loop, terms and encoders are those of GLO.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_array, write_json
from iglo.losses.distances import Distance
from iglo.losses.terms import CodeDecay, Continuity, Reconstruction
from iglo.models.codes import Factor, LatentTable, normal_codes, pca_codes
from iglo.models.geometry import Euclidean, make_geometry
from iglo.models.glo import load_network, save_network
from iglo.models.networks import Generator, ModulatedGenerator, PairEncoder, initialise
from iglo.models.snapshots import Snapshots
from iglo.params.fields import Channels, ImageSize, PositiveInt
from iglo.params.run_record import RunRecord, parse_run
from iglo.params.sections import ClassContentParams
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime
from iglo.training.batches import Schedule
from iglo.training.callbacks import SnapshotCallback
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.glo_stages import Plan, learn_plan
from iglo.training.loop import MakeCallback, Progress
from iglo.training.optimizers import RowAdam, network_optimizer

FEWEST_PER_CLASS = 2  # of one image, nothing says what its class is and what its content


@dataclass(frozen=True)
class ClassContentShape:
    """All that is needed to build the networks again."""

    class_dimension: PositiveInt
    content_dimension: PositiveInt
    image_size: ImageSize
    channels: Channels
    width: PositiveInt
    combine: Literal["concat", "film"]

    @property
    def dimension(self) -> int:
        """Of both codes side by side."""
        return self.class_dimension + self.content_dimension

    def geometry(self) -> Euclidean:
        """Of both codes side by side."""
        return make_geometry("none", None, self.dimension)

    def generator(self) -> nn.Module:
        if self.combine == "film":
            dimensions = (self.class_dimension, self.content_dimension)
            return ModulatedGenerator(*dimensions, self.image_size, self.channels, self.width)
        return Generator(self.dimension, self.image_size, self.channels, self.width)

    def encoder(self, width: int) -> PairEncoder:
        return PairEncoder(self.class_dimension, self.content_dimension, self.image_size, self.channels, width)


class ClassContentModel(nn.Module):
    """Generator, class codes and content codes. An image's code is its class code followed by its content code.

    Attributes:
        classes: K names, in the order of the class codes.
        labels: (N,) int64, the class of every training image.
        snapshots: how the same images are drawn in the course of training.
        log: a row per stage and epoch.
        encoder: finds both codes of an image; None before it is trained.
        run: values of the stage that last trained the generator, or None.
    """

    def __init__(
        self,
        shape: ClassContentShape,
        generator: nn.Module,
        class_codes: Tensor,
        content_codes: Tensor,
        labels: np.ndarray,
        classes: Sequence[str],
        snapshots: Snapshots,
    ):
        super().__init__()
        self.shape, self.generator = shape, generator
        self.labels, self.classes, self.snapshots = labels, tuple(classes), snapshots
        free = (make_geometry("none", None, codes.shape[1]) for codes in (class_codes, content_codes))
        class_factor = Factor(class_codes, next(free), torch.from_numpy(labels), noisy=False)
        self.table = LatentTable(**{"class": class_factor, "content": Factor(content_codes, next(free))})
        self.log: list[dict[str, Any]] = []
        self.encoder: PairEncoder | None = None
        self.run: RunRecord | None = None

    @property
    def class_codes(self) -> Tensor:
        """(K, class) a code per class."""
        return self.table.factors["class"].codes.detach()

    @property
    def content_codes(self) -> Tensor:
        """(N, content) a code per training image."""
        return self.table.factors["content"].codes.detach()

    @property
    def codes(self) -> Tensor:
        """(N, class + content) both codes of every training image."""
        return self.combined(self.labels, self.content_codes)

    def codes_of(self, ids: np.ndarray) -> Tensor:
        """(B, class + content) both codes of some training images."""
        return self.codes[torch.from_numpy(ids)]

    def combined(self, labels: np.ndarray, content: Tensor) -> Tensor:
        """(M,) classes and (M, content) codes → (M, class + content)."""
        return torch.cat([self.class_codes[torch.from_numpy(labels)], content.to(self.class_codes.device)], dim=1)

    def save(self, folder: Path) -> None:
        save_network(self.generator, folder / "generator.safetensors")
        arrays = {"class_codes": self.class_codes, "content_codes": self.content_codes}
        for name, codes in arrays.items():
            write_array(folder / f"{name}.npy", codes.cpu().numpy())
        write_array(folder / "labels.npy", self.labels)
        self.snapshots.save(folder)
        width = None if self.encoder is None else self.encoder.width
        if width:
            save_network(self.encoder, folder / "encoder.safetensors")
        record = {"class_content": asdict(self.shape), "classes": self.classes, "encoder_width": width, "log": self.log}
        record["run"] = self.run and asdict(self.run)
        write_json(folder / "model.json", record)

    @classmethod
    def load(cls, folder: str | Path, runtime: Runtime) -> "ClassContentModel":
        """The model in a folder that `save` wrote; UserError when it is not one."""
        folder = Path(folder)
        record = read_json(folder / "model.json")
        try:
            shape, classes = ClassContentShape(**record["class_content"]), record["classes"]
            width, log, run = record["encoder_width"], record["log"], parse_run(record)
        except (KeyError, TypeError, UserError):
            raise UserError(
                f"{folder / 'model.json'}: describes no model of class and content; run the stage that makes it again."
            ) from None
        codes = [torch.from_numpy(read_array(folder / f"{name}_codes.npy")) for name in ("class", "content")]
        generator = runtime.to_device(load_network(shape.generator(), folder / "generator.safetensors"))
        labels = read_array(folder / "labels.npy")
        model = cls(shape, generator, *codes, labels, classes, Snapshots.load(folder)).to(runtime.device)
        model.log, model.run = log, run
        if width:
            model.encoder = runtime.to_device(load_network(shape.encoder(width), folder / "encoder.safetensors"))
        return model


def start_class_content(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], params: ClassContentParams, runtime: Runtime
) -> ClassContentModel:
    """An untrained generator, and starting codes N(0, I) for classes and images (content: or from PCA).

    Args:
        images: (N, H, W, C) uint8, the training images.
        labels: (N,) int64, the class of each; `classes` has the names.

    Raises:
        UserError: no labels, one class, or a class with one image.
    """
    check_classes(labels, classes, params)
    latent, data = params.latent, params.data
    shape = ClassContentShape(
        latent.class_dimension,
        latent.content_dimension,
        data.image_size,
        data.channels,
        params.generator.width,
        params.combine,
    )
    generator = initialise(shape.generator(), torch_generator(params.seed, "generator"))
    geometry = make_geometry("none", None, latent.content_dimension)
    rng = torch_generator(params.seed, "content codes")
    if latent.content_init == "pca":
        content = pca_codes(images, latent.content_dimension, geometry, rng)
    else:
        content = normal_codes(len(images), latent.content_dimension, geometry, rng)
    free = make_geometry("none", None, latent.class_dimension)
    rng = torch_generator(params.seed, "class codes")
    class_codes = normal_codes(len(classes), latent.class_dimension, free, rng)
    snapshots = Snapshots.drawn(np.arange(len(images)), len(images), params.seed)
    model = ClassContentModel(shape, runtime.to_device(generator), class_codes, content, labels, classes, snapshots)
    return model.to(runtime.device)


def check_classes(labels: np.ndarray, classes: Sequence[str], params: ClassContentParams) -> None:
    """Refuses data in which class and content cannot be told apart."""
    if "" in classes:
        raise UserError("data: some images have no label; put the images of each class into a folder of its own.")
    counts = Counter(labels.tolist())
    if len(counts) < 2:
        raise UserError(
            f"data.classes: at least two classes are needed among the training images, got {len(counts)}: "
            f"{', '.join(classes[label] for label in counts)}."
        )
    for label, name in enumerate(classes):
        if counts[label] < FEWEST_PER_CLASS:
            raise UserError(
                f"data.classes: class {name!r} has {counts[label]} of the training images; at least "
                f"{FEWEST_PER_CLASS} are needed to tell class from content."
            )
    if len(classes) > 2**params.latent.class_dimension:
        raise UserError(
            f"latent.class_dimension: {params.latent.class_dimension} cannot tell {len(classes)} classes apart; use at "
            f"least {int(np.ceil(np.log2(len(classes))))}."
        )


def learn_class_content(
    model: ClassContentModel,
    images: np.ndarray,
    distance: Distance,
    params: ClassContentParams,
    runtime: Runtime,
    checkpoints: CheckpointFolder | None = None,
    make_callback: MakeCallback | None = None,
) -> Progress:
    """min over G, class codes e and content codes c of Σ ‖G(e_y, c_x + ε), x‖ + decay·‖c_x‖², ε ~ N(0, σ²I)."""
    SnapshotCallback(model.snapshots, model.generator, "train", runtime, len(images)).take(model, 0)
    rendered = Continuity(params.sigma, name="reconstruction") if params.sigma else Reconstruction()
    section, rates, factors = params.train, params.optimizer, model.table.factors
    plan = Plan(
        [(1.0, rendered), (params.decay, CodeDecay("content"))],
        {"current": Schedule(np.arange(len(images)), section.batch_size)},
    )
    optimizers = [
        network_optimizer("adam", model.generator, rates.generator_rate),
        RowAdam([factors["class"]], rates.class_rate),
        RowAdam([factors["content"]], rates.content_rate),
    ]
    return learn_plan(
        model, images, distance, plan, "train", section.epochs, optimizers, params, runtime, checkpoints, make_callback
    )
