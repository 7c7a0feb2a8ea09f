"""The figures of a run and their labels, also for very few images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iglo.evaluation import metrics
from iglo.evaluation.memorisation import Nearness
from iglo.evaluation.paths import Paths
from iglo.evaluation.run import Split
from iglo.latent.priors import PRIORS, PriorChoice, fit_prior
from iglo.models.geometry import Euclidean
from iglo.models.snapshots import Snapshots
from iglo.report import run_figures
from tests.tiny import tiny_images


@pytest.fixture
def grids(monkeypatch):
    """The grids that would be drawn: name → (rows, title, row labels, column labels)."""
    seen = {}

    def save_grid(path, rows, title, row_labels, column_labels, scale):
        seen[path.name] = SimpleNamespace(rows=rows, title=title, labels=row_labels, columns=column_labels)

    monkeypatch.setattr(run_figures.figures, "save_grid", save_grid)
    return seen


def snapshots_of(images, count):
    """Frames of two stages, each nearer to the originals than the one before."""
    snapshots = Snapshots(torch.arange(count))
    for number, place in enumerate((("staged 1", 1), ("staged 1", 2), ("full", 1))):
        snapshots.add(*place, torch.from_numpy(images[:count] // (4 - number)))
    return snapshots


def test_rows_of_stages_are_labelled_with_their_psnr(grids, tmp_path):
    images = tiny_images(5)
    snapshots = snapshots_of(images, 3)
    run_figures.draw_stages(tmp_path, SimpleNamespace(snapshots=snapshots, subset_id=np.array([1, 1, 2, 2, 2])), images)
    psnr = [metrics.psnr(frame.numpy() / 255, images[:3] / 255) for frame in snapshots.frames]
    np.testing.assert_allclose(run_figures.psnr_of_frames(snapshots, images), psnr, rtol=1e-6)
    assert grids["stages.png"].labels == [f"staged 1\n{psnr[1]:.1f} dB", f"full\n{psnr[2]:.1f} dB", "original"]
    assert grids["stages.png"].columns == ["S1", "S1", "S2"]
    assert grids["stage-staged-1.png"].labels[0] == f"epoch 1\n{psnr[0]:.1f} dB"
    assert (tmp_path / "learning.gif").exists() and len({f"{value:.1f}" for value in psnr}) == 3


def test_an_untrained_model_has_no_figures_of_stages(grids, tmp_path):
    model = SimpleNamespace(snapshots=Snapshots(torch.zeros(0).long()), subset_id=np.zeros(2))
    run_figures.draw_stages(tmp_path, model, tiny_images(2))
    assert not grids and not [*tmp_path.iterdir()]


def paths_of(pairs, points=5):
    return Paths(np.zeros((pairs, 2), int), np.random.default_rng(0).random((pairs, points, 16, 16, 1)))


@pytest.mark.parametrize(("pairs", "shown", "in_overview"), [(0, 0, 0), (1, 1, 1), (2, 2, 2), (9, 8, 3)])
def test_any_number_of_paths_is_drawn(grids, tmp_path, pairs, shown, in_overview):
    paths, images = paths_of(pairs), tiny_images(1) / np.float32(255)
    run_figures.draw_interpolations(tmp_path, paths)
    run_figures.draw_midpoints(tmp_path, paths, paths.images[:, 1])
    run_figures.draw_overview(tmp_path / "overview.png", images, images, paths, images, images)
    assert len(grids["overview.png"].rows) == 4 + in_overview
    assert grids["overview.png"].labels[2:][:in_overview] == ["interpolated", "", ""][:in_overview]
    assert (tmp_path / "interpolation.gif").exists() is ("interpolations.png" in grids) is (pairs > 0)
    assert pairs == 0 or len(grids["interpolations.png"].rows) == shown
    assert ("midpoints.png" in grids) is (pairs > 0)


def test_midpoints_stand_between_their_ends(grids, tmp_path):
    paths = paths_of(run_figures.COLUMNS + 2)
    run_figures.draw_midpoints(tmp_path, paths, paths.images[:, 1])
    drawn = grids["midpoints.png"]
    assert drawn.labels == 2 * ["start", "midpoint", "along the graph", "end"]
    assert [len(row) for row in drawn.rows] == 4 * [12] + 4 * [2]
    for row, point in ((5, 2), (6, 1)):
        np.testing.assert_array_equal(drawn.rows[row], (paths.images[12:, point] * 255).round())


def test_priors_without_kernel_distances_are_shown_in_their_order(grids, tmp_path):
    samples = {name: tiny_images(1) for name in PRIORS}
    run_figures.draw_priors(tmp_path, samples, PriorChoice({}, "gaussian", {}))
    assert grids["priors.png"].labels == list(PRIORS)
    assert grids["priors.png"].title == "Samples of every prior; chosen: gaussian"
    settings = {"neighbours": fit_prior("neighbours", torch.eye(9), Euclidean(1.0), 0, k=5, noise=0.3)}
    run_figures.draw_priors(tmp_path, samples, PriorChoice(settings, "gaussian", {}))
    assert grids["priors.png"].labels[5] == "neighbours (k 5, noise 0.3)"
    distances = dict.fromkeys(PRIORS, 1.0) | {"gmm": 0.5}
    run_figures.draw_priors(tmp_path, samples, PriorChoice({}, "gmm", distances, dict.fromkeys(PRIORS, 0.025)))
    assert grids["priors.png"].labels[0] == "gmm\n0.500 ± 0.025" and "its kernel distance" in grids["priors.png"].title


def test_a_single_training_image_is_the_neighbour_of_every_sample(grids, tmp_path):
    images = tiny_images(3) / np.float32(255)
    near = dict.fromkeys(("pixels", "features"), Nearness.measure(images, images[:1], images[1:2]))
    run_figures.draw_neighbours(tmp_path, images, images[:1], near)
    assert len(grids["neighbours.png"].rows) == 6 and {len(row) for row in grids["neighbours.png"].rows} == {3}
    run_figures.draw_nearness(tmp_path, near)
    assert (tmp_path / "nearness-pixels.png").exists()


@pytest.mark.parametrize(("count", "dimensions"), [(1, 3), (2, 1), (6, 1), (6, 3)])
def test_a_split_of_few_images_or_components_is_drawn(grids, tmp_path, monkeypatch, count, dimensions):
    drawn = {}
    monkeypatch.setattr(run_figures.plots, "save_split", lambda path, projection, *_: drawn.update(at=projection))
    points = np.random.default_rng(0).random((count, dimensions))
    model = SimpleNamespace(subset_id=np.ones(count))
    run_figures.draw_split(tmp_path, model, tiny_images(count), Split(points, np.zeros(count, int), "pixels"))
    assert drawn["at"].shape == (count, 2) and np.isfinite(drawn["at"]).all()
    centred = points - points.mean(0)
    if dimensions == 1:
        np.testing.assert_allclose(abs(drawn["at"][:, 0]), abs(centred[:, 0]), atol=1e-12)
    assert grids["chosen.png"].title == "Images chosen from 1 cluster for the first subset"


def test_losses_are_what_was_logged(tmp_path, monkeypatch):
    """A stage without a term leaves a gap in its curve; an encoder's rows are left out."""
    drawn = {}
    monkeypatch.setattr(
        run_figures.plots, "save_curves", lambda path, curves, *_, **named: drawn.update(curves, **named)
    )
    log = [
        {"stage": "staged 1", "epoch": 1, "images_seen": 10, "reconstruction": 0.5},
        {"stage": "staged 1", "epoch": 2, "images_seen": 20, "reconstruction": 0.4},
        {"stage": "encoder", "epoch": 1, "images_seen": 5, "code_regression": 3.0, "held_out": 0.1},
        {"stage": "full", "epoch": 1, "images_seen": 15, "continuity": 0.3},
    ]
    run_figures.draw_losses(tmp_path, log)
    assert drawn["marks"] == [(0, "staged 1"), (20, "full")]
    np.testing.assert_array_equal(drawn["reconstruction"], [[10, 20, np.nan], [0.5, 0.4, np.nan]])
    np.testing.assert_array_equal(drawn["continuity"], [[35, np.nan], [0.3, np.nan]])
    assert drawn.keys() == {"reconstruction", "continuity", "log_y", "marks"}
