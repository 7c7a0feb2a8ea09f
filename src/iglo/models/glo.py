"""The model: a generator, its table of codes and, in the end, an encoder; and the folder that holds them."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_array, write_json, write_rows
from iglo.models.codes import Factor, LatentTable
from iglo.models.geometry import make_geometry
from iglo.models.networks import Encoder, Generator
from iglo.models.snapshots import Snapshots
from iglo.params.fields import Channels, ImageSize, PositiveInt, Rate
from iglo.params.run_record import RunRecord, parse_run
from iglo.runtime.device import Runtime


@dataclass(frozen=True)
class Shape:
    """All that is needed to build the networks again."""

    dimension: PositiveInt
    image_size: ImageSize
    channels: Channels
    width: PositiveInt
    constraint: Literal["none", "ball", "sphere"]
    radius: Rate | None

    def geometry(self):
        return make_geometry(self.constraint, self.radius, self.dimension)

    def generator(self) -> Generator:
        return Generator(self.dimension, self.image_size, self.channels, self.width)

    def encoder(self, width: int) -> Encoder:
        return Encoder(self.dimension, self.image_size, self.channels, width)


class Model(nn.Module):
    """Generator and codes, with the record of the stages so far.

    Attributes:
        subset_id: (N,) int32, the round that first learned each image's code; 0: none yet.
        snapshots: how the same images are drawn after each stage.
        log: a row per stage and epoch.
        encoder: finds the code of an image; None before it is trained.
        run: values of the stage that last trained the generator, or None.
    """

    def __init__(
        self, shape: Shape, generator: nn.Module, table: LatentTable, subset_id: np.ndarray, snapshots: Snapshots
    ):
        super().__init__()
        self.shape, self.generator, self.table = shape, generator, table
        self.subset_id, self.snapshots = subset_id, snapshots
        self.log: list[dict[str, Any]] = []
        self.encoder: Encoder | None = None
        self.run: RunRecord | None = None

    @property
    def codes(self) -> Tensor:
        """(N, d) the code of every training image; of several ranks, the block of this one."""
        return self.table.factors["image"].codes.detach()

    def codes_of(self, ids: np.ndarray) -> Tensor:
        """(B, d) the codes of images that are this rank's."""
        return self.codes[self.table.factors["image"].rows(torch.from_numpy(ids))]

    def save(self, folder: Path) -> None:
        """Writes the model; of several ranks, each its own codes, and the one with the first of them the rest."""
        first = self.table.factors["image"].first
        write_rows(folder / "codes.npy", self.codes.cpu().numpy(), first, len(self.subset_id))
        if first:
            return
        save_network(self.generator, folder / "generator.safetensors")
        write_array(folder / "subset_id.npy", self.subset_id)
        self.snapshots.save(folder)
        width = None if self.encoder is None else self.encoder.width
        if width:
            save_network(self.encoder, folder / "encoder.safetensors")
        record = {
            "shape": asdict(self.shape),
            "encoder_width": width,
            "log": self.log,
            "run": self.run and asdict(self.run),
        }
        write_json(folder / "model.json", record)

    @classmethod
    def load(cls, folder: str | Path, runtime: Runtime) -> "Model":
        """The model in a folder that `save` wrote, with this rank's block of the codes; UserError when it is not one.

        Codes are mapped: those that are not asked for stay on disk, those that are learned in memory.
        """
        folder = Path(folder)
        record = read_json(folder / "model.json")
        try:
            shape, width, log = Shape(**record["shape"]), record["encoder_width"], record["log"]
            run = parse_run(record)
        except (KeyError, TypeError, UserError):
            raise UserError(
                f"{folder / 'model.json'}: describes no model; run the stage that makes it again."
            ) from None
        subset_id = read_array(folder / "subset_id.npy")
        block = runtime.local_slice(len(subset_id))
        codes = torch.from_numpy(np.asarray(read_array(folder / "codes.npy", mmap="c")[block]))
        snapshots = Snapshots.load(folder)
        generator = load_network(shape.generator(), folder / "generator.safetensors")
        table = LatentTable(image=Factor(codes, shape.geometry(), first=block.start))
        model = cls(shape, runtime.to_device(generator), table.to(runtime.device), subset_id, snapshots)
        model.log, model.run = log, run
        if width:
            model.encoder = runtime.to_device(load_network(shape.encoder(width), folder / "encoder.safetensors"))
        return model


def save_network(network: nn.Module, path: Path) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}, path)


def load_network(network: nn.Module, path: Path) -> nn.Module:
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        raise UserError(f"{path}: holds no weights of this network; run the stage that makes it again.") from None
    return network


@torch.no_grad()
def recalibrate_bn(generator: nn.Module, codes: Tensor, runtime: Runtime | None = None, batch_size: int = 256) -> None:
    """Batch-norm statistics over exactly `codes` (N, d): those of training mix in noise and older weights.

    Args:
        runtime: of ranks that each bring codes of their own; the statistics are over all of them.
    """
    batches = math.ceil(len(codes) / batch_size)  # of equal size, for update_bn gives each the same weight
    update_bn([codes[start::batches] for start in range(batches)], generator)
    if runtime is not None and runtime.ranks > 1:
        share = len(codes) / int(runtime.all_reduce(torch.tensor(len(codes))))
        for norm in generator.modules():
            if isinstance(norm, _BatchNorm):
                _join_statistics(norm, share, runtime)


def _join_statistics(norm: _BatchNorm, share: float, runtime: Runtime) -> None:
    """Sets mean and variance to those over the codes of all ranks, with the differences between the ranks' means.

    Args:
        share: the share of all codes that this rank has.
    """
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    first, second = runtime.all_reduce(torch.stack([mean, variance + mean.square()]) * share)
    norm.running_mean.copy_(first)
    norm.running_var.copy_(second - first.square())


@torch.inference_mode()
def decode(generator: nn.Module, codes: Tensor, runtime: Runtime, batch_size: int = 256) -> np.ndarray:
    """(N, d) codes → (N, H, W, C) float32 images in [0, 1], the generator in evaluation mode, in full precision."""
    generator.eval()
    images = runtime.map_batches(lambda piece: generator(piece.to(runtime.device)).cpu(), codes.split(batch_size))
    return images.permute(0, 2, 3, 1).contiguous().numpy()


@torch.inference_mode()
def encode(encoder: nn.Module, images: np.ndarray, shape: Shape, runtime: Runtime, batch_size: int = 256) -> Tensor:
    """(N, H, W, C) uint8 → (N, d) codes, projected to where codes may lie."""
    encoder.eval()

    def codes_of(start: int) -> Tensor:
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(runtime.device)
        return encoder(batch.permute(0, 3, 1, 2).float() / 255).cpu()

    return shape.geometry().project(runtime.map_batches(codes_of, range(0, len(images), batch_size)))
