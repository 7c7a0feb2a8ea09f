"""The code of every address, truncation, and paths."""

from pathlib import Path

import numpy as np
import pytest
import torch

from iglo.errors import IgloWarning, UserError
from iglo.explore.addresses import code_address
from iglo.explore.opening import open_model
from tests.explore.runs import places


def test_a_training_image_has_its_code(views):
    assert torch.equal(views.space.code("t:3"), views.explored.codes[3])


def test_a_sample_is_that_of_the_python_api(views):
    drawn = views.model.draw_codes(64, 5)
    assert torch.equal(views.space.code("s:gaussian:5:7"), torch.from_numpy(drawn[7]))


def test_truncation_goes_from_the_mean_or_the_nearest_code_to_the_sample(views):
    space = views.space
    sample, mean = space.code("s:gaussian:0:1"), space.geometry.project(space.codes.mean(0))
    torch.testing.assert_close(space.code("s:gaussian:0:1:0:mean"), mean)
    nearest = space.codes[(space.codes - sample).norm(dim=1).argmin()]
    torch.testing.assert_close(space.code("s:gaussian:0:1:0:nearest"), nearest)
    between = space.code("s:gaussian:0:1:0.5:nearest")
    assert (between - nearest).norm() < (sample - nearest).norm()
    assert torch.equal(space.code("s:gaussian:0:1:1:mean"), sample)


def test_a_move_changes_the_value_along_its_direction(class_views):
    space = class_views.space  # codes may lie anywhere, so nothing is projected
    before, after = (space.directions.values(space.code(ref)[None])[0] for ref in ("t:1", "t:1~d:1:2"))
    torch.testing.assert_close(after - before, torch.nn.functional.one_hot(torch.tensor(1), len(before)) * 2.0)


def test_a_move_from_label_to_label_goes_from_mean_to_mean(class_views):
    space, first = class_views.space, class_views.config.class_dimension
    assert class_views.explored.labels == ["<b>ant</b>", "bee"]
    before, after = space.code("t:0"), space.code("t:0~l:0:1:0.5")
    wanted = (space.codes[1::3].mean(0) - space.codes[0::3].mean(0)) / 2
    torch.testing.assert_close((after - before)[first:], wanted[first:])
    assert torch.equal(after[:first], before[:first])


def test_a_class_replaces_the_class_code_alone(class_views):
    space, first = class_views.space, class_views.config.class_dimension
    code = space.code("t:1~k:2")
    assert torch.equal(code[:first], class_views.model.bundle.class_codes[2])
    assert torch.equal(code[first:], space.code("t:1")[first:])
    truncated = space.code("s:gaussian:0:1:0.5:nearest")
    assert torch.equal(truncated[:first], space.code("s:gaussian:0:1")[:first])


@pytest.mark.parametrize("way", ["circle", "line", "graph"])
@pytest.mark.parametrize("closed", [False, True])
def test_a_path_passes_its_stops(views, way, closed):
    stops = [views.space.code(ref) for ref in ("t:0", "t:5", "t:9")]
    codes = views.space.path(stops, way, 4, closed)
    assert len(codes) == (12 if closed else 9)
    for place, stop in enumerate(stops):
        torch.testing.assert_close(codes[4 * place], stop)
    torch.testing.assert_close(codes.norm(dim=1), torch.full((len(codes),), views.space.geometry.radius))


def test_a_great_circle_has_equal_steps_and_a_line_has_not(views):
    stops = [views.space.code("t:0"), views.space.code("t:5")]
    spread = {}
    for way in ("circle", "line"):
        steps = views.space.path(stops, way, 16, False).diff(dim=0).norm(dim=1)
        spread[way] = (steps.max() / steps.min()).item()
    assert spread["circle"] < 1.001 < 1.02 < spread["line"]


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("t:12", "training image must be below 12, got 12"),
        ("t:1~d:6:1", "direction must be below 6, got 6"),
        ("t:1~l:0:2:1", "label must be below 2, got 2"),
        ("t:1~k:0", "class must be below 0, got 0"),
        ("s:none:0:0", "prior: must be one of"),
        (code_address(torch.zeros(5)), "a code must have 6 numbers, got 5"),
    ],
)
def test_a_code_that_is_not_there_is_a_sentence(views, ref, words):
    with pytest.raises(UserError, match=words):
        views.space.code(ref)


def test_a_way_of_another_geometry_is_refused(class_views):
    assert class_views.space.ways == ["line", "graph"]
    with pytest.raises(UserError, match="way: must be one of line, graph, got 'circle'"):
        class_views.space.path([class_views.space.code("t:0")] * 2, "circle", 2, False)


def test_images_of_another_run_are_not_shown_and_a_warning_says_so(tmp_path):
    run = places(tmp_path)
    file = Path(run.prepared["glo"]) / "images.npy"
    np.save(file, np.load(file)[:9])
    with pytest.warns(IgloWarning, match="prepared does not hold the images of this model; reconstructions are shown"):
        assert open_model(run, "cpu").training is None
