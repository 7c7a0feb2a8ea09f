"""Distances against NumPy, SciPy and autograd."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, zoom
from torch import nn
from torch.nn import functional as F

from iglo.losses.distances import PIXEL_DISTANCES, LaplacianL1, Perceptual, mean_absolute, mean_square
from iglo.models.networks import Generator, initialise
from tests.tiny import generator

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def images(channels=3, seed=0, count=4) -> torch.Tensor:
    return torch.rand(count, channels, 16, 16, generator=generator(seed))


def perceptual(dtype=torch.float32, pixel_weight: float = 1.0) -> Perceptual:
    """Two blocks, the second one after a pooling, as in a VGG."""
    blocks = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))]
    blocks.append(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True)))
    for block in blocks:
        initialise(block, generator(3))
        block[-2].weight.data.mul_(10)
        block.requires_grad_(False)
    return Perceptual(blocks, MEAN, STD, dtype, pixel_weight)


DISTANCES = {**{name: kind() for name, kind in PIXEL_DISTANCES.items()}, "perceptual": perceptual()}


def l1(a, b):
    return np.abs(a - b).mean((1, 2, 3))


def l2(a, b):
    return ((a - b) ** 2).mean((1, 2, 3))


def pyramid(batch: np.ndarray) -> list[np.ndarray]:
    levels = []
    for _ in range(3):
        blurred = batch
        for axis in (2, 3):
            blurred = correlate1d(blurred, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="nearest")
        smaller = blurred[:, :, ::2, ::2]
        levels.append(batch - zoom(smaller, (1, 1, 2, 2), order=1, mode="nearest", grid_mode=True))
        batch = smaller
    return [*levels, batch]


def vgg_like(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a − b‖₁ + Σ_i ‖φ_i(a) − φ_i(b)‖₁ written out."""
    total, features = l1(a, b), []
    first, second = (block[-2] for block in DISTANCES["perceptual"].blocks)
    for batch in (a, b):
        normal = torch.from_numpy((batch - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))).float()
        one = F.conv2d(normal, first.weight, first.bias, padding=1).clamp(min=0)
        two = F.conv2d(F.max_pool2d(one, 2), second.weight, second.bias, padding=1).clamp(min=0)
        features.append((one.numpy(), two.numpy()))
    return total + sum(l1(x, y) for x, y in zip(*features, strict=True))


ORACLES = {
    "l1": l1,
    "l2": l2,
    "l1_l2": lambda a, b: l1(a, b) + l2(a, b),
    "lap_l1": lambda a, b: sum(l1(x, y) for x, y in zip(pyramid(a), pyramid(b), strict=True)) + l2(a, b),
    "perceptual": vgg_like,
}


@pytest.mark.parametrize("name", ORACLES)
def test_a_distance_is_its_formula(name):
    a, b = images(), images(seed=1)
    value = DISTANCES[name](a, b)
    assert value.shape == (4,) and value.dtype == torch.float32
    np.testing.assert_allclose(value, ORACLES[name](a.double().numpy(), b.double().numpy()), rtol=1e-5)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_distance_is_symmetric_zero_for_equal_images_and_one_value_per_image(name, channels):
    a, b, distance = images(channels), images(channels, seed=1), DISTANCES[name]
    torch.testing.assert_close(distance(a, b), distance(b, a))
    assert not distance(a, a).any()
    mixed = distance(a, torch.cat([a[:2], b[2:]]))
    assert not mixed[:2].any()
    torch.testing.assert_close(mixed[2:], distance(a, b)[2:])


@pytest.mark.parametrize("name", ORACLES)
def test_a_distance_takes_the_targets_of_several_sub_batches(name):
    a, b, distance = images(), images(seed=1), DISTANCES[name]
    parts = [distance.represent(piece) for piece in b.split([1, 3])]
    torch.testing.assert_close(distance.compare(distance.represent(a), *parts), distance(a, b))


def test_constant_images_differ_only_in_the_coarsest_level():
    low, high = torch.full((1, 1, 16, 16), 0.25), torch.full((1, 1, 16, 16), 0.75)
    distance = LaplacianL1(l2=0.0)
    *fine, coarse = [
        (a - b).abs().max().item()
        for a, b in zip(distance.represent(low)[1:], distance.represent(high)[1:], strict=True)
    ]
    assert fine == pytest.approx([0, 0, 0], abs=1e-6) and coarse == pytest.approx(0.5)
    assert distance(low, high).item() == pytest.approx(0.5, rel=1e-5)


def test_grey_images_are_repeated_to_three_channels():
    a, b = images(1), images(1, seed=1)
    repeated = [batch.repeat(1, 3, 1, 1) for batch in (a, b)]
    torch.testing.assert_close(DISTANCES["perceptual"](a, b), DISTANCES["perceptual"](*repeated))


def test_features_have_a_gradient_and_their_network_is_frozen():
    """The paper's code computed features without gradient, and so trained with plain L1."""
    distance, decoder = perceptual(), initialise(Generator(6, 16, 3, 4), generator())
    codes = torch.randn(4, 6, generator=generator(2), requires_grad=True)
    rendered, target = decoder(codes), images(seed=1)
    features = distance(rendered, target) - mean_absolute(rendered, target)
    features.sum().backward()
    assert codes.grad.norm(dim=1).min() > 1e-6
    assert all(parameter.grad.any() for parameter in decoder.parameters())
    assert all(parameter.grad is None for parameter in distance.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_of_absolute_differences_has_autograds_gradient(dtype):
    """With targets in pieces."""
    a, b = (images(seed=seed).to(dtype, memory_format=torch.channels_last) for seed in (0, 1))
    b[0, 0] = a[0, 0]  # equal elements draw nowhere
    weights = torch.tensor([1.0, -2.0, 0.5, 0.0])
    ours, oracle = a.clone().requires_grad_(), a.double().requires_grad_()
    value = mean_absolute(ours, b[:3], b[3:])
    expected = (oracle - b.double()).abs().flatten(1).mean(1)
    (value * weights).sum().backward()
    (expected * weights).sum().backward()
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    assert value.dtype == torch.float32 and ours.grad.dtype == dtype
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(ours.grad.double(), oracle.grad, rtol=tolerance, atol=0)


def test_half_precision_features_are_summed_in_full():
    """Two thirds are ones; bfloat16 keeps no more than three digits of such a mean."""
    a = torch.zeros(1, 3, 101, 101, dtype=torch.bfloat16)
    a[:, 1:] = 1
    for mean in (mean_absolute, mean_square):
        assert mean(a, 0 * a).item() == pytest.approx(2 / 3, rel=1e-6)


def test_the_pixel_weight_of_a_perceptual_distance_counts_for_the_pixels_alone():
    a, b = images(), images(seed=1)
    extra = perceptual(pixel_weight=20.0)(a, b) - perceptual()(a, b)
    torch.testing.assert_close(extra, 19 * DISTANCES["l1"](a, b), rtol=1e-5, atol=0)


def test_perceptual_in_half_precision_is_close():
    a, b = images(), images(seed=1)
    torch.testing.assert_close(perceptual(torch.bfloat16)(a, b), perceptual()(a, b), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", PIXEL_DISTANCES)
def test_pixels_are_compared_in_full_precision_under_autocast(name):
    """bfloat16 would lose a residual of 0.003. Value and gradient must be those without autocast."""
    target, distance = images(), DISTANCES[name]
    residual = 0.003 * torch.randn(target.shape, generator=generator(5))
    found = []
    for half in (False, True):
        drawn = (target + residual).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = distance.compare(distance.represent(drawn), distance.represent(target))
        value.sum().backward()
        found.append((value.detach(), drawn.grad))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_the_pixels_of_a_perceptual_distance_are_compared_in_full_precision():
    """The test removes the blocks, so that only the pixels are left."""
    target, bare = images(), Perceptual([], MEAN, STD, torch.bfloat16)
    drawn = target + 0.003
    with torch.autocast("cpu", torch.bfloat16):
        value = bare(drawn, target)
    torch.testing.assert_close(value, (drawn - target).abs().mean((1, 2, 3)))
