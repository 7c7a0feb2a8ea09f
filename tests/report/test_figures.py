"""Pixels at the places where they were drawn, and files read with Pillow."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from iglo.report import figures, plots


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def photos(rng, count, side=8, channels=3):
    return rng.integers(0, 256, (count, side, side, channels), np.uint8)


def places(canvas, image, scale):
    """Every (y, x) where the image lies on the canvas, each of its pixels a block of scale × scale."""
    block = np.kron(image, np.ones((scale, scale, 1), np.uint8))
    windows = sliding_window_view(canvas, block.shape)[:, :, 0]
    corner = np.argwhere((windows[:, :, 0, 0] == block[0, 0]).all(axis=-1))
    return [(int(y), int(x)) for y, x in corner if (windows[y, x] == block).all()]


# --- Grids ---


def test_the_size_of_a_grid_is_its_images_and_gaps_and_margins(rng):
    canvas = figures.grid([photos(rng, 3), photos(rng, 2)], scale=4)
    gap, margin = figures.GAP, figures.MARGIN
    assert canvas.shape == (2 * 32 + gap + 2 * margin, 3 * 32 + 2 * gap + 2 * margin, 3)
    assert canvas.dtype == np.uint8


def test_every_image_is_at_its_place_pixel_for_pixel(rng):
    rows = [photos(rng, 3), photos(rng, 2)]
    canvas = figures.grid(rows, scale=4)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            pitch = 32 + figures.GAP
            assert places(canvas, image, 4) == [(figures.MARGIN + i * pitch, figures.MARGIN + j * pitch)]


LONG = "a label of many words and onelongwordwithoutanyplacetobreakit"


@pytest.mark.parametrize("texts", [("title", "row", "col"), (LONG, LONG, LONG), ("two\nlines", "two\nlines", "a\nb")])
def test_text_covers_no_image_and_is_not_cut(rng, texts):
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
def test_small_images_are_enlarged_to_fit_the_page(rng, side, columns, shown):
    row = photos(rng, columns, side)
    canvas = figures.grid([row], row_labels=["G(z)"])
    assert canvas.shape[1] <= figures.PAGE
    assert len(places(canvas, row[-1], shown // side)) == 1


def test_a_white_image_has_a_visible_edge():
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


def test_stacked_grids_are_below_one_another_on_white(rng, tmp_path):
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


def test_still_parts_do_not_flicker(rng, tmp_path):
    """The frames have more colours than a GIF, and pixels above and left of the still part change; dither spreads."""
    frames = photos(rng, 3, side=32)
    frames[:, 16:, 16:] = frames[0, 16:, 16:]
    figures.save_animation(tmp_path / "a.gif", list(frames), 0.1)
    first, *others = colours_shown(tmp_path / "a.gif")
    assert all((other[16:, 16:] == first[16:, 16:]).all() for other in others)


def test_a_repeated_last_frame_is_shown_longer(rng, tmp_path):
    first, last = photos(rng, 2)
    figures.save_animation(tmp_path / "a.gif", [first, last, last, last], 0.1)
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert durations == [100, 300]


def test_smaller_frames_are_padded_with_white(rng, tmp_path):
    small, large = photos(rng, 1, side=8)[0], photos(rng, 1, side=12)[0]
    figures.save_animation(tmp_path / "a.gif", [small, large], 0.1)
    first, second = colours_shown(tmp_path / "a.gif")
    assert first.shape == second.shape == (12, 12, 3)
    assert (first[8:] == 255).all() and (first[:, 8:] == 255).all()
    assert abs(second - large).max() <= 64


def test_the_animation_of_learning_pauses_at_its_end_and_shows_the_originals(rng, tmp_path):
    frames, originals = photos(rng, 3)[:, None].repeat(2, axis=1), photos(rng, 2)
    figures.save_learning(tmp_path / "a.gif", [(f"epoch {n}", frame) for n, frame in enumerate(frames)], originals, 0.5)
    with Image.open(tmp_path / "a.gif") as gif:
        gif.seek(2)
        assert (gif.n_frames, gif.info["duration"]) == (3, 500 * (1 + figures.RESTS))
        expected = figures.grid([frames[2], originals], "epoch 2", ["drawn", "original"], scale=8)
        assert gif.size == expected.shape[1::-1]
        assert abs(np.asarray(gif.convert("RGB")).astype(int) - expected).mean() < 8  # a palette holds few colours


def test_the_animation_of_paths_goes_forward_and_back(rng, tmp_path):
    ramp = np.linspace(0, 1, 5).reshape(1, 5, 1, 1, 1) * np.ones((3, 5, 8, 8, 1))
    figures.save_paths(tmp_path / "a.gif", ramp, 0.1)
    levels = [int(frame[20, 20, 0]) for frame in colours_shown(tmp_path / "a.gif")]
    np.testing.assert_allclose(levels, [0, 64, 128, 191, 255, 191, 128, 64], atol=4)


@pytest.mark.parametrize(("side", "shown"), [(8, 8), (32, 8), (128, 3)])
def test_the_number_of_paths_depends_on_the_size_of_the_images(monkeypatch, side, shown):
    frames = []
    monkeypatch.setattr(figures, "save_animation", lambda path, stills, seconds: frames.extend(stills))
    figures.save_paths("unused", np.zeros((8, 21, side, side, 1), np.uint8), 0.1)
    pitch = max(figures.ANIMATED, side) + figures.GAP
    assert (frames[0].shape[1] - 2 * figures.MARGIN) // pitch + 1 == shown
    assert sum(frame[..., 0].size for frame in frames) < 2 * figures.ROOM


@pytest.mark.parametrize(("side", "shown"), [(16, 12), (128, 6)])
def test_the_number_of_learned_images_depends_on_their_size(monkeypatch, side, shown):
    frames = []
    monkeypatch.setattr(figures, "save_animation", lambda path, stills, seconds: frames.extend(stills))
    images = np.zeros((12, side, side, 1), np.uint8)
    figures.save_learning("unused", [(f"epoch {number}", images) for number in range(22)], images, 0.5)
    expected = figures.grid([images[:shown]] * 2, "epoch 0", ["drawn", "original"], scale=max(1, 64 // side))
    assert frames[0].shape == expected.shape


# --- Files ---


def every_figure(folder):
    rng = np.random.default_rng(0)
    images, x = photos(rng, 4), np.arange(20)
    figures.save_grid(folder / "grid.png", [images], "title", ["row"], list("abcd"))
    figures.save_animation(folder / "animation.gif", list(images), 0.2)
    plots.save_curves(folder / "curves.png", {"a": (x, x), "b": (x, 2 * x)}, plots.Labels("t"), marks=[(3, "here")])
    plots.save_split(folder / "split.png", rng.normal(size=(50, 2)), np.arange(50) % 7, np.arange(7))
    plots.save_histograms(folder / "histograms.png", {"a": rng.normal(size=99)}, "x", "t")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (8, 2)])
def test_walks_move_side_by_side(rng, tmp_path, count, rows):
    walks = rng.integers(0, 4, (count, 3, 8, 8, 1), np.uint8) * 85
    figures.save_walks(tmp_path / "walk.gif", walks, 0.1)
    with Image.open(tmp_path / "walk.gif") as animation:
        assert animation.n_frames == 3
        last = np.asarray([animation.seek(2), animation.convert("RGB")][1])
    columns = -(-count // rows)
    assert last.shape[0] == rows * (32 + figures.GAP) + figures.GAP
    x, y = (figures.GAP + place * (32 + figures.GAP) for place in ((count - 1) % columns, (count - 1) // columns))
    assert (y, x) in places(last, walks[-1, 2].repeat(3, axis=2), 4)


def test_a_walk_is_as_large_as_its_file_may_be(rng, tmp_path, monkeypatch):
    walks, sizes, sides = photos(rng, 20, side=32)[None], [], []
    for largest in (1_000_000, 100_000, 25_000):
        monkeypatch.setattr(figures, "LARGEST_WALK", largest)
        figures.save_walks(tmp_path / "walk.gif", walks, 0.1)
        sizes.append((tmp_path / "walk.gif").stat().st_size)
        with Image.open(tmp_path / "walk.gif") as animation:
            sides.append(animation.width - 2 * figures.GAP)
    assert sizes[0] <= 1_000_000 and sizes[1] <= 100_000 and sizes[2] <= 25_000
    assert sides[0] == 128 > sides[1] >= sides[2] == 32


def test_same_input_same_bytes(tmp_path):
    first, second = every_figure(tmp_path / "first"), every_figure(tmp_path / "second")
    assert set(first) == {"grid.png", "animation.gif", "curves.png", "split.png", "histograms.png"}
    for name in first:
        assert first[name].read_bytes() == second[name].read_bytes(), name
        with Image.open(first[name]) as image:
            assert not {"Software", "Creation Time", "comment"} & set(image.info), name
            if name in {"curves.png", "split.png", "histograms.png"}:
                assert image.size[0] == 2 * figures.PAGE


def test_an_error_leaves_the_older_file_and_nothing_else(rng, tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"older")

    def half(figure, target, **options):
        target.write_bytes(b"half")
        raise RuntimeError

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    with pytest.raises(RuntimeError):
        plots.save_curves(path, {"a": ([0, 1], [0, 1])}, plots.Labels("t"))
    assert [each.name for each in tmp_path.iterdir()] == ["curves.png"]
    assert path.read_bytes() == b"older"
