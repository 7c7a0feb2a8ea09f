"""LPIPS against its formula and against the lpips package; features of a feature network."""

import hashlib
import warnings

import lpips
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from iglo.backbones.networks import load_backbone
from iglo.evaluation.feature_networks import FeatureNetwork, load_feature_network, lpips_distance
from tests.tiny import RUNTIME, tiny_params


def pair(side=32, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, channels, side, side, generator=generator)


def uncalibrated(taps_a, taps_b):
    """LPIPS without calibration: Zhang et al. 2018, equation 1, with all weights 1."""
    total = 0
    for a, b in zip(taps_a, taps_b, strict=True):
        a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in (a, b))
        total = total + (a - b).square().sum(1).mean(dim=(1, 2))
    return total


def normalised(images):
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return (images - mean) / std


def outputs(layers, kind, images):
    """The outputs of the layers of one kind, in order."""
    h, found = normalised(images), []
    for layer in layers:
        h = layer(h)
        if isinstance(layer, kind):
            found.append(h.clone())
    return found


def test_random_alexnet_by_the_formula():
    a, b = pair()
    name, distance = lpips_distance("alex", "random", seed=0)
    assert name == "lpips_random_alex"
    layers = load_backbone("alexnet", "random", seed=0).body.features[:-1]
    with torch.no_grad():
        expected = uncalibrated(*(outputs(layers, torch.nn.ReLU, x) for x in (a, b)))
    torch.testing.assert_close(distance(a, b), expected, rtol=1e-3, atol=1e-5)


def test_a_resnet_is_compared_at_its_stem_and_layers():
    a, b = pair()
    name, distance = lpips_distance("resnet18", "random", seed=0)
    assert name == "lpips_random_resnet18"
    layers = list(load_backbone("resnet18", "random", seed=0).body.children())[:8]
    with torch.no_grad():
        expected = uncalibrated(*(outputs(layers, (torch.nn.ReLU, torch.nn.Sequential), x) for x in (a, b)))
    torch.testing.assert_close(distance(a, b), expected, rtol=1e-3, atol=1e-5)


def test_imagenet_weights_give_the_calibrated_distance_of_the_package(tmp_path, monkeypatch):
    stand_in = models.alexnet(weights=None)
    state = stand_in.state_dict()
    for key in [key for key in state if key.startswith("classifier.")]:  # unused, so the file is small
        state[key] = torch.zeros(1).expand(state[key].shape)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "partial")
    digest = hashlib.sha256((folder / "partial").read_bytes()).hexdigest()[:8]
    (folder / "partial").rename(folder / f"stand_in-{digest}.pth")
    monkeypatch.setattr(models.AlexNet_Weights.DEFAULT.value, "url", f"https://example.invalid/stand_in-{digest}.pth")

    a, b = pair()
    name, distance = lpips_distance("alexnet", "imagenet", seed=0)
    assert name == "lpips_alex"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        package = lpips.LPIPS(net="alex", verbose=False)
        torch.testing.assert_close(distance(a, b), package(2 * a - 1, 2 * b - 1).flatten())


@pytest.mark.parametrize("network", ["alex", "squeeze", "vgg11", "resnet18"])
def test_every_size_and_grey_images(network):
    _, distance = lpips_distance(network, "random", seed=0)
    for side, channels in ((16, 1), (64, 3)):
        a, b = pair(side, channels)
        values = distance(a, b)
        assert values.shape == (3,) and torch.all(values > 0)
        assert torch.equal(values, distance(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)))
    assert torch.equal(distance(a, a), torch.zeros(3))


def test_networks_depend_on_the_seed_and_print_nothing_and_use_no_global_randomness(capfd, recwarn):
    a, b = pair()
    before = torch.random.get_rng_state()
    values = [lpips_distance("alex", "random", seed)[1](a, b) for seed in (0, 0, 1)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capfd.readouterr() == ("", "") and not recwarn.list


@pytest.mark.parametrize("network", ["mobilenet_v3_small", "small_cnn", "timm/test_efficientnet", "timm/test_vit"])
def test_any_network_is_compared_at_the_ends_of_its_blocks(network):
    if "/" in network:
        pytest.importorskip("timm")
    a, b = pair(side=48)
    name, distance = lpips_distance(network, "random", seed=0)
    assert name == f"lpips_random_{network.replace('/', '_')}"
    backbone = load_backbone(network, "random", seed=0)
    with torch.no_grad():
        maps = [backbone.block_outputs(backbone.prepare(x, 48)) for x in (a, b)]
        assert len(maps[0]) >= 4
        torch.testing.assert_close(distance(a, b), uncalibrated(*maps), rtol=1e-3, atol=1e-5)
    assert torch.equal(distance(a, a), torch.zeros(3))
    grey = torch.rand(2, 1, 20, 20)
    assert distance(grey, 1 - grey).shape == (2,)


def test_pooled_features():
    a, _ = pair(channels=1)
    name, features = load_feature_network("alex", "random", seed=0)
    assert name == "random_alexnet" and features(a).shape == (3, 256)
    with torch.no_grad():
        assert torch.equal(features(a), load_backbone("alexnet", "random", seed=0)(a))
    assert load_feature_network("pixels", "random", seed=0)[1](a).shape == (3, 32 * 32)


def made(network: str, weights: str, **changes) -> FeatureNetwork:
    params = tiny_params(evaluate__network=network, evaluate__weights=weights, **changes)
    return FeatureNetwork.make(params.evaluate, params.loss, RUNTIME)


def test_features_and_probabilities_in_one_pass(tmp_path):
    source = models.mobilenet_v3_small(weights=None, num_classes=7).eval()
    file = tmp_path / "seven.safetensors"
    save_file(source.state_dict(), file)
    network = made("mobilenet_v3_small", str(file))
    images = np.random.default_rng(0).random((130, 32, 32, 3), dtype=np.float32)  # more than a batch
    features, probabilities = network.features_and_probabilities(images)
    np.testing.assert_allclose(features, network.features(images), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(probabilities, network.probabilities(images))
    with torch.no_grad():
        expected = source(normalised(torch.from_numpy(images).permute(0, 3, 1, 2))).softmax(1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_a_random_network_has_no_probabilities_and_depends_on_the_seed_of_evaluation():
    images = np.random.default_rng(0).random((3, 32, 32, 1), dtype=np.float32)
    networks = [made("small_cnn", "random", evaluate__seed=seed, seed=1 - seed) for seed in (0, 0, 1)]
    features, probabilities = networks[0].features_and_probabilities(images)
    assert networks[0].feature_name == "random_small_cnn" and probabilities is None
    assert networks[0].probabilities(images) is None
    np.testing.assert_array_equal(features, networks[1].features(images))
    assert not np.array_equal(features, networks[2].features(images))


def test_the_network_of_the_loss_says_so():
    network = made("vgg11", "random", loss__name="perceptual", loss__network="vgg11", loss__weights="random")
    assert network.feature_name == "random_vgg11_trained_on"
    assert network.distance_name == "lpips_random_vgg11_trained_on"


def test_efficientnet_lite0_knows_real_frogs(shared):
    """Frogs are the classes 30, 31 and 32 of ImageNet.

    A frog is the first class of 43 % of all 1100 images, and among the first five of 68 %; here, 42 % and 66 % of 200.
    """
    pytest.importorskip("timm")
    weights = shared / "weights" / "tf_efficientnet_lite0_imagenet.safetensors"
    network = made("timm/tf_efficientnet_lite0", str(weights))
    assert network.feature_name == "timm_tf_efficientnet_lite0_imagenet"
    files = sorted((shared / "data" / "tiny-imagenet-frogs").glob("*.jpg"))[:200]
    frogs = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) / 255 for file in files])
    features, probabilities = network.features_and_probabilities(frogs)
    assert features.shape == (200, 1280) and probabilities.shape == (200, 1000)
    is_frog = np.isin(np.argsort(-probabilities, axis=1)[:, :5], (30, 31, 32))
    assert is_frog[:, 0].mean() == pytest.approx(0.42, abs=0.02)
    assert is_frog.any(axis=1).mean() == pytest.approx(0.665, abs=0.02)
    noise = network.probabilities(np.random.default_rng(0).random((8, 64, 64, 3), dtype=np.float32))
    assert noise[:, 30:33].sum(1).mean() < 0.2 * probabilities[:, 30:33].sum(1).mean()


def test_real_weights(shared):
    """With real weights, noise of twice the size gives a larger distance."""
    a, noise = pair()
    for network in ("vgg11", "resnet18"):
        file = shared / "weights" / f"{network}_tiny-imagenet_32px.safetensors"
        name, distance = lpips_distance(network, str(file), seed=0)
        assert name == f"lpips_{network}_tiny-imagenet_32px"
        assert torch.all(distance(a, a + 0.2 * noise) > 1.5 * distance(a, a + 0.1 * noise))
