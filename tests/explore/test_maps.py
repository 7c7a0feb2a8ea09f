"""Maps: points stand for their codes, places between them change continuously, directions are principal."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iglo.errors import IgloWarning, UserError
from iglo.explore import maps as maps_module
from iglo.explore.maps import (
    MARGIN,
    Embedding,
    NeighbourMap,
    PrincipalMap,
    Shade,
    grid_places,
    neighbour_embedding,
    principal_directions,
    write_embedding,
)
from iglo.files.io import write_array
from iglo.models.geometry import make_geometry
from tests.tiny import generator

SPHERE = make_geometry("sphere", None, 6)
CODES = SPHERE.sample(40, 6, generator())
DIRECTIONS = principal_directions(CODES, 0, 20)
SCATTERED = np.random.default_rng(0).normal(size=(40, 2))


def maps():
    return [PrincipalMap(DIRECTIONS, CODES, SPHERE), NeighbourMap(SCATTERED, CODES, SPHERE)]


@pytest.mark.parametrize("code_map", maps())
def test_the_place_of_a_point_has_its_code(code_map):
    torch.testing.assert_close(code_map.code_at(code_map.points), CODES, atol=1e-4, rtol=0)
    assert np.abs(code_map.points).max() == pytest.approx(MARGIN)


@pytest.mark.parametrize("code_map", maps())
def test_every_place_has_a_code_where_codes_may_lie(code_map):
    codes = code_map.code_at(grid_places(9))
    torch.testing.assert_close(codes.norm(dim=1), torch.full((81,), SPHERE.radius))


def test_codes_change_continuously_over_the_neighbour_embedding():
    code_map = NeighbourMap(SCATTERED, CODES, SPHERE)
    walk = np.stack([np.linspace(-1, 1, 20_001), np.full(20_001, 0.1)], axis=1)
    steps = code_map.code_at(walk).diff(dim=0).norm(dim=1)
    assert steps.max() < 0.05  # a jump to another code would be about 3


def test_a_place_of_the_principal_map_is_at_that_place():
    free = make_geometry("none", None, 6)
    code_map = PrincipalMap(DIRECTIONS, CODES, free)
    places = np.array([[0.3, -0.4]])
    wanted = (torch.tensor(code_map.points - places).norm(dim=1)).argmin()
    moved = (code_map.code_at(places)[0] - CODES[wanted]) @ DIRECTIONS.vectors[:2].T
    np.testing.assert_allclose(moved, (places[0] - code_map.points[wanted]) / code_map.scale, atol=1e-5)


def test_directions_are_those_of_the_covariance():
    values, vectors = np.linalg.eigh(np.cov(CODES.double().numpy().T))
    np.testing.assert_allclose(DIRECTIONS.std, np.sqrt(values[::-1]), rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(DIRECTIONS.vectors.numpy() * vectors.T[::-1], axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(DIRECTIONS.values(CODES).std(0), 1, rtol=1e-4)


def test_directions_leave_the_coordinates_of_the_class_alone():
    directions = principal_directions(CODES, 2, 20)
    assert len(directions.std) == 4 and not directions.vectors[:, :2].any()


def test_the_shade_is_the_distance_to_the_nearest_code():
    code_map = PrincipalMap(DIRECTIONS, CODES, SPHERE)
    shade = Shade.of(code_map, 8)
    codes = code_map.code_at(grid_places(8))
    np.testing.assert_allclose(shade.distance.ravel(), torch.cdist(codes, CODES).min(1).values, atol=1e-3)
    assert grid_places(8)[0].tolist() == [-0.875, 0.875]  # the first row is at the top


def test_neighbours_stay_neighbours_in_the_embedding():
    centres = torch.eye(3, 6) * 20
    codes = centres.repeat_interleave(20, 0) + torch.randn(60, 6, generator=generator())
    points = neighbour_embedding(codes.numpy())
    groups = points.reshape(3, 20, 2)
    within = np.linalg.norm(groups - groups.mean(1, keepdims=True), axis=2).max()
    between = min(np.linalg.norm(groups[a].mean(0) - groups[b].mean(0)) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > within
    np.testing.assert_array_equal(points, neighbour_embedding(codes.numpy()))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_few_codes_have_maps_too(count):
    directions = principal_directions(CODES[:count], 0, 20)
    for code_map in (
        PrincipalMap(directions, CODES[:count], SPHERE),
        NeighbourMap(neighbour_embedding(CODES[:count].numpy()), CODES[:count], SPHERE),
    ):
        assert torch.isfinite(code_map.code_at(grid_places(4))).all()


def test_an_embedding_is_computed_once(tmp_path):
    embedding = Embedding(CODES, tmp_path)
    assert embedding.found() is None
    points = embedding.wait()
    again = Embedding(CODES, tmp_path)
    np.testing.assert_array_equal(again.found(), points)
    assert Embedding(CODES + 1, tmp_path).found() is None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_embedding_is_computed_again(tmp_path):
    embedding = Embedding(CODES, tmp_path)
    embedding.path.write_bytes(b"no array")
    assert np.isfinite(embedding.wait()).all()


def test_an_embedding_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="embedding"), pytest.warns(IgloWarning, match="file cannot be written"):
        Embedding(CODES, tmp_path / "file").wait()


def test_an_embedding_that_is_stopped_leaves_nothing(tmp_path):
    embedding = Embedding(CODES, tmp_path)
    embedding.start()
    assert len(list(tmp_path.iterdir())) == 1
    embedding.stop()
    assert not list(tmp_path.iterdir()) and embedding.failed


def test_a_removed_embedding_is_computed_again(tmp_path):
    embedding = Embedding(CODES, tmp_path)
    embedding._process = SimpleNamespace(exitcode=0)
    embedding.start()
    assert embedding._process.is_alive()
    embedding.stop()


def test_the_process_of_an_embedding_ends_with_its_parent(tmp_path, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(maps_module, "set_threads", lambda count: None)
    monkeypatch.setattr(maps_module.multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: None))
    monkeypatch.setattr(maps_module.os, "_exit", lambda status: ended.set())
    write_array(tmp_path / "codes.npy", CODES[:3].numpy())
    write_embedding(tmp_path / "codes.npy", tmp_path / "out.npy")
    assert ended.wait(10)
