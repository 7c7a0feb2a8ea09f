"""Codes: whose rows move, and by how much, against torch's Adam; and their start against an SVD."""

import math

import numpy as np
import pytest
import torch

from iglo.geometry import Ball, Euclidean, Sphere
from iglo.latents import Factor, LatentTable, RowAdam, normal_codes, pca_codes
from tests.tiny import generator, tiny_images

FREE = Euclidean(1.0)


def factor(count=6, dimension=4, geometry=FREE, keys=None) -> Factor:
    return Factor(geometry.sample(count, dimension, generator()), geometry, keys)


def train(codes: Factor, batches: list[list[int]], rate=0.1) -> RowAdam:
    """Steps along random gradients, those of a code's row at a step being the same in every run."""
    optimizer = RowAdam([codes], rate)
    for step, ids in enumerate(batches):
        (codes(torch.tensor(ids)) * slopes(step, codes)[ids]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def slopes(step: int, codes: Factor) -> torch.Tensor:
    return torch.randn(codes.codes.shape, generator=generator(step)) * (1 + step)


def dense_adam(codes: torch.Tensor, gradients: list[torch.Tensor], rate=0.1) -> torch.Tensor:
    codes = torch.nn.Parameter(codes.clone())
    optimizer = torch.optim.Adam([codes], rate)
    for gradient in gradients:
        codes.grad = gradient.clone()
        optimizer.step()
    return codes.detach()


@pytest.mark.parametrize("geometry", [FREE, Ball(0.5), Sphere(2.0)])
def test_only_rows_of_the_batch_move(geometry):
    codes = factor(geometry=geometry)
    before = codes.codes.detach().clone()
    state = train(codes, [[1, 3], [3, 4], [1]]).state[codes.codes]
    still, moved = [0, 2, 5], [1, 3, 4]
    assert torch.equal(codes.codes[still], before[still])
    assert all(not values[still].any() and values[moved].any() for values in state.values())
    assert (codes.codes[moved] != before[moved]).any(dim=1).all()


def test_every_row_in_every_batch_is_adam():
    codes = factor()
    expected = dense_adam(codes.codes.detach(), [slopes(step, codes) for step in range(20)])
    train(codes, [list(range(6))] * 20)
    torch.testing.assert_close(codes.codes.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_row_that_comes_now_and_then_moves_as_adam_would_move_it_alone():
    codes = factor()
    rng = np.random.default_rng(0)
    batches = [sorted(rng.choice(6, 2, replace=False).tolist()) for _ in range(30)]
    batches = [[id for id in ids if id != 5 or step > 20] + [0] * (step % 2) for step, ids in enumerate(batches)]
    start = codes.codes.detach().clone()
    for row in range(6):
        gradients = [slopes(step, codes)[row] * ids.count(row) for step, ids in enumerate(batches) if row in ids]
        start[row] = dense_adam(start[row], gradients)
    train(codes, batches)
    torch.testing.assert_close(codes.codes.detach(), start, rtol=1e-4, atol=1e-5)


def test_an_image_twice_in_a_batch_counts_twice():
    codes = factor()
    (codes(torch.tensor([2, 5, 2])) * torch.tensor([[1.0], [10.0], [3.0]])).sum().backward()
    gradient = codes.codes.grad.coalesce()
    assert gradient.indices()[0].tolist() == [2, 5]
    assert gradient.values()[:, 0].tolist() == [4.0, 10.0]


@pytest.mark.parametrize(("geometry", "length"), [(Sphere(2.0), 2.0), (Ball(0.5), 0.5)])
def test_rows_are_projected_after_their_step(geometry, length):
    codes = factor(geometry=geometry)
    train(codes, [[0, 1]] * 5, rate=1.0)
    lengths = codes.codes[:2].norm(dim=1)
    assert (lengths <= length * (1 + 1e-6)).all()
    if isinstance(geometry, Sphere):
        torch.testing.assert_close(lengths, torch.full((2,), length), rtol=1e-5, atol=0)


def test_the_state_follows_its_codes_to_their_device():
    """Torch leaves a state called `step` where a checkpoint put it, on the CPU."""
    state = train(factor(), [[0, 1]]).state_dict()
    elsewhere = factor().to("meta")
    resumed = RowAdam([elsewhere], 0.1)
    resumed.load_state_dict(state)
    assert {value.device.type for value in resumed.state[elsewhere.codes].values()} == {"meta"}


def test_images_of_a_label_share_a_code():
    labels = torch.tensor([0, 1, 1, 0, 2])
    table = LatentTable(image=factor(5, 3), label=factor(3, 2, keys=labels))
    before = table(torch.arange(5)).detach()
    assert before.shape == (5, 5) and table.dimension == 5
    assert torch.equal(before[1, 3:], before[2, 3:]) and not torch.equal(before[0, 3:], before[1, 3:])
    optimizer = RowAdam(list(table.factors.values()), 0.1)
    table(torch.tensor([1])).sum().backward()
    optimizer.step()
    changed = table(torch.arange(5)).detach() != before
    assert changed[:, :3].any(1).tolist() == [False, True, False, False, False]
    assert changed[:, 3:].any(1).tolist() == [False, True, True, False, False]


def test_codes_are_taken_as_they_are():
    """Projecting what is projected changes last bits: a model that is loaded would not be the one that was saved."""
    codes = torch.randn(5, 4, generator=generator())
    assert torch.equal(Factor(codes, Sphere(2.0)).codes, codes)


def test_noise_has_its_scale_and_its_stream():
    table, codes = LatentTable(image=factor()), torch.zeros(2000, 10, requires_grad=True)
    noise = table.noise(codes, 0.3, generator(1))
    assert noise.std().item() == pytest.approx(0.3, rel=0.02) and not noise.requires_grad
    assert torch.equal(noise, table.noise(codes, 0.3, generator(1)))
    assert not torch.equal(noise, table.noise(codes, 0.3, generator(2)))


def test_pca_codes_are_principal_components_of_the_images():
    images, geometry = tiny_images(40, channels=3), Euclidean(3.0)
    codes = pca_codes(images, 5, geometry, generator()).numpy()
    flat = images.reshape(40, -1) / 255
    components = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:5]
    expected = (flat - flat.mean(0)) @ components.T
    for axis in range(5):
        assert abs(np.corrcoef(codes[:, axis], expected[:, axis])[0, 1]) > 0.99
    np.testing.assert_allclose(codes.std(0) / codes.std(), expected.std(0) / expected.std(), rtol=0.02)


@pytest.mark.parametrize("geometry", [FREE, Ball(3.0), Sphere(3.0)])
@pytest.mark.parametrize("dimension", [5, 60])
def test_pca_codes_have_the_radius_as_their_length(geometry, dimension):
    codes = pca_codes(tiny_images(20), dimension, geometry, generator())
    assert codes.shape == (20, dimension) and codes.dtype == torch.float32
    length = codes.square().sum(1).mean().sqrt().item()
    if isinstance(geometry, Ball):
        assert 0.7 * geometry.radius < length and codes.norm(dim=1).max() <= geometry.radius * (1 + 1e-6)
    else:
        assert length == pytest.approx(geometry.radius, rel=0.001)
    assert codes.std(0).min() > 0  # beyond the rank too, codes differ
    assert torch.equal(codes, pca_codes(tiny_images(20), dimension, geometry, generator()))


def test_pca_codes_look_at_large_images_through_block_means():
    small = tiny_images(20).repeat(2, 1).repeat(2, 2)
    signs = np.random.default_rng(0).choice([-20, 20], (20, 32, 32, 1)).repeat(4, 1).repeat(4, 2)
    fine = signs * np.where(np.indices((128, 128)).sum(0) % 2, 1, -1)[None, :, :, None]  # gone in a block's mean
    large = (small.repeat(4, 1).repeat(4, 2).clip(20, 235) + fine).astype(np.uint8)
    codes = [pca_codes(images, 4, FREE, generator()) for images in (small.clip(20, 235), large)]
    torch.testing.assert_close(*codes, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_identical_images_have_codes_too():
    codes = pca_codes(np.zeros((4, 16, 16, 1), np.uint8), 6, Sphere(3.0), generator())
    torch.testing.assert_close(codes.norm(dim=1), torch.full((4,), 3.0), rtol=1e-5, atol=0)


def test_normal_codes_are_draws_of_the_prior():
    codes = normal_codes(3000, 8, Euclidean(math.sqrt(8)), generator())
    assert codes.std().item() == pytest.approx(1, rel=0.02)
