"""The model: a generator, its codes and an encoder. It is saved in a folder."""

import math
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from iglo.errors import UserError
from iglo.files.io import read_json, write_json
from iglo.models.codes import Codes
from iglo.models.config import ModelConfig, config_record, parse_config
from iglo.runtime.device import Runtime

WIDEST = 1024  # width of an encoder, as in params.yaml


class GLOModel(nn.Module):
    """A generator, the codes of its training images and, once trained, an encoder.

    Attributes:
        config: the kind and the sizes of the model.
        codes: the learned codes; `codes(ids)` looks up those of a batch.
        encoder: finds the code of an image; None before it is trained.
    """

    def __init__(self, config: ModelConfig, generator: nn.Module, codes: Codes, encoder: nn.Module | None = None):
        super().__init__()
        self.config, self.generator, self.codes = config, generator, codes
        self.encoder = encoder

    def save(self, folder: Path, is_main: bool = True) -> None:
        """Writes the model into a folder. Each rank writes its own codes; the main rank also writes the rest."""
        self.codes.save(folder, is_main)
        if not is_main:
            return
        save_network(self.generator, folder / "generator.safetensors")
        width = None if self.encoder is None else self.encoder.width
        if width:
            save_network(self.encoder, folder / "encoder.safetensors")
        write_json(folder / "model.json", {"config": config_record(self.config), "encoder_width": width})

    @classmethod
    def load(cls, folder: str | Path, runtime: Runtime, kind: str | None = None) -> "GLOModel":
        """Reads the model that `save` wrote, with this rank's rows of the codes.

        Args:
            kind: the kind that the model must have; None: any.

        Raises:
            UserError: the folder holds no model of this kind.
        """
        folder = Path(folder)
        config, width = _read_config(folder)
        if kind not in (None, config.kind):
            raise UserError(f"{folder}: holds a model of kind {config.kind}, not {kind}; name another folder.")
        generator = runtime.to_device(load_network(config.generator(), folder / "generator.safetensors"))
        codes = Codes.load(folder, config.tables(), runtime).to(runtime.device)
        encoder = None
        if width:
            encoder = runtime.to_device(load_network(config.encoder(width), folder / "encoder.safetensors"))
        return cls(config, generator, codes, encoder)


def kind_of(folder: str | Path) -> str:
    """Reads the kind of the trained model in a folder.

    Raises:
        UserError: the folder holds no trained model.
        OSError: the folder cannot be read.
    """
    path = Path(folder) / "model.json"
    try:
        os.stat(path)
    except FileNotFoundError:
        raise UserError(
            f"{folder}: holds no trained model (there is no {path.name}); run `dvc repro` (for class and content in "
            "disentangle/), or name another folder."
        ) from None
    return _read_config(Path(folder))[0].kind


def _read_config(folder: Path) -> tuple[ModelConfig, int | None]:
    """Reads the config of a model and the width of its encoder (None: no encoder)."""
    path = folder / "model.json"
    record = read_json(path)
    try:
        config, width = parse_config(record["config"]), record["encoder_width"]
        if width is not None and not (type(width) is int and 1 <= width <= WIDEST):
            raise TypeError
        return config, width
    except (KeyError, TypeError, UserError):
        raise UserError(f"{path}: describes no model; run the stage that makes it again.") from None


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
    """Sets the batch-norm statistics to those over exactly `codes` (N, d).

    The running statistics of the training come from noisy codes and older weights.

    Args:
        runtime: if given, each rank has its own codes, and the statistics are over the codes of all ranks.
    """
    batches = math.ceil(len(codes) / batch_size)  # of equal size: update_bn gives each the same weight
    update_bn([codes[start::batches] for start in range(batches)], generator)
    if runtime is not None and runtime.ranks > 1:
        share = len(codes) / int(runtime.all_reduce(torch.tensor(len(codes))))
        for norm in generator.modules():
            if isinstance(norm, _BatchNorm):
                _merge_statistics(norm, share, runtime)


def _merge_statistics(norm: _BatchNorm, share: float, runtime: Runtime) -> None:
    """Merges the statistics of all ranks into the mean and the variance over the codes of all ranks.

    Args:
        share: this rank's share of all codes, in [0, 1].
    """
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    total_mean, total_square = runtime.all_reduce(torch.stack([mean, variance + mean.square()]) * share)
    norm.running_mean.copy_(total_mean)
    norm.running_var.copy_(total_square - total_mean.square())


@torch.inference_mode()
def render(generator: nn.Module, codes: Tensor, runtime: Runtime, batch_size: int = 256) -> np.ndarray:
    """Renders codes in evaluation mode and full precision: (N, d) → (N, H, W, C) float32 images in [0, 1]."""
    generator.eval()
    images = runtime.map_batches(lambda piece: generator(piece.to(runtime.device)).cpu(), codes.split(batch_size))
    return images.permute(0, 2, 3, 1).contiguous().numpy()


@torch.inference_mode()
def encode(
    encoder: nn.Module, images: np.ndarray, config: ModelConfig, runtime: Runtime, batch_size: int = 256
) -> Tensor:
    """Encodes images, and projects the codes by the geometry of the model: (N, H, W, C) uint8 → (N, d)."""
    encoder.eval()

    def codes_of(start: int) -> Tensor:
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(runtime.device)
        return encoder(batch.permute(0, 3, 1, 2).float() / 255).cpu()

    return config.geometry().project(runtime.map_batches(codes_of, range(0, len(images), batch_size)))
