"""Paths between codes: which pairs, how even, and whether a midpoint is a crossfade."""

import numpy as np
import pytest
import torch

from iglo.evaluation.paths import (
    Paths,
    close_pairs,
    continuity,
    ghosts,
    graph_ghosts,
    graph_midpoints,
    interpolations,
    midpoints_after,
)
from iglo.latent.paths import CodeGraph
from iglo.models.glo import render
from iglo.training.glo_stages import start_model
from tests.evaluation.stand_ins import features_of, network
from tests.tiny import RUNTIME, tiny_images, tiny_params

HALF = torch.tensor([0.5])


def paths_of(weights: np.ndarray, pairs: int = 6) -> Paths:
    """Crossfades from one image to another, with these weights of the end."""
    start, end = (tiny_images(pairs, seed=seed) / np.float32(255) for seed in (0, 1))
    fades = weights.astype(np.float32)[None, :, None, None, None]
    return Paths(np.zeros((pairs, 2), int), (1 - fades) * start[:, None] + fades * end[:, None])


def continuity_of(paths: Paths, train: np.ndarray) -> dict:
    features = features_of(paths.images.reshape(-1, 16, 16, 1)).reshape(*paths.images.shape[:2], -1)
    return continuity(paths, paths.images[:, :2], features, features_of(train / np.float32(255)), network(), 0)


def test_pairs_do_not_depend_on_how_many_are_drawn_nor_on_the_seed_of_training():
    models = [start_model(tiny_images(9), tiny_params(seed=seed, latent__init="normal"), RUNTIME)[0] for seed in (0, 1)]
    few, many = (tiny_params(evaluate__pairs=pairs, evaluate__samples=8).evaluate for pairs in (3, 8))
    paths, more = interpolations(models[0], few, RUNTIME), midpoints_after(models[0], few, RUNTIME)
    all_paths = interpolations(models[1], many, RUNTIME)
    np.testing.assert_array_equal(np.concatenate([paths.ids, more.ids]), all_paths.ids)
    assert more.images.shape[:2] == (5, 3) and not len(midpoints_after(models[0], many, RUNTIME).ids)
    assert (all_paths.ids[:, 0] != all_paths.ids[:, 1]).all()
    same = interpolations(models[0], many, RUNTIME)
    np.testing.assert_allclose(more.images, same.images[3:, [0, same.middle, -1]], atol=1e-6)
    assert close_pairs(models[0], few, RUNTIME).shape == (3, 2, 16, 16, 1)


def test_an_even_crossfade_has_jerkiness_1_and_a_jump_has_as_much_as_there_are_steps():
    train = tiny_images(6)
    even, jump = (continuity_of(paths_of(np.array(w)), train) for w in ([0, 0.25, 0.5, 0.75, 1], [0, 0, 0, 1, 1]))
    assert even["feature_jerkiness_squares"] == pytest.approx(1, rel=1e-4)
    assert jump["feature_jerkiness_squares"] == pytest.approx(4, rel=1e-4)
    # both paths are straight lines in these features
    assert even["feature_path_length_squares"] == pytest.approx(jump["feature_path_length_squares"], rel=1e-4)
    assert even["se"]["feature_jerkiness_squares"] < 1e-4 and even["se"].keys() == even.keys() - {"se"}


def test_midpoints_of_a_crossfade_are_less_real_than_their_ends():
    train = np.concatenate([tiny_images(6, seed=0), tiny_images(6, seed=1)])
    darker = (train * 0.9).astype(np.uint8)
    values = continuity_of(paths_of(np.linspace(0, 1, 5)), darker)
    assert values["midpoint_realism_squares"] - 2 * values["se"]["midpoint_realism_squares"] > 1


def test_a_crossfade_is_a_ghost_and_a_real_image_is_none():
    real = tiny_images(4, seed=2) / np.float32(255)
    fade, third = (paths_of(np.array([0, 0.5, 1]), pairs) for pairs in (6, 4))
    third.images[:, 1] = real
    of_fades, of_both = ghosts([fade], real), ghosts([fade, third], real)
    assert of_fades["ghost_index"] == pytest.approx(1, abs=1e-3) and of_fades["ghost_index_real"] < 0.3
    assert 0.6 < of_both["ghost_index"] < 0.75 and of_both["se"]["ghost_index"] > of_fades["se"]["ghost_index"]


def test_midpoints_along_the_graph_are_those_of_the_same_pairs():
    params = tiny_params(latent__init="normal", evaluate__pairs=3, evaluate__samples=8)
    model, _ = start_model(tiny_images(30), params, RUNTIME)
    parts = interpolations(model, params.evaluate, RUNTIME), midpoints_after(model, params.evaluate, RUNTIME)
    middles = graph_midpoints(model, parts, RUNTIME)
    codes, ids = model.codes.values, np.concatenate([part.ids for part in parts])
    along = CodeGraph.of(codes, model.config.geometry()).interpolate(codes[ids[:, 0]], codes[ids[:, 1]], HALF)
    np.testing.assert_allclose(middles, render(model.generator, along[:, 0], RUNTIME), atol=1e-6)
    starts, ends = (np.concatenate([part.images[:, at] for part in parts]) for at in (0, -1))
    as_paths = Paths(ids, np.stack([starts, middles, ends], axis=1))
    values = graph_ghosts(parts, middles)
    assert values["ghost_index_graph"] == pytest.approx(ghosts([as_paths], starts)["ghost_index"])
    assert values["se"].keys() == {"ghost_index_graph"}


def test_one_training_image_has_no_path():
    params = tiny_params(latent__init="normal")
    model, _ = start_model(tiny_images(1), params, RUNTIME)
    paths = interpolations(model, params.evaluate, RUNTIME)
    close = close_pairs(model, params.evaluate, RUNTIME)
    assert graph_ghosts([paths], graph_midpoints(model, [paths], RUNTIME)) == {}
    assert len(paths.ids) == len(paths.images) == len(close) == 0
    assert (
        continuity(paths, close, np.zeros((0, 3, 5)), np.zeros((1, 5)), network(), 0)
        == {}
        == ghosts([paths], tiny_images(1))
    )
