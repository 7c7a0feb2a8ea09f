"""Networks for every image size, and their start from one random stream."""

import pytest
import torch
from torch import nn

from iglo.models.networks import CodeToMap, Encoder, Generator, MapToImage, ModulatedGenerator, PairEncoder, initialise
from tests.tiny import generator

SIZES = (16, 32, 64, 128)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_shapes_for_every_image_size(size, channels):
    decoder, encoder = (initialise(kind(7, size, channels, 2), generator()) for kind in (Generator, Encoder))
    images = decoder(100 * torch.randn(2, 7, generator=generator(1)))
    assert images.shape == (2, channels, size, size) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0
    codes = encoder(images)
    assert codes.shape == (2, 7) and codes.dtype == torch.float32
    (codes.square().sum() + images.sum()).backward()
    for network in (decoder, encoder):
        assert all(parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("kind", [Generator, Encoder])
def test_widths_double_towards_the_code_up_to_eight_times(kind):
    layers = [layer for layer in kind(7, 128, 3, 2).modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    widths = [layer.out_channels for layer in layers]
    assert widths == ([16, 16, 8, 4, 2, 3] if kind is Generator else [2, 4, 8, 16, 16])


@pytest.mark.parametrize("kind", [Generator, Encoder])
def test_outputs_are_float32_under_autocast(kind):
    network = initialise(kind(7, 16, 1, 2), generator())
    given = torch.zeros(2, 7) if kind is Generator else torch.zeros(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(given).dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_and_the_last_layer_are_transposed_convolutions(channels):
    """With the weights, the values and the gradients of torch's layer."""
    for layer, given in ((CodeToMap(5, 4), (2, 5)), (MapToImage(5, channels), (2, 5, 3, 6))):
        layer.to(memory_format=torch.channels_last)
        inputs = torch.randn(given, generator=generator(), requires_grad=True)
        maps = inputs.reshape(*given, *[1] * (4 - len(given)))  # a code is a map of one pixel
        found, expected = layer(inputs), nn.ConvTranspose2d.forward(layer, maps)
        assert torch.allclose(found, expected, atol=1e-6)
        leaves = [inputs, *layer.parameters()]
        gradients = (torch.autograd.grad(values.square().sum(), leaves) for values in (found, expected))
        assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in zip(*gradients, strict=True))


def test_the_start_is_that_of_dcgan_and_depends_only_on_the_stream():
    for kind in (Generator, Encoder):
        first, second = (initialise(kind(7, 32, 3, 16), generator(5)).state_dict() for _ in range(2))
        other = initialise(kind(7, 32, 3, 16), generator(6)).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))
        wide = max(first.values(), key=torch.numel)
        assert wide.std().item() == pytest.approx(0.02, rel=0.05) and abs(wide.mean().item()) < 1e-3
        assert not any(values.any() for name, values in first.items() if name.endswith("bias"))
        scales = [values for name, values in first.items() if name.endswith("weight") and values.dim() == 1]
        assert torch.cat(scales).mean().item() == pytest.approx(1, abs=0.02) and torch.cat(scales).std() < 0.04


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32])
def test_a_class_code_modulates_every_block_and_reaches_the_start(size, channels):
    network = initialise(ModulatedGenerator(3, 5, size, channels, 2), generator())
    codes, others = (10 * torch.randn(2, 8, generator=generator(seed)) for seed in (1, 2))
    images = network(codes)
    assert images.shape == (2, channels, size, size) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0
    assert len(network.modulations) == len(network.norms) == len(network.layers) == {16: 2, 32: 3}[size]
    images.square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    of_class, of_content = torch.cat([others[:, :3], codes[:, 3:]], 1), torch.cat([codes[:, :3], others[:, 3:]], 1)
    assert all((network(changed) - images).abs().max() > 1e-4 for changed in (of_class, of_content))
    for modulation in network.modulations:
        nn.init.zeros_(modulation.weight)
    assert not torch.equal(network(of_class), network(codes))
    nn.init.zeros_(network.start.weight[:3])
    plain = network(codes)
    assert torch.equal(network(of_class), plain) and not torch.equal(network(of_content), plain)
    for part in [half for modulation in network.modulations for half in modulation.bias.data.chunk(2)]:
        part += 1  # a scale or a shift
        assert not torch.equal(network(codes), plain)
        part -= 1


def test_class_and_content_have_encoders_of_their_own():
    encoder = initialise(PairEncoder(3, 5, 16, 1, 2), generator()).eval()
    images = torch.rand(4, 1, 16, 16, generator=generator(1))
    codes, (of_class, of_content) = encoder(images), encoder.encoders
    assert codes.shape == (4, 8) and codes.dtype == torch.float32 and encoder.width == 2
    assert torch.equal(codes[:, :3], of_class(images)) and torch.equal(codes[:, 3:], of_content(images))
    codes[:, :3].sum().backward()
    assert all(parameter.grad.any() for parameter in of_class.parameters())
    assert not any(parameter.grad.any() for parameter in of_content.parameters())
