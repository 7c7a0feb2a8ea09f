"""Balls and spheres: projections, paths and draws against their formulas."""

import math

import pytest
import torch

from iglo.models.geometry import GEOMETRIES, Ball, Euclidean, Sphere, make_geometry
from tests.tiny import generator

TIMES = torch.linspace(0, 1, 9)


@pytest.fixture
def codes():
    """(64, 10) codes, shorter and longer than 3."""
    return torch.randn(64, 10, generator=generator()) * torch.linspace(0.1, 3, 64)[:, None]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_projecting_twice_is_projecting_once(name, codes):
    geometry = make_geometry(name, 3.0, 10)
    once = geometry.project(codes)
    torch.testing.assert_close(geometry.project(once), once, rtol=1e-6, atol=0)


def test_projections_are_the_nearest_allowed_codes(codes):
    lengths = codes.norm(dim=1)
    assert Euclidean(3.0).project(codes) is codes
    on_sphere, in_ball = Sphere(3.0).project(codes), Ball(3.0).project(codes)
    torch.testing.assert_close(on_sphere.norm(dim=1), torch.full((64,), 3.0), rtol=1e-5, atol=0)
    torch.testing.assert_close(on_sphere * lengths[:, None], codes * 3, rtol=1e-5, atol=1e-5)
    inside = lengths <= 3
    assert 0 < inside.sum() < 64
    assert torch.equal(in_ball[inside], codes[inside])
    torch.testing.assert_close(in_ball[~inside], on_sphere[~inside])


def test_the_origin_stays_finite():
    for geometry in (Ball(3.0), Sphere(3.0)):
        assert geometry.project(torch.zeros(2, 10)).isfinite().all()


def test_great_circles_stay_on_the_sphere_in_even_steps(codes):
    sphere = Sphere(3.0)
    start, end = sphere.project(codes[:32]), sphere.project(codes[32:])
    path = sphere.interpolate(start, end, TIMES)
    assert path.shape == (32, 9, 10)
    torch.testing.assert_close(path.norm(dim=-1), torch.full((32, 9), 3.0), rtol=1e-5, atol=0)
    steps = torch.arccos(((path[:, 1:] * path[:, :-1]).sum(-1).double() / 9).clamp(-1, 1))
    whole = torch.arccos((start * end).sum(-1).double() / 9)
    torch.testing.assert_close(steps, (whole / 8)[:, None].expand(-1, 8), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_paths_begin_and_end_at_their_ends(name, codes):
    geometry = make_geometry(name, 3.0, 10)
    start, end = geometry.project(codes[:32]), geometry.project(codes[32:])
    path = geometry.interpolate(start, end, TIMES)
    torch.testing.assert_close(path[:, 0], start, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(path[:, -1], end, rtol=1e-5, atol=1e-5)


def test_free_paths_are_straight(codes):
    path = Euclidean(3.0).interpolate(codes[:32], codes[32:], torch.tensor([0.25]))
    torch.testing.assert_close(path[:, 0], 0.75 * codes[:32] + 0.25 * codes[32:])


@pytest.mark.parametrize("nudge", [0.0, 1e-6, 1e-3])
def test_equal_and_opposite_codes_have_a_path(codes, nudge):
    sphere = Sphere(3.0)
    start = sphere.project(codes)
    near = sphere.project(start + nudge * torch.randn(start.shape, generator=generator(1)))
    same, opposite = sphere.interpolate(start, near, TIMES), sphere.interpolate(start, -near, TIMES)
    assert same.isfinite().all() and opposite.isfinite().all()
    torch.testing.assert_close(same, start[:, None].expand(same.shape), rtol=0, atol=20 * nudge + 1e-5)
    torch.testing.assert_close(opposite[:, -1], -near, rtol=1e-4, atol=1e-4)


def test_draws_have_the_radius_as_their_length():
    free = Euclidean(5.0).sample(4000, 20, generator())
    assert free.square().sum(1).mean().sqrt().item() == pytest.approx(5.0, rel=0.02)
    assert free.norm(dim=1).std() > 0.3
    assert Ball(5.0).sample(4000, 20, generator()).norm(dim=1).max() <= 5.0 * (1 + 1e-6)
    on_sphere = Sphere(5.0).sample(4000, 20, generator())
    torch.testing.assert_close(on_sphere.norm(dim=1), torch.full((4000,), 5.0), rtol=1e-5, atol=0)
    assert on_sphere.mean(0).abs().max() < 0.1
    assert torch.equal(on_sphere, Sphere(5.0).sample(4000, 20, generator()))


def test_a_radius_that_is_not_given_means_unit_variance():
    assert make_geometry("ball", None, 100) == Ball(10.0)
    assert make_geometry("none", None, 50).radius == pytest.approx(math.sqrt(50))
    assert make_geometry("sphere", 2.0, 100) == Sphere(2.0)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_distance_is_the_length_of_the_path(name, codes):
    geometry = make_geometry(name, 3.0, 10)
    start, end = geometry.project(codes[:32]).double(), geometry.project(codes[32:]).double()
    path = geometry.interpolate(start, end, torch.linspace(0, 1, 500, dtype=torch.float64))
    length = path.diff(dim=1).norm(dim=-1).sum(1)
    torch.testing.assert_close(geometry.distance(start, end), length, rtol=1e-4, atol=1e-5)
    assert (geometry.distance(start, start) == 0).all()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_path_may_have_its_own_times(name, codes):
    geometry = make_geometry(name, 3.0, 10)
    start, end = geometry.project(codes[:3]), geometry.project(codes[3:6])
    times = torch.tensor([[0, 0.5], [0.1, 0.2], [0.7, 1]])
    one_by_one = [
        geometry.interpolate(*each[:2], each[2]) for each in zip(start.split(1), end.split(1), times, strict=True)
    ]
    torch.testing.assert_close(geometry.interpolate(start, end, times), torch.cat(one_by_one))
