"""Positions of curves, points and texts after layout."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from iglo.report import plots

LABELS = plots.Labels("title", "x", "y")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would be saved, after layout."""
    kept = []

    def keep(figure, path):
        figure.draw_without_rendering()
        kept.append(figure)

    monkeypatch.setattr(plots, "save", keep)
    return kept


def box_of(text):
    return Text.get_window_extent(text)  # an annotation's own extent includes its line


def overlapping(texts):
    boxes = [box_of(text) for text in texts]
    return [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def inside(figure, texts):
    page = figure.bbox
    boxes = [box_of(text) for text in texts]
    return all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)


@pytest.mark.parametrize("log_y", [False, True])
def test_names_of_curves_keep_their_order_and_do_not_overlap(drawn, log_y):
    x = np.arange(50)
    curves = {f"σ {i}": (x, 1 + 0.01 * (i % 3) + 1e-4 * i + 9 * np.exp(-x)) for i in range(10)}
    plots.save_curves("unused", curves, LABELS, log_y=log_y)
    names = drawn[0].axes[0].texts
    assert {text.get_text() for text in names} == set(curves)
    assert not overlapping(names)
    assert inside(drawn[0], names)
    by_height = sorted(names, key=lambda text: box_of(text).y0)
    assert [text.get_text() for text in by_height] == sorted(curves, key=lambda name: curves[name][1][-1])


def test_curves_have_the_given_points_and_different_styles(drawn):
    curves = {str(i): (np.arange(5), np.arange(5.0) + i) for i in range(25)}
    plots.save_curves("unused", curves, LABELS)
    lines = drawn[0].axes[0].lines
    for line, (x, y) in zip(lines, curves.values(), strict=True):
        assert (line.get_xydata() == np.column_stack([x, y])).all()
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}) == 25


@pytest.mark.parametrize(("log_y", "last"), [(True, (1, 0.5)), (False, (2, 0.0))])
def test_a_name_points_to_the_last_point_that_can_be_drawn(drawn, log_y, last):
    curves = {"a": (range(4), [1, 0.5, 0, np.nan]), "b": ([0], [0.2])}
    plots.save_curves("unused", curves, LABELS, log_y=log_y)
    assert [tuple(text.xy) for text in drawn[0].axes[0].texts] == [last, (0, 0.2)]


def test_a_power_law_is_a_straight_line_on_two_logarithmic_axes(drawn):
    x = np.array([1000, 4000, 16000, 64000])
    plots.save_curves("unused", {"a": (x, 3e-4 * x**1.5)}, LABELS, log_y=True, log_x=True)
    (axes,) = drawn[0].axes
    steps = np.diff(axes.transData.transform(axes.lines[0].get_xydata()), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape))
    assert steps[0].min() > 0


@pytest.mark.parametrize("curves", [{}, {"empty": ([], [])}, {"empty": ([], []), "zero": ([0], [0]), "b": ([1], [1])}])
def test_curves_without_a_point_to_draw_have_no_name(drawn, curves):
    plots.save_curves("unused", curves, LABELS, log_y=True)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == [name for name in curves if name == "b"]


def test_marks_are_at_their_places_and_texts_do_not_overlap(drawn):
    marks = [(10, "subset 2"), (12, "subset 3"), (15, "a longer text"), (60, "full set"), (99, "encoder")]
    curve = {"curve": (np.arange(100), np.arange(100))}
    plots.save_curves("unused", curve, plots.Labels("A title above the texts of the marks", "x", "y"), marks=marks)
    (axes,) = drawn[0].axes
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [x for x, _ in marks]
    title = axes._left_title
    assert not overlapping([*axes.texts, title])
    assert inside(drawn[0], [*axes.texts, title])


def test_bands_are_around_their_curves_and_dashed_curves_have_the_same_colour(drawn):
    x = np.arange(3.0)
    curves = {name: (x, x + index, np.full(3, 0.5)) for index, name in enumerate("ab")}
    plots.save_bands("unused", curves, LABELS, dashed={"b": (x, 2 * x, x)}, x_ticks=["0", "10", "500"])
    (axes,) = drawn[0].axes
    a, b, dashed = axes.lines
    assert (b.get_xydata() == np.column_stack([x, x + 1])).all()
    assert (dashed.get_xydata() == np.column_stack([x, 2 * x])).all()
    assert dashed.get_color() == b.get_color() != a.get_color()
    assert dashed.is_dashed() and not b.is_dashed()
    edges = axes.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in edges} == {(i, i + d) for i in range(3) for d in (-0.5, 0.5)}
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "10", "500"]


def test_bands_on_a_logarithmic_axis_start_after_zero(drawn):
    x = np.array([0.0, 1, 100])
    plots.save_bands("unused", {"a": (x, x, x), "b": ([0], [1], [0])}, LABELS, log_x=True)
    (axes,) = drawn[0].axes
    assert axes.lines[0].get_xdata().tolist() == [1, 100]
    assert [text.get_text() for text in axes.texts] == ["a"]


def cloud(rng, clusters):
    """Projection, labels and chosen rows of 600 images in distant clusters."""
    labels = np.arange(600) % clusters
    return 9 * rng.normal(size=(clusters, 2))[labels] + 0.1 * rng.normal(size=(600, 2)), labels, np.arange(0, 600, 10)


@pytest.mark.parametrize("clusters", [1, 12, 64])
def test_split_shows_all_images_and_the_chosen_ones_and_the_means(drawn, rng, clusters):
    projection, labels, selected = cloud(rng, clusters)
    plots.save_split("unused", projection, labels, selected)
    every, chosen, means, *_ = drawn[0].axes[0].collections
    assert (every.get_offsets() == projection).all()
    assert (chosen.get_offsets() == projection[selected]).all() and (chosen.get_edgecolors() == [0, 0, 0, 1]).all()
    np.testing.assert_allclose(means.get_offsets()[clusters - 1], projection[labels == clusters - 1].mean(axis=0))
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert legend[1:] == ["60 chosen", f"means of {clusters} clusters"] and len(means.get_offsets()) == clusters
    assert ("a colour for each cluster" in legend[0]) is (clusters <= 12)


def test_either_each_cluster_has_its_own_colour_or_none_has(drawn, rng):
    for clusters in (12, 64):
        projection, labels, selected = cloud(rng, clusters)
        plots.save_split("unused", projection, labels, selected)
        every, chosen, *_ = drawn[-1].axes[0].collections
        colours = {tuple(colour) for colour in every.get_facecolors()}
        if clusters == 12:
            assert (
                len({(label, *c) for label, c in zip(labels, every.get_facecolors(), strict=True)})
                == len(colours)
                == 12
            )
            assert (chosen.get_facecolors() == every.get_facecolors()[selected]).all()
        else:
            (grey,) = colours
            (marked,) = {tuple(colour) for colour in chosen.get_facecolors()}
            assert grey[0] == grey[1] == grey[2] and max(marked[:3]) - min(marked[:3]) > 0.3


LONG = "256 images nearest to the centroids of 128 clusters (efficientnet_v2_l_imagenet1k_v1_of_a_long_name)"


@pytest.mark.parametrize("title", [LONG, "w" * 150, "short"])
def test_a_title_is_not_cut(drawn, rng, title):
    projection, labels, selected = cloud(rng, 4)
    plots.save_split("unused", projection, labels, selected, title)
    plots.save_histograms("unused", {"a name": rng.normal(size=9)}, "x", title)
    labels = plots.Labels(title, "x", "y")
    plots.save_curves("unused", {"a long name at the right": ([0, 1], [0, 1])}, labels, marks=[(0.5, "mark")])
    for figure in drawn:
        (axes,) = figure.axes
        assert axes._left_title.get_text().replace("\n", " ").split() == title.split() or "w" * 20 in title
        assert inside(figure, [axes._left_title])
        legend = axes.get_legend()
        assert not legend or not legend.get_window_extent().overlaps(box_of(axes._left_title))


def test_no_line_leads_from_a_curve_that_ends_early_to_its_name(drawn):
    x = np.arange(100.0)
    early = np.where(x < 40, x, np.nan)
    plots.save_curves("unused", {"early": (x, early), "whole": (x, 100 - x)}, LABELS)
    leaders = {text.get_text(): text.arrow_patch is not None for text in drawn[0].axes[0].texts}
    assert leaders == {"early": False, "whole": True}


def test_a_single_point_is_a_dot(drawn):
    y = [np.nan, 1, np.nan, 2, 3, np.nan, 4]
    plots.save_curves("unused", {"a": (np.arange(7), y)}, LABELS)
    assert drawn[0].axes[0].lines[0].get_markevery() == [1, 6]


def test_histograms_have_area_1_and_marked_medians(drawn, rng):
    named = {"samples": rng.gamma(2, size=300), "held-out": np.array([1.0, 2.0, 4.0]), "three": np.zeros(5)}
    plots.save_histograms("unused", named, "distance", "Title")
    (axes,) = drawn[0].axes
    medians = [float(np.median(values)) for values in named.values()]
    assert [line.get_xdata()[0] for line in axes.lines] == medians
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()][1] == "held-out (median 2)"
    assert not legend.get_window_extent().overlaps(axes._left_title.get_window_extent())
    for filled in axes.patches[::2]:
        x, y = filled.get_xy().T
        assert abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2 == pytest.approx(1)  # shoelace formula


def test_changes_go_from_the_first_number_to_the_second(drawn):
    changes = {"first run": (25.0, 24.0), "2026-12": (20.0, 30.0), "a" * 64: (1.0, 1.0)}
    plots.save_changes("unused", changes, LABELS, ("before", "after"))
    (axes,) = drawn[0].axes
    first, second = (np.asarray(dots.get_offsets()) for dots in axes.collections[1:])
    assert first[:, 0].tolist() == [25, 20, 1] and second[:, 0].tolist() == [24, 30, 1]
    names = axes.get_yticklabels()
    assert [text.get_text() for text in names] == list(changes) and inside(drawn[0], names)
    heights = [box_of(text).y0 for text in names]
    assert heights == sorted(heights, reverse=True)  # the first one is at the top
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]
