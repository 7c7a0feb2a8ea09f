"""Features of backbones and pixels, in memory and in a file."""

import numpy as np
import pytest
import torch

from iglo.backbones.networks import load_backbone
from iglo.params.pipeline import FeatureParams
from iglo.subsets.features import extract_features
from tests.tiny import RUNTIME


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


def test_features_of_a_backbone_in_batches_and_in_a_file(images, tmp_path):
    params = FeatureParams("resnet18", "random", image_size=24, batch_size=3)
    name, features = extract_features(images, params, 0, RUNTIME)
    assert name == "random_resnet18" and features.shape == (7, 512) and features.dtype == np.float32
    backbone = load_backbone("resnet18", "random", seed=0)
    with torch.no_grad():
        expected = backbone(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, image_size=24).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)

    images.flags.writeable = False  # as a memory map of prepared images is
    _, mapped = extract_features(images, params, 0, RUNTIME, out=tmp_path / "features.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), features)


def test_features_of_pixels_are_in_0_to_1(images):
    name, features = extract_features(images, FeatureParams("pixels", "random", None, 4), 0, RUNTIME)
    assert name == "pixels"
    np.testing.assert_allclose(features, images.transpose(0, 3, 1, 2).reshape(7, -1) / 255, rtol=1e-6)
    _, small = extract_features(images, FeatureParams("pixels", "random", 8, 4), 0, RUNTIME)
    assert small.shape == (7, 8 * 8 * 3)


def test_a_full_disk_raises_instead_of_killing_the_process(images):
    with pytest.raises(OSError, match="No space left"):
        extract_features(images, FeatureParams("pixels", "random", None, 4), 0, RUNTIME, out="/dev/full")
