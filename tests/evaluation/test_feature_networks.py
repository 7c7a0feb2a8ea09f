"""LPIPS against its formula and against the lpips package; features of a feature network."""

import hashlib
import warnings

import lpips
import pytest
import torch
from torchvision import models

from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from iglo.backbones.networks import load_backbone
from iglo.errors import UserError
from iglo.evaluation.feature_networks import load_feature_network, lpips_distance


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


def test_a_network_without_blocks_is_refused():
    with pytest.raises(UserError, match=r"VGG or a ResNet.*'mobilenet_v2'"):
        lpips_distance("mobilenet_v2", "random", seed=0)


def test_pooled_features():
    a, _ = pair(channels=1)
    name, features = load_feature_network("alex", "random", seed=0)
    assert name == "random_alexnet" and features(a).shape == (3, 256)
    with torch.no_grad():
        assert torch.equal(features(a), load_backbone("alexnet", "random", seed=0)(a))
    assert load_feature_network("pixels", "random", seed=0)[1](a).shape == (3, 32 * 32)


def test_real_weights(shared):
    """With real weights, noise of twice the size gives a larger distance."""
    a, noise = pair()
    for network in ("vgg11", "resnet18"):
        file = shared / "weights" / f"{network}_tiny-imagenet_32px.safetensors"
        name, distance = lpips_distance(network, str(file), seed=0)
        assert name == f"lpips_{network}_tiny-imagenet_32px"
        assert torch.all(distance(a, a + 0.2 * noise) > 1.5 * distance(a, a + 0.1 * noise))
