"""Pixels looked up where they were drawn, texts measured by the renderer, files read back by Pillow."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from iglo import figures


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved, laid out."""
    kept = []

    def keep(figure, path):
        figure.draw_without_rendering()
        kept.append(figure)

    monkeypatch.setattr(figures, "_save", keep)
    return kept


def photos(rng, count, side=8, channels=3):
    return rng.integers(0, 256, (count, side, side, channels), np.uint8)


def places(canvas, image, scale):
    """Every (y, x) where the image lies on the canvas, each of its pixels a block of scale × scale."""
    block = np.kron(image, np.ones((scale, scale, 1), np.uint8))
    windows = sliding_window_view(canvas, block.shape)[:, :, 0]
    corner = np.argwhere((windows[:, :, 0, 0] == block[0, 0]).all(axis=-1))
    return [(int(y), int(x)) for y, x in corner if (windows[y, x] == block).all()]


# --- Grids ---


def test_grid_is_as_large_as_its_images_gaps_and_margins(rng):
    canvas = figures.grid([photos(rng, 3), photos(rng, 2)], scale=4)
    gap, margin = figures.GAP, figures.MARGIN
    assert canvas.shape == (2 * 32 + gap + 2 * margin, 3 * 32 + 2 * gap + 2 * margin, 3)
    assert canvas.dtype == np.uint8


def test_every_image_is_in_its_place_pixel_for_pixel(rng):
    rows = [photos(rng, 3), photos(rng, 2)]
    canvas = figures.grid(rows, scale=4)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            pitch = 32 + figures.GAP
            assert places(canvas, image, 4) == [(figures.MARGIN + i * pitch, figures.MARGIN + j * pitch)]


LONG = "a label of many words and onelongwordwithoutanyplacetobreakit"


@pytest.mark.parametrize("texts", [("title", "row", "col"), (LONG, LONG, LONG), ("two\nlines", "two\nlines", "a\nb")])
def test_text_leaves_images_whole_and_in_order_and_is_not_cut(rng, texts):
    rows = [photos(rng, 3), photos(rng, 3)]
    title, row, column = texts
    canvas = figures.grid(rows, title, [row, row], [column] * 3, scale=2)
    found = [places(canvas, image, 2) for image in itertools.chain(*rows)]
    assert [len(each) for each in found] == [1] * 6
    assert [each[0] for each in found] == sorted(each[0] for each in found)
    border = np.ones(canvas.shape[:2], bool)
    border[3:-3, 3:-3] = False
    assert (canvas[border] == 255).all()
    (top, left), bottom = found[0][0], found[-1][0][0] + 16
    assert (canvas[: top - 1, :].min(), canvas[top:bottom, : left - 1].min()) < (100, 100)  # there is text


def test_a_title_wider_than_its_images_widens_the_canvas(rng):
    canvas = figures.grid([photos(rng, 1)], title="Onelongwordwithoutanyplacetobreakit", scale=2)
    assert (canvas[:, -figures.MARGIN + 2 :] == 255).all()
    assert (canvas < 100).any()


def test_a_column_label_is_centred_over_its_image(rng):
    first, second = photos(rng, 2)
    canvas = figures.grid([np.stack([first, second])], column_labels=["m", "generalisation"], scale=2)
    [(top, left)], [(_, next_left)] = places(canvas, first, 2), places(canvas, second, 2)
    half_way = (left + next_left + 16) // 2
    ink = np.flatnonzero((canvas[: top - 1, :half_way] < 128).any(axis=(0, 2)))
    assert abs((ink.min() + ink.max()) / 2 - (left + 7.5)) <= 2


def test_a_row_label_is_centred_beside_its_image(rng):
    rows = photos(rng, 2)[:, None]
    canvas = figures.grid(rows, row_labels=["m", "m"], scale=8)
    for (image,) in rows:
        [(top, left)] = places(canvas, image, 8)
        ink = np.flatnonzero((canvas[top : top + 64, : left - 1] < 128).any(axis=(1, 2)))
        assert abs((ink.min() + ink.max()) / 2 - 31.5) <= 5  # letters hang low in their line


def test_grey_and_float_images_show_as_their_bytes(rng):
    grey = photos(rng, 2, channels=1)
    as_bytes = figures.grid([grey.repeat(3, axis=-1)])
    assert (figures.grid([grey]) == as_bytes).all()
    assert (figures.grid([grey.astype(np.float32) / 255]) == as_bytes).all()
    overshoot = np.array([-0.5, 1.5]).reshape(2, 1, 1, 1) * np.ones((2, 8, 8, 1))
    assert (figures.grid([overshoot]) == figures.grid([overshoot.clip(0, 1)])).all()


@pytest.mark.parametrize(
    ("side", "columns", "shown"), [(32, 8, 96), (32, 11, 64), (8, 4, 96), (16, 9, 80), (128, 5, 128)]
)
def test_small_images_are_enlarged_as_far_as_the_page_is_wide(rng, side, columns, shown):
    row = photos(rng, columns, side)
    canvas = figures.grid([row], row_labels=["G(z)"])
    assert canvas.shape[1] <= figures.PAGE
    assert len(places(canvas, row[-1], shown // side)) == 1


def test_an_image_on_white_keeps_an_edge():
    canvas = figures.grid([np.ones((1, 8, 8, 1))], scale=2)
    start, end = figures.MARGIN - 1, figures.MARGIN + 16
    frame = np.zeros(canvas.shape[:2], bool)
    frame[start : end + 1, start : end + 1] = True
    frame[start + 1 : end, start + 1 : end] = False
    assert ((canvas < 255).all(axis=-1) == frame).all()


def test_save_grid_writes_the_grid(rng, tmp_path):
    rows = [photos(rng, 2)]
    figures.save_grid(tmp_path / "new" / "grid.png", rows, title="t", row_labels=["r"])
    assert (np.asarray(Image.open(tmp_path / "new" / "grid.png")) == figures.grid(rows, "t", ["r"])).all()


def test_stacked_grids_stand_whole_below_one_another_on_white(rng, tmp_path):
    wide, narrow = figures.grid([photos(rng, 3)], scale=2), figures.grid([photos(rng, 1)], scale=2)
    figures.save_stacked(tmp_path / "stacked.png", [wide, narrow])
    seen = np.asarray(Image.open(tmp_path / "stacked.png"))
    assert seen.shape == (len(wide) + len(narrow), wide.shape[1], 3)
    assert (seen[: len(wide)] == wide).all()
    assert (seen[len(wide) :, : narrow.shape[1]] == narrow).all()
    assert (seen[len(wide) :, narrow.shape[1] :] == 255).all()


# --- Animations ---


def test_animation_has_a_frame_for_each_image(rng, tmp_path):
    frames = [figures.grid([photos(rng, 2)], title=f"epoch {i}") for i in range(4)]
    figures.save_animation(tmp_path / "a.gif", frames, seconds_per_frame=0.25)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (4, frames[0].shape[1::-1], 0)
        for index in range(4):
            gif.seek(index)
            assert gif.info["duration"] == 250


def colours_shown(path):
    with Image.open(path) as gif:
        for index in range(gif.n_frames):
            gif.seek(index)
            yield np.asarray(gif.convert("RGB")).astype(int)


def test_animation_shows_the_colours_of_its_frames(tmp_path):
    ramp = np.linspace(0, 1, 64).reshape(8, 8, 1)
    frames = [np.concatenate([ramp, np.full((8, 8, 1), level)]) for level in (0.0, 0.5, 1.0)]
    figures.save_animation(tmp_path / "a.gif", frames, 0.1)
    for frame, seen in zip(frames, colours_shown(tmp_path / "a.gif"), strict=True):
        assert abs(seen - 255 * frame).max() <= 6  # Pillow matches colours in steps of 4


def test_what_rests_does_not_flicker(rng, tmp_path):
    """With far more colours than a GIF holds, and change above and left of what rests, where dither comes from."""
    frames = photos(rng, 3, side=32)
    frames[:, 16:, 16:] = frames[0, 16:, 16:]
    figures.save_animation(tmp_path / "a.gif", list(frames), 0.1)
    first, *others = colours_shown(tmp_path / "a.gif")
    assert all((other[16:, 16:] == first[16:, 16:]).all() for other in others)


def test_a_repeated_last_frame_rests_for_both_times(rng, tmp_path):
    first, last = photos(rng, 2)
    figures.save_animation(tmp_path / "a.gif", [first, last, last, last], 0.1)
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert durations == [100, 300]


# --- Plots ---


def box_of(text):
    return Text.get_window_extent(text)  # an annotation's own would take in its leader line


def overlapping(texts):
    boxes = [box_of(text) for text in texts]
    return [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def inside(figure, texts):
    page = figure.bbox
    boxes = [box_of(text) for text in texts]
    return all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)


@pytest.mark.parametrize("log_y", [False, True])
def test_names_of_curves_keep_their_order_and_apart(drawn, log_y):
    x = np.arange(50)
    curves = {f"σ {i}": (x, 1 + 0.01 * (i % 3) + 1e-4 * i + 9 * np.exp(-x)) for i in range(10)}
    figures.save_curves("unused", curves, "epoch", "loss", "Loss", log_y=log_y)
    names = drawn[0].axes[0].texts
    assert {text.get_text() for text in names} == set(curves)
    assert not overlapping(names)
    assert inside(drawn[0], names)
    by_height = sorted(names, key=lambda text: box_of(text).y0)
    assert [text.get_text() for text in by_height] == sorted(curves, key=lambda name: curves[name][1][-1])


def test_curves_are_drawn_as_given_and_told_apart(drawn):
    curves = {str(i): (np.arange(5), np.arange(5.0) + i) for i in range(25)}
    figures.save_curves("unused", curves, "x", "y", "title")
    lines = drawn[0].axes[0].lines
    for line, (x, y) in zip(lines, curves.values(), strict=True):
        assert (line.get_xydata() == np.column_stack([x, y])).all()
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}) == 25


@pytest.mark.parametrize(("log_y", "last"), [(True, (1, 0.5)), (False, (2, 0.0))])
def test_a_name_points_to_the_last_point_that_can_be_drawn(drawn, log_y, last):
    curves = {"a": (range(4), [1, 0.5, 0, np.nan]), "b": ([0], [0.2])}
    figures.save_curves("unused", curves, "x", "y", "t", log_y=log_y)
    assert [tuple(text.xy) for text in drawn[0].axes[0].texts] == [last, (0, 0.2)]


def test_a_power_law_is_a_straight_line_on_two_logarithmic_axes(drawn):
    x = np.array([1000, 4000, 16000, 64000])
    figures.save_curves("unused", {"a": (x, 3e-4 * x**1.5)}, "x", "y", "t", log_y=True, log_x=True)
    (axes,) = drawn[0].axes
    steps = np.diff(axes.transData.transform(axes.lines[0].get_xydata()), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape))
    assert steps[0].min() > 0


@pytest.mark.parametrize("curves", [{}, {"empty": ([], [])}, {"empty": ([], []), "zero": ([0], [0]), "b": ([1], [1])}])
def test_curves_without_a_point_to_draw_are_left_unnamed(drawn, curves):
    figures.save_curves("unused", curves, "x", "y", "t", log_y=True)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == [name for name in curves if name == "b"]


def test_marks_stand_at_their_place_with_texts_apart(drawn):
    marks = [(10, "subset 2"), (12, "subset 3"), (15, "a longer text"), (60, "full set"), (99, "encoder")]
    curve = {"curve": (np.arange(100), np.arange(100))}
    figures.save_curves("unused", curve, "x", "y", "A title above the texts of the marks", marks=marks)
    (axes,) = drawn[0].axes
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [x for x, _ in marks]
    title = axes._left_title
    assert not overlapping([*axes.texts, title])
    assert inside(drawn[0], [*axes.texts, title])


def test_bands_lie_around_their_curves_and_dashed_curves_share_the_colour(drawn):
    x = np.arange(3.0)
    curves = {name: (x, x + index, np.full(3, 0.5)) for index, name in enumerate("ab")}
    figures.save_bands("unused", curves, "x", "y", "t", dashed={"b": (x, 2 * x, x)}, x_ticks=["0", "10", "500"])
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
    figures.save_bands("unused", {"a": (x, x, x), "b": ([0], [1], [0])}, "x", "y", "t", log_x=True)
    (axes,) = drawn[0].axes
    assert axes.lines[0].get_xdata().tolist() == [1, 100]
    assert [text.get_text() for text in axes.texts] == ["a"]


def test_split_outlines_the_chosen_and_gives_neighbours_different_colours(drawn, rng):
    centres = np.stack(np.meshgrid(range(12), range(11)), axis=-1).reshape(-1, 2)[:128]
    labels = np.arange(5000) % 128
    projection = centres[labels] + 0.1 * rng.normal(size=(5000, 2))
    selected = np.arange(0, 5000, 10)
    figures.save_split("unused", projection, labels, selected)
    every, chosen, *_ = drawn[0].axes[0].collections
    assert (every.get_offsets() == projection).all()
    assert (chosen.get_offsets() == projection[selected]).all()
    assert (chosen.get_edgecolors() == [0, 0, 0, 1]).all()
    assert (chosen.get_facecolors() == every.get_facecolors()[selected]).all()
    of_cluster = every.get_facecolors()[:128]
    assert (every.get_facecolors() == of_cluster[labels]).all()
    near = np.linalg.norm(centres[:, None] - centres, axis=-1) == 1
    assert not (near & (of_cluster[:, None] == of_cluster).all(axis=-1)).any()
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert legend == ["5000 images in 128 clusters", "500 chosen"]


def test_histograms_have_area_one_and_their_medians_marked(drawn, rng):
    named = {"samples": rng.gamma(2, size=300), "held-out": np.array([1.0, 2.0, 4.0]), "three": np.zeros(5)}
    figures.save_histograms("unused", named, "distance", "Title")
    (axes,) = drawn[0].axes
    medians = [float(np.median(values)) for values in named.values()]
    assert [line.get_xdata()[0] for line in axes.lines] == medians
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()][1] == "held-out (median 2)"
    assert not legend.get_window_extent().overlaps(axes._left_title.get_window_extent())
    for filled in axes.patches[::2]:
        x, y = filled.get_xy().T
        assert abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2 == pytest.approx(1)  # shoelace formula


# --- Files ---


def every_figure(folder):
    rng = np.random.default_rng(0)
    images, x = photos(rng, 4), np.arange(20)
    figures.save_grid(folder / "grid.png", [images], "title", ["row"], list("abcd"))
    figures.save_animation(folder / "animation.gif", list(images), 0.2)
    figures.save_curves(folder / "curves.png", {"a": (x, x), "b": (x, 2 * x)}, "x", "y", "t", marks=[(3, "here")])
    figures.save_split(folder / "split.png", rng.normal(size=(50, 2)), np.arange(50) % 7, np.arange(7))
    figures.save_histograms(folder / "histograms.png", {"a": rng.normal(size=99)}, "x", "t")
    return {path.name: path for path in folder.iterdir()}


def test_same_input_same_bytes(tmp_path):
    first, second = every_figure(tmp_path / "first"), every_figure(tmp_path / "second")
    assert set(first) == {"grid.png", "animation.gif", "curves.png", "split.png", "histograms.png"}
    for name in first:
        assert first[name].read_bytes() == second[name].read_bytes(), name
        with Image.open(first[name]) as image:
            assert not {"Software", "Creation Time", "comment"} & set(image.info), name
            if name in {"curves.png", "split.png", "histograms.png"}:
                assert image.size[0] == 2 * figures.PAGE


def test_a_failure_leaves_the_older_file_and_nothing_else(rng, tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"older")

    def half(figure, target, **options):
        target.write_bytes(b"half")
        raise RuntimeError

    monkeypatch.setattr(figures.Figure, "savefig", half)
    with pytest.raises(RuntimeError):
        figures.save_curves(path, {"a": ([0, 1], [0, 1])}, "x", "y", "t")
    assert [each.name for each in tmp_path.iterdir()] == ["curves.png"]
    assert path.read_bytes() == b"older"
