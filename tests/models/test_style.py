"""The style generator: every size, one image per code, the normalisation of a block, its start, training and ONNX."""

import pytest
import torch

from iglo.models.glo import recalibrate_bn
from iglo.models.networks import initialise
from iglo.models.style import StyleBlock, StyleGenerator, block_widths
from tests.tiny import generator

CODES = torch.randn(4, 7, generator=generator(1))


def network(size: int = 16, channels: int = 3, width: int = 4, seed: int = 0) -> StyleGenerator:
    return initialise(StyleGenerator(7, size, channels, width), generator(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_shapes_for_every_image_size(size, channels):
    made = network(size, channels, 2)
    images = made(CODES)
    assert images.shape == (4, channels, size, size) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.01
    images.square().sum().backward()
    assert all(parameter.grad.any() for parameter in made.parameters())


def test_widths_halve_towards_the_image():
    assert block_widths(32, 64) == [256, 128, 64, 32] and block_widths(128, 2) == [8, 8, 8, 4, 2, 1]
    assert block_widths(16, 1) == [2, 1, 1]


def test_the_start_depends_only_on_the_stream_and_keeps_the_variance():
    first, second, other = (network(32, width=32, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))
    assert not any(values.any() for name, values in first.items() if name.endswith("bias"))
    made, codes = network(32, width=64), torch.randn(64, 7, generator=generator(1))
    seen = []
    for block in made.blocks:
        block.register_forward_hook(lambda module, given, maps: seen.append(maps.square().mean().item()))
    made(codes)
    assert len(seen) == 3 and all(1 < power < 4 for power in seen)


def test_an_image_depends_on_its_own_code_only_and_not_on_the_mode():
    made = network()
    together, alone = made.train()(CODES), made.eval()(CODES[:1])
    torch.testing.assert_close(together[:1], alone)
    before = {name: values.clone() for name, values in made.state_dict().items()}
    recalibrate_bn(made, CODES)
    assert all(torch.equal(before[name], values) for name, values in made.state_dict().items())


def test_a_block_normalises_each_channel_of_each_image_and_the_code_scales_and_shifts_it():
    block = StyleBlock(7, 5, 6)
    given = torch.randn(4, 5, 4, 4, generator=generator(2))
    with torch.no_grad():
        maps = block.layer(given.repeat_interleave(2, 2).repeat_interleave(2, 3))
        maps = (maps - maps.mean((2, 3), keepdim=True)) / maps.std((2, 3), keepdim=True, correction=0)
        scale, shift = block.style(CODES)[:, :, None, None].split(6, 1)
        expected = torch.nn.functional.leaky_relu((1 + scale) * maps + shift, 0.2) * 2**0.5
        torch.testing.assert_close(block(given, CODES), expected, rtol=1e-3, atol=1e-3)


def test_outputs_are_float32_under_autocast_and_near_those_of_full_precision():
    made = network(32, width=16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(CODES)
    assert rounded.dtype == torch.float32 and (rounded - made(CODES)).abs().max() < 0.03


def test_onnx_gives_the_same_images(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from iglo.export.onnx import _write

    _write(tmp_path / "generator.onnx", network(), "codes", CODES, "images")  # raises an error if torch's differ
