"""Writes generator and encoder as ONNX files, for use without torch."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from iglo.errors import UserError
from iglo.models.config import ModelConfig
from iglo.models.geometry import Euclidean
from iglo.randomness import torch_generator

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # largest allowed difference between an output and torch's


class Projected(nn.Module):
    """An encoder that projects its codes to where codes may lie."""

    def __init__(self, encoder: nn.Module, geometry: Euclidean):
        super().__init__()
        self.encoder, self.geometry = encoder, geometry

    def forward(self, images: Tensor) -> Tensor:
        return self.geometry.project(self.encoder(images))


def check_onnx_packages() -> None:
    """Raises UserError if a package that writes or checks ONNX is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"onnx: needs the packages {', '.join(missing)}; run `pip install 'iglo[onnx]'`.")


def write_onnx(folder: Path, generator: nn.Module, encoder: nn.Module, config: ModelConfig) -> None:
    """Writes generator and encoder as two files, and checks them against torch.

    - generator.onnx: codes (N, d) → images (N, C, H, W) in [0, 1].
    - encoder.onnx: images (N, C, H, W) in [0, 1] → codes (N, d), projected to where codes may lie.

    Raises:
        UserError: the outputs of a file in onnxruntime differ from torch's by more than TOLERANCE.
    """
    rng = torch_generator(0, "onnx")
    codes = config.geometry().sample(3, config.dimension, rng)
    images = torch.rand(3, config.channels, config.image_size, config.image_size, generator=rng, dtype=torch.float32)
    _write(folder / "generator.onnx", generator, "codes", codes, "images")
    _write(folder / "encoder.onnx", Projected(encoder, config.geometry()), "images", images, "codes")


def _write(path: Path, network: nn.Module, given: str, example: Tensor, made: str) -> None:
    network = network.cpu().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own code
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[given],
            output_names=[made],
            dynamic_shapes=({0: torch.export.Dim("count")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    for batch in (example, example[:1]):
        with torch.no_grad():
            expected = network(batch).numpy()
        difference = np.abs(_run(path, given, batch) - expected).max()
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path.name}: differs from torch by {difference:.2g}, more than {TOLERANCE}; export without ONNX."
            )


def _run(path: Path, given: str, batch: Tensor) -> np.ndarray:
    import onnxruntime  # optional

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {given: batch.numpy()})[0]
