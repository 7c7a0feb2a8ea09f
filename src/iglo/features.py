"""Features of images, batch by batch: a backbone's pooled features, or the pixels themselves."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from iglo.backbones import load_backbone, resized
from iglo.params import FeatureParams


class Pixels(nn.Module):
    """The features of no network: float images (B, C, H, W) flattened to (B, C·H·W)."""

    name = "pixels"

    def forward(self, images: torch.Tensor, image_size: int | None = None) -> torch.Tensor:
        return (resized(images, image_size) if image_size else images).flatten(1)


def load_features(network: str, weights: str, seed: int) -> nn.Module:
    """A frozen module with a `name`: (images in [0, 1] (B, C, H, W), image_size or None) to features (B, D)."""
    return Pixels() if network == "pixels" else load_backbone(network, weights, seed)


@torch.inference_mode()
def extract_features(
    images: np.ndarray,
    params: FeatureParams,
    seed: int,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
) -> tuple[str, np.ndarray]:
    """The network's name and the features of `images` (N, H, W, C) uint8: (N, D) float32.

    With `out`, the path of an .npy file, they are written there and returned as a memory map, so that memory holds
    one batch at a time.
    """
    network = load_features(params.network, params.weights, seed).to(device, memory_format=torch.channels_last)
    batches = _batches(network, images, params, device)
    if out is None:
        return network.name, np.concatenate(list(batches))
    with open(out, "wb") as file:  # a writable memory map would die of a bus error on a full disk
        for number, values in enumerate(batches):
            if number == 0:
                shape = (len(images), values.shape[1])
                np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.write(values.astype("<f4", copy=False).tobytes())
    return network.name, np.load(out, mmap_mode="r", allow_pickle=False)


def _batches(
    network: nn.Module, images: np.ndarray, params: FeatureParams, device: torch.device | str
) -> Iterator[np.ndarray]:
    for start in tqdm(range(0, len(images), params.batch_size), desc="features", unit="batch", disable=None):
        batch = torch.from_numpy(np.array(images[start : start + params.batch_size])).to(device)
        yield network(batch.permute(0, 3, 1, 2) / 255, params.image_size).float().cpu().numpy()
