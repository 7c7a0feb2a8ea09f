"""Draws of `neighbours` lie on the paths between a code and its nearest different codes."""

import math

import pytest
import torch

from iglo.latent import neighbours
from iglo.latent.neighbours import draw_neighbours, fit_neighbours
from iglo.latent.priors import fit_prior
from iglo.models.geometry import Ball, Euclidean, Sphere
from tests.tiny import generator

FREE = Euclidean(math.sqrt(3))


def random_codes(count: int, dimension: int = 3) -> torch.Tensor:
    return torch.randn(count, dimension, generator=generator(), dtype=torch.float64)


def test_neighbours_by_double_loops(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 4)
    codes = random_codes(9)
    expected = [
        sorted((j for j in range(9) if j != i), key=lambda j: math.dist(codes[i], codes[j]))[:3] for i in range(9)
    ]
    assert fit_neighbours(codes, FREE, 0, k=3)["neighbours"].tolist() == expected


def test_a_copy_is_no_neighbour_and_few_neighbours_take_turns():
    one, two, three = random_codes(3)
    arrays = fit_neighbours(torch.stack([one, one, one, two, three]), FREE, 0, k=4)
    found = arrays["neighbours"].tolist()
    assert all(set(row) == {3, 4} and len(row) == 4 for row in found[:3])
    assert set(found[3]) == {0, 1, 2, 4} and set(found[4]) == {0, 1, 2, 3}


@pytest.mark.parametrize("codes", [random_codes(1), random_codes(1).repeat(6, 1)])
def test_a_code_without_neighbours_is_its_own(codes):
    drawn = fit_prior("neighbours", codes, FREE, 0, noise=0.0).draw(5, generator())
    torch.testing.assert_close(drawn, codes[:1].float().expand(5, -1))


def test_draws_are_on_the_path_at_uniform_times():
    """Two codes on a circle: the angle of a draw is uniform between theirs, because a path has even speed."""
    circle, ends = Sphere(2.0), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    drawn = fit_prior("neighbours", ends, circle, 0, noise=0.0).draw(4000, generator())
    angles = torch.atan2(drawn[:, 1], drawn[:, 0]) / (math.pi / 2)
    assert angles.min() > -1e-6 and angles.max() < 1 + 1e-6
    quantiles = torch.linspace(0, 1, 9, dtype=torch.float32)
    torch.testing.assert_close(angles.quantile(quantiles), quantiles, rtol=0, atol=0.03)


@pytest.mark.parametrize("geometry", [FREE, Ball(2.0), Sphere(2.0)])
def test_noise_has_its_deviation_in_units_of_a_coordinate(geometry):
    codes = geometry.project(random_codes(50))
    arrays = fit_neighbours(codes, geometry, 0, noise=0.5)
    still = draw_neighbours({**arrays, "noise": torch.zeros(1)}, geometry, 5000, generator())
    noise = draw_neighbours(arrays, geometry, 5000, generator()) - still
    unit = geometry.radius / math.sqrt(3) if isinstance(geometry, Sphere) else codes.square().mean().sqrt().item()
    assert noise.std().item() == pytest.approx(0.5 * unit, rel=0.05)


def test_the_file_of_many_codes_stays_small(monkeypatch):
    monkeypatch.setattr(neighbours, "NEIGHBOUR_CODES", 5)
    codes = random_codes(17)
    assert torch.equal(fit_neighbours(codes, FREE, 0)["codes"], codes[::4].float())


def test_the_label_has_the_settings():
    prior = fit_prior("neighbours", random_codes(20), FREE, 0, k=7, noise=0.3)
    assert prior.settings == {"k": 7, "noise": 0.3} and prior.label == "neighbours (k 7, noise 0.3)"
    assert fit_prior("normal", random_codes(20), FREE, 0).label == "normal"
