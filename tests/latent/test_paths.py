"""The graph of codes: what its paths pass, that all codes are joined, and how points are spaced."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path

from iglo.errors import UserError
from iglo.latent import paths
from iglo.latent.paths import NEAREST, CodeGraph, check_path
from iglo.models.geometry import GEOMETRIES, make_geometry
from tests.tiny import generator, peak_bytes

PLAIN, SPHERE = make_geometry("none", 3.0, 6), make_geometry("sphere", 3.0, 6)


def codes_of(count: int, geometry=SPHERE, seed: int = 0) -> torch.Tensor:
    return geometry.project(torch.randn(count, 6, generator=generator(seed)))


def clusters(count: int, apart: float = 100.0) -> torch.Tensor:
    """(count · 10, 6): groups of ten near codes that are far apart, at places that grow more and more distant."""
    return torch.cat([codes_of(10, PLAIN, seed) + apart * seed**2 for seed in range(count)])


def distances_of(codes: torch.Tensor) -> np.ndarray:
    return np.linalg.norm(codes.numpy()[:, None] - codes.numpy()[None], axis=2).astype(np.float64)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_way_takes_only_edges_and_is_the_shortest(name):
    geometry = make_geometry(name, 3.0, 6)
    codes = codes_of(80, geometry)
    graph = CodeGraph.of(codes, geometry)
    nearest = distances_of(codes).argsort(axis=1)[:, 1 : NEAREST + 1]
    near = {frozenset((code, int(other))) for code, others in enumerate(nearest) for other in others}
    starts, ends = np.arange(80), np.roll(np.arange(80), 7)
    oracle = shortest_path(graph.edges, directed=False)
    for start, end, way in zip(starts, ends, graph.ways(starts, ends), strict=True):
        assert (way[0], way[-1]) == (start, end) and len({*way}) == len(way)
        assert {frozenset(edge) for edge in zip(way.tolist(), way[1:].tolist(), strict=False)} <= near
        legs = geometry.distance(codes[way[:-1]], codes[way[1:]]).double().sum().item()
        assert legs == pytest.approx(oracle[start, end], rel=1e-5)


def test_a_path_has_exact_ends_and_lies_where_codes_may_lie():
    graph, ends = CodeGraph.of(codes_of(80), SPHERE), codes_of(40, seed=1)
    path = graph.interpolate(ends[:20], ends[20:], torch.linspace(0, 1, 9))
    assert path.shape == (20, 9, 6)
    assert torch.equal(path[:, 0], ends[:20]) and torch.equal(path[:, -1], ends[20:])
    torch.testing.assert_close(path.norm(dim=-1), torch.full((20, 9), 3.0))
    again = CodeGraph.of(codes_of(80), SPHERE).interpolate(ends[:20], ends[20:], torch.linspace(0, 1, 9))
    assert torch.equal(path, again)


def test_codes_that_are_no_nodes_go_to_their_nearest_nodes_first():
    codes = codes_of(80)
    graph, start, end = CodeGraph.of(codes, SPHERE), codes_of(1, seed=1), codes_of(1, seed=2)
    path = graph.interpolate(start, end, torch.linspace(0, 1, 2001))[0]
    for code in (start, end):
        nearest = codes[(codes - code).norm(dim=1).argmin()]
        assert (path - nearest).norm(dim=1).min() < 0.01


def test_points_are_evenly_spaced_along_an_arc_of_uneven_codes():
    angles = torch.rand(60, generator=generator()).sort().values * math.pi / 2
    codes = 3 * torch.stack([angles.cos(), angles.sin(), *[torch.zeros(60)] * 4], dim=1)
    path = CodeGraph.of(codes, SPHERE).interpolate(codes[:1], codes[-1:], torch.linspace(0, 1, 8))[0]
    expected = angles[0] + torch.linspace(0, 1, 8) * (angles[-1] - angles[0])
    torch.testing.assert_close(torch.atan2(path[:, 1], path[:, 0]), expected, rtol=1e-4, atol=1e-4)


def test_parts_that_are_far_apart_are_joined_by_the_shortest_edges():
    codes = clusters(4)
    alone = paths._nearest_edges(codes, PLAIN)
    assert connected_components(alone)[0] == 4
    graph = CodeGraph.of(codes, PLAIN)
    assert connected_components(graph.edges)[0] == 1
    joining = graph.edges.sum() / 2 - alone.sum() / 2
    tree = minimum_spanning_tree(distances_of(codes))
    assert joining == pytest.approx(tree.data[tree.data > 50].sum(), rel=1e-5) and np.sum(tree.data > 50) == 3
    way = graph.ways([0], [39])[0]
    assert [*dict.fromkeys((way // 10).tolist())] == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_and_equal_codes_are_joined(count):
    codes = codes_of(count).repeat(3, 1)
    graph, path = CodeGraph.of(codes, SPHERE), torch.linspace(0, 1, 5)
    points = graph.interpolate(codes, codes.flip(0), path)
    assert points.isfinite().all() and torch.equal(points[:, -1], codes.flip(0))
    single = CodeGraph.of(codes[:1], SPHERE).interpolate(codes[:1], codes[:1], path)
    torch.testing.assert_close(single[0], codes[:1].expand(5, -1))


def test_a_graph_has_some_of_many_codes_and_small_memory(monkeypatch):
    monkeypatch.setattr(paths, "MOST_CODES", 50)
    codes = codes_of(200)
    graph = CodeGraph.of(codes, SPHERE)
    assert len(graph.codes) == 50 and graph.edges.shape == (50, 50)
    points = graph.interpolate(codes[1:2], codes[100:101], torch.linspace(0, 1, 3))
    assert torch.equal(points[0, [0, -1]], codes[[1, 100]])
    monkeypatch.setattr(paths, "MOST_CODES", 4000)
    many = torch.cat([codes_of(2000, PLAIN), codes_of(2000, PLAIN, seed=1) + 100])
    graph, peak = peak_bytes(lambda: CodeGraph.of(many, PLAIN))
    assert connected_components(graph.edges)[0] == 1 and peak < 4000**2


def test_only_known_paths():
    check_path("graph")
    with pytest.raises(UserError, match=r"^path: must be one of chord, graph, got 'bee'\.$"):
        check_path("bee")
