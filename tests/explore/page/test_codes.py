"""The tabs Samples, Interpolate and Directions, used as a person would, in Chromium."""

import io
import re

import pytest
from PIL import Image

from tests.explore import digits
from tests.explore.page.chromium import Locator, Page, expect
from tests.explore.page.visit import (
    canvas,
    drawn,
    go,
    hash_of,
    inspector,
    looks_right,
    on_map,
    reload,
    sample,
    settle,
    tab_to,
    tiles,
    wait_for_map,
)


@pytest.fixture
def page(visitor, address):
    return visitor.open(address)


def downloaded(page: Page, link: Locator) -> Image.Image:
    """The image that a click on a link downloads."""
    with page.expect_download() as waiting:
        link.click()
    with open(waiting.value.path(), "rb") as file:
        return Image.open(io.BytesIO(file.read()))


# --- Samples ---


def grid(page: Page) -> Locator:
    return page.get_by_role("group", name="Samples")


def test_the_seed_and_the_prior_decide_the_samples(page):
    go(page, "Samples")
    expect(grid(page).get_by_role("button")).to_have_count(32)
    looks_right(page)
    first = tiles(grid(page))
    assert len(set(first)) > 28
    seed = page.get_by_label("Seed", exact=True)
    seed.fill("7")
    seed.press("Enter")
    settle(page)
    assert tiles(grid(page)) != first
    second = tiles(grid(page))
    page.get_by_label("Prior").select_option("normal")
    settle(page)
    third = tiles(grid(page))
    assert third != second
    assert hash_of(page)["seed"] == ["7"] and hash_of(page)["prior"] == ["normal"]
    reload(page)
    assert tiles(grid(page)) == third
    page.get_by_role("button", name="New seed").click()
    settle(page)
    assert tiles(grid(page)) != third


def test_truncation_is_explained_and_pulls_the_samples_together(page):
    go(page, "Samples")
    page.get_by_role("button", name="About truncation").hover()
    expect(page.get_by_role("tooltip").filter(has_text="Truncation pulls")).to_be_visible()
    looks_right(page)
    page.mouse.move(640, 790)
    expect(page.get_by_role("tooltip").filter(has_text="Truncation pulls")).to_be_hidden()
    truncation = page.get_by_role("slider", name="Truncation")
    truncation.focus()
    page.keyboard.press("Home")
    settle(page)
    assert len(set(tiles(grid(page)))) == 1  # all are the mean of the codes
    page.get_by_label("Pull toward").select_option("nearest")
    settle(page)
    assert len(set(tiles(grid(page)))) > 1  # each is a training image


def test_a_sample_shows_whether_it_is_a_copy(page):
    go(page, "Samples")
    sample(page, 5).click()
    panel = inspector(page)
    expect(panel.get_by_role("heading", name=re.compile("^Sample"))).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile(r"^Nearest training image \d: .*distance 0\."))).to_have_count(3)
    expect(panel).to_contain_text(re.compile("This is not a copy|This looks like a copy"))
    expect(sample(page, 5)).to_have_attribute("aria-current", "true")
    assert hash_of(page)["pick"][0].startswith("s:")
    looks_right(page)


# --- Interpolate ---


def test_a_path_from_a_sample_to_a_point_of_the_map(page):
    go(page, "Samples")
    sample(page, 2).click()
    inspector(page).get_by_role("button", name="Use as A").click()
    go(page, "Map")
    wait_for_map(page)
    page.mouse.click(*on_map(page, 11))
    inspector(page).get_by_role("button", name="Use as B").click()
    assert hash_of(page)["stop"][1] == "t:11"
    panel = go(page, "Interpolate")
    expect(panel.get_by_role("button", name=re.compile("^A: Sample"))).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("^B: Training image 11"))).to_be_visible()
    expect(panel.get_by_role("img", name=re.compile("^Sizes of the 16 steps"))).to_be_visible()
    looks_right(page)
    film = panel.get_by_role("group", name="All frames")
    frames = tiles(film)
    for way in ("line", "graph"):
        page.get_by_label("Way").select_option(way)
        settle(page)
        assert tiles(film) != frames or way == "graph"
    shown = tiles(film)
    reload(page)
    assert tiles(page.get_by_role("group", name="All frames")) == shown


def test_the_slider_and_the_play_button_show_the_frames(page):
    panel = go(page, "Interpolate")
    frame = panel.get_by_role("slider", name="Frame")
    tab_to(page, frame)
    now = panel.get_by_role("img", name=re.compile("^Frame 1 of"))
    first = drawn(now)
    page.keyboard.press("End")
    settle(page)
    expect(frame).to_have_attribute("aria-valuetext", "17 of 17")
    last = panel.get_by_role("img", name="Frame 17 of 17")
    assert drawn(last) != first
    assert hash_of(page)["frame"] == ["16"]
    page.keyboard.press("Home")
    panel.get_by_role("button", name="Play").click()
    expect(frame).not_to_have_attribute("aria-valuetext", "1 of 17")
    panel.get_by_role("button", name="Pause").click()
    expect(panel.get_by_role("button", name="Play")).to_be_visible()


def test_many_stops_make_a_tour(page):
    panel = go(page, "Interpolate")
    panel.get_by_role("button", name="Add a random image").click()
    settle(page)
    stops = panel.get_by_role("button", name=re.compile("^[ABC]: "))
    expect(stops).to_have_count(3)
    names = [stop.get_attribute("aria-label")[3:] for stop in stops.all()]
    page.get_by_label("Return to A at the end").check()
    settle(page)
    expect(panel.get_by_role("slider", name="Frame")).to_have_attribute("aria-valuetext", re.compile("of 48"))
    panel.get_by_role("button", name="Move C to the left").click()
    settle(page)
    expect(stops.nth(1)).to_have_accessible_name(f"B: {names[2]}")
    looks_right(page)
    panel.get_by_role("button", name="Remove A").click()
    settle(page)
    expect(stops).to_have_count(2)


def test_a_path_is_downloaded_as_a_strip_and_as_a_film(page):
    panel = go(page, "Interpolate")
    strip = downloaded(page, panel.get_by_role("link", name="PNG strip"))
    assert strip.format == "PNG" and strip.width >= 17 * 16 and strip.height >= 16
    film = downloaded(page, panel.get_by_role("link", name="GIF"))
    assert film.format == "GIF" and film.n_frames > 8
    film.seek(film.n_frames - 1)


# --- Directions ---


def test_sliders_move_the_image(page):
    panel = go(page, "Directions")
    looks_right(page)
    after = panel.get_by_role("img", name=re.compile("^After"))
    before = drawn(after)
    first = panel.get_by_role("slider", name="Direction 1", exact=True)
    tab_to(page, first)
    page.keyboard.press("End")
    settle(page)
    moved = drawn(after)
    assert moved != before
    assert hash_of(page)["move"] == ["d:0:3"]
    reload(page)
    assert drawn(page.get_by_role("img", name=re.compile("^After"))) == moved
    panel.get_by_role("button", name="Reset").click()
    settle(page)
    assert drawn(after) == before
    panel.get_by_role("button", name="Direction 2 at -2.0 standard deviations").click()
    settle(page)
    assert drawn(after) != before and hash_of(page)["move"] == ["d:1:-2"]


def test_a_direction_is_saved_under_a_name_and_used_on_another_image(page):
    panel = go(page, "Directions")
    panel.get_by_role("slider", name="Direction 1", exact=True).fill("2")
    panel.get_by_label("Save this direction under a name").fill(digits.ATTACK)
    panel.get_by_role("button", name="Save", exact=True).click()
    panel.get_by_role("button", name="Another image").click()
    settle(page)
    after = panel.get_by_role("img", name=re.compile("^After"))
    before = drawn(after)
    expect(panel.get_by_label("Saved direction")).to_contain_text(digits.ATTACK)
    panel.get_by_role("slider", name="Strength").fill("-1")
    settle(page)
    assert drawn(after) != before and hash_of(page)["move"] == ["d:0:-2"]
    looks_right(page)
    reload(page)
    panel.get_by_role("button", name="Delete").click()
    expect(panel.get_by_label("Saved direction")).to_have_count(0)


def test_a_saved_direction_belongs_to_one_training(page):
    panel = go(page, "Directions")
    panel.get_by_role("slider", name="Direction 1", exact=True).fill("2")
    panel.get_by_label("Save this direction under a name").fill("wider")
    panel.get_by_role("button", name="Save", exact=True).click()
    expect(panel.get_by_label("Saved direction")).to_have_value("wider")

    def trained_again(route):
        route.fulfill(json={**route.fetch().json(), "digest": "another"})

    page.route("**/api/model", trained_again)
    reload(page)
    expect(panel.get_by_label("Save this direction under a name")).to_be_visible()
    expect(panel.get_by_label("Saved direction")).to_have_count(0)
    page.unroute("**/api/model")
    reload(page)
    expect(panel.get_by_label("Saved direction")).to_have_value("wider")


def test_a_moved_image_goes_on_to_the_other_tabs(page):
    panel = go(page, "Directions")
    panel.get_by_role("slider", name="Direction 1", exact=True).fill("2")
    panel.get_by_role("button", name="Use the moved image").click()
    expect(inspector(page).get_by_role("heading", level=2)).to_contain_text("direction 1: +2.0")
    inspector(page).get_by_role("button", name="Use as A").click()
    expect(go(page, "Interpolate").get_by_role("button", name=re.compile("^A: .*direction 1"))).to_be_visible()
    expect(canvas(page)).to_be_hidden()
