"""Extracts features of images: the pooled features of a backbone, or the pixels themselves."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from iglo.files.io import read_array, write_rows
from iglo.params.pipeline import FeatureParams
from iglo.params.validate import within
from iglo.progress import bar
from iglo.runtime.device import Runtime


class Pixels(nn.Module):
    """Pixels as features: float images (B, C, H, W) flattened to (B, C·H·W)."""

    name = "pixels"

    def forward(self, images: torch.Tensor, image_size: int | None = None) -> torch.Tensor:
        if image_size:
            from iglo.backbones.backbone import resized  # here, because torchvision takes a second

            images = resized(images, image_size)
        return images.flatten(1)


def load_features(network: str, weights: str, seed: int) -> nn.Module:
    """Loads a frozen module with a `name`: images in [0, 1] (B, C, H, W), and a size or None, to features (B, D)."""
    if network == "pixels":
        return Pixels()
    from iglo.backbones.networks import load_backbone  # here, because torchvision takes a second

    return load_backbone(network, weights, seed)


@torch.inference_mode()
def extract_features(
    images: np.ndarray, params: FeatureParams, seed: int, runtime: Runtime, out: str | Path | None = None
) -> tuple[str, np.ndarray]:
    """Returns the network's name and the features of `images` (N, H, W, C) uint8: (N, D) float32.

    Args:
        out: path of an .npy file, to which each rank writes its features; then they are returned as a memory map, and
            memory holds one batch at a time. None: all features are in memory.
    """
    with within("features."):
        network = load_features(params.network, params.weights, seed)
    network = runtime.to_device(network)
    starts = range(0, len(images), params.batch_size)
    if out is None:
        return network.name, runtime.map_batches(partial(_features, network, images, params, runtime), starts).numpy()
    for start in bar(
        starts[runtime.local_slice(len(starts))], desc="features", unit="batch", hidden=not runtime.is_main
    ):
        write_rows(out, _features(network, images, params, runtime, start).numpy(), start, len(images))
    runtime.barrier()
    return network.name, read_array(out, mmap="r")


def _features(
    network: nn.Module, images: np.ndarray, params: FeatureParams, runtime: Runtime, start: int
) -> torch.Tensor:
    """Returns the features (B, D) of the batch that begins at `start`."""
    batch = torch.from_numpy(np.array(images[start : start + params.batch_size])).to(runtime.device)
    return network(batch.permute(0, 3, 1, 2) / 255, params.image_size).float().cpu()
