"""The flow: its velocity, its steps, and when its training stops."""

import math

import pytest
import torch

from iglo.latent import flow
from iglo.latent.flow import flow_loss, flow_network, follow, normal_velocity
from iglo.latent.priors import fit_prior
from iglo.models.geometry import Euclidean
from tests.tiny import generator

FREE = Euclidean(1.0)


def pairs(count: int, dimension: int) -> torch.Tensor:
    return torch.randn(count, dimension, generator=generator())


def test_an_untrained_flow_moves_normal_codes_nowhere():
    """Both ends are N(0, I), so the exact flow is the identity; Heun's steps are a little off."""
    points = pairs(50, 4)
    torch.testing.assert_close(follow(flow_network(4, generator()), points), points, rtol=0.01, atol=0.01)


def test_a_constant_velocity_is_followed_exactly():
    points = pairs(5, 2)
    torch.testing.assert_close(follow(lambda points, times: torch.ones_like(points), points), points + 1)


def test_the_velocity_of_normal_codes_is_the_regression_of_the_difference_on_the_point():
    noises, codes = pairs(200_000, 2).unbind(1)
    for time in (0.1, 0.5, 0.8):
        points = (1 - time) * noises + time * codes
        slope = (points @ (codes - noises) / points.square().sum()).item()
        expected = normal_velocity(torch.ones(1, 1), torch.full((1, 1), time)).item()
        assert slope == pytest.approx(expected, abs=0.01)


def test_the_loss_is_that_of_its_formula():
    codes, noises, times = pairs(6, 3), pairs(6, 3) + 1, torch.rand(6, generator=generator())
    expected = [
        (time * code + (1 - time) * noise - (code - noise)).square().mean()
        for code, noise, time in zip(codes, noises, times, strict=True)
    ]
    loss = flow_loss(lambda points, times: points, codes, noises, times)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_a_flow_learns_two_clusters_in_one_dimension(monkeypatch):
    monkeypatch.setattr(flow, "FLOW_STEPS", (150, 150))
    monkeypatch.setattr(flow, "FLOW_WIDTH", 64)
    codes = 0.1 * pairs(200, 1) + torch.where(torch.arange(200)[:, None] % 4 == 0, -3.0, 3.0)
    drawn = fit_prior("flow", codes, FREE, 0).draw(500, generator())
    assert (drawn.abs() - 3).abs().lt(1).float().mean() > 0.6  # 0.33 for a Gaussian
    assert drawn.lt(0).float().mean().item() == pytest.approx(0.25, abs=0.1)


def test_the_weights_with_the_smallest_held_out_loss_are_kept(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.0, 1.5, 0.5])
    looks = []

    def loss(network, *pairs):
        if torch.is_grad_enabled():
            return flow_loss(network, *pairs)
        looks.append({name: weights.clone() for name, weights in network.state_dict().items()})
        return torch.tensor(next(losses))

    monkeypatch.setattr(flow, "flow_loss", loss)
    monkeypatch.setattr(flow, "EVERY", 2)
    arrays = fit_prior("flow", pairs(30, 2), FREE, 0).arrays
    assert len(looks) == 6  # the fourth look without a gain is the last
    assert all(torch.equal(arrays[name], weights) for name, weights in looks[1].items())
    assert not torch.equal(looks[1]["layers.4.weight"], looks[5]["layers.4.weight"])


@pytest.mark.parametrize("count", [1, 2, 10])
def test_few_codes_give_finite_draws(monkeypatch, count):
    monkeypatch.setattr(flow, "FLOW_STEPS", (25, 25))
    for dimension in (1, 3):
        drawn = fit_prior("flow", pairs(count, dimension), FREE, 0).draw(20, generator())
        assert drawn.isfinite().all() and drawn.abs().max() < 100 * math.sqrt(dimension)
