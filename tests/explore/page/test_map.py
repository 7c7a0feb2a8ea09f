"""The tab Map, used as a person would, in Chromium."""

import re

import pytest

from tests.explore import digits
from tests.explore.page.chromium import expect
from tests.explore.page.layout import colours, picture
from tests.explore.page.visit import (
    canvas,
    hash_of,
    inspector,
    looks_right,
    on_map,
    reload,
    settle,
    tab_to,
    tiles,
    wait_for_map,
)

MAP_PIXELS = "() => window.igloMap.canvas.toDataURL()"

SHOWN = """() => {
  const map = window.igloMap;
  return map.index.x.map((_, i) => i).filter((i) => !map.visible || map.visible(i));
}"""
CENTRAL = """() => {
  const { x, y } = window.igloMap.index, far = x.map((each, i) => Math.hypot(each, y[i]));
  return far.indexOf(Math.min(...far));
}"""


@pytest.fixture
def page(visitor, address):
    page = visitor.open(address)
    wait_for_map(page)
    return page


def test_the_map_shows_the_codes_in_the_colour_that_is_chosen(page):
    expect(page.get_by_role("tab", name="Map")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("240 training images")).to_be_visible()
    looks_right(page)
    seen = [page.evaluate(MAP_PIXELS)]
    for kind in ("subset", "error", "plain"):
        page.get_by_label("Colour", exact=True).select_option(kind)
        settle(page)
        seen.append(page.evaluate(MAP_PIXELS))
    assert len({*seen}) == 4
    assert hash_of(page)["colour"] == ["plain"]
    assert colours(picture(page)) > 50


def test_a_point_shows_its_image_and_its_reconstruction(page, digit_views):
    page.mouse.move(*on_map(page, 7))
    card = page.locator(".hover-card")
    expect(card).to_contain_text(digit_views.explored.training.names[7])
    expect(card).to_contain_text(re.compile(r"Reconstruction: \d+\.\d dB"))
    settle(page)
    image, reconstruction = tiles(card)
    assert image != reconstruction
    page.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_a_click_on_a_point_shows_the_nearest_training_images(page):
    page.mouse.click(*on_map(page, 7))
    panel = inspector(page)
    expect(panel.get_by_role("heading", name="Training image 7")).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("^Nearest training image"))).to_have_count(3)
    expect(panel).to_contain_text("This is the reconstruction of a training image")
    assert hash_of(page)["pick"] == ["t:7"]
    looks_right(page)
    panel.get_by_role("button", name=re.compile("^Nearest training image 2")).click()
    expect(panel.get_by_role("heading", name="Training image 7")).to_have_count(0)
    panel.get_by_role("button", name="Close the picked image").click()
    assert "pick" not in hash_of(page)


def test_a_click_between_the_points_decodes_that_place(page):
    place = on_map(page)
    page.mouse.move(*place)
    expect(page.locator(".hover-card")).to_contain_text("Decoded here")
    page.mouse.click(*place)
    expect(inspector(page).get_by_role("heading", name=re.compile("^Place .* on the map"))).to_be_visible()
    expect(inspector(page)).to_contain_text(re.compile(r"Distance \d\.\d+"))
    assert hash_of(page)["pick"][0].startswith("m:pca:")
    shown = tiles(inspector(page))
    reload(page)
    assert tiles(inspector(page)) == shown
    looks_right(page)


def test_the_legend_hides_and_shows_points(page):
    told = page.evaluate("() => fetch('api/points').then((answer) => answer.json())")
    entry = page.get_by_role("toolbar", name="Legend").get_by_role("button")
    every = page.get_by_role("button", name="Show all entries")
    expect(every).to_be_hidden()
    place = on_map(page, 7)
    before, label = page.evaluate(MAP_PIXELS), told["label"][7]
    entry.nth(label).click()
    settle(page)
    expect(entry.nth(label)).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(MAP_PIXELS) != before
    assert page.evaluate(SHOWN) == [i for i, each in enumerate(told["label"]) if each != label]
    page.mouse.move(*place)
    expect(page.locator(".hover-card")).not_to_contain_text(told["name"][7])  # nothing is hit that is hidden
    assert hash_of(page)["hide"] == [str(label)]
    looks_right(page)
    reload(page)
    wait_for_map(page)
    assert label not in {told["label"][i] for i in page.evaluate(SHOWN)}
    entry.nth(2).dblclick()
    assert {told["label"][i] for i in page.evaluate(SHOWN)} == {2}
    chosen = page.evaluate("() => (window.igloMap.view.zoom = 4, [...window.igloMap.thumbChoice()])")
    assert {told["label"][i] for i, has in enumerate(chosen) if has} == {2}
    every.click()
    assert len(page.evaluate(SHOWN)) == 240 and "hide" not in hash_of(page)


def test_the_legend_works_with_the_keyboard_alone(page):
    entry = page.get_by_role("toolbar", name="Legend").get_by_role("button")
    tab_to(page, entry.first)
    for key in ("ArrowDown", "Space", "End", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    expect(entry.last).to_be_focused()
    assert hash_of(page)["hide"] == ["1"]
    page.keyboard.press("Shift+Enter")
    assert hash_of(page)["hide"] == ["0,1,2,3,4,5,6,7,8"]
    tab_to(page, page.get_by_role("button", name="Show all entries"))
    page.keyboard.press("Enter")
    expect(entry.last).to_be_focused()
    page.get_by_label("Colour", exact=True).select_option("subset")
    expect(entry.first).to_have_text("Subset 1")
    entry.first.click()
    assert page.evaluate(SHOWN) and len(page.evaluate(SHOWN)) < 240
    page.get_by_label("Colour", exact=True).select_option("plain")  # another colour shows all
    assert len(page.evaluate(SHOWN)) == 240


def test_the_search_finds_an_image_by_name_label_or_number(page, digit_views):
    told = page.evaluate("() => fetch('api/points').then((answer) => answer.json())")
    names, labels = told["name"], [digit_views.explored.labels[each] for each in told["label"]]
    find, found = page.get_by_label("Find an image"), page.get_by_role("listbox", name="Images found")
    find.fill(names[30].upper())
    expect(found.get_by_role("option")).to_contain_text(names[30])
    find.fill(digits.ATTACK)  # a name of some images, and the label of others
    expect(found.get_by_role("option")).to_have_count(8)
    looks_right(page)
    find.fill("nowhere")
    expect(found).to_have_text("Nothing found.")
    page.keyboard.press("Escape")
    expect(found).to_be_hidden()
    page.get_by_role("toolbar", name="Legend").get_by_role("button").nth(told["label"][17]).click()
    find.fill("17")
    page.keyboard.press("Enter")
    expect(inspector(page).get_by_role("heading", name="Training image 17")).to_be_visible()
    expect(inspector(page)).to_contain_text(labels[17])
    expect(found).to_be_hidden()
    settle(page)
    middle = page.evaluate("() => [window.igloMap.view.x, window.igloMap.view.y]")
    assert middle == page.evaluate("() => [window.igloMap.index.x[17], window.igloMap.index.y[17]]")
    assert len(page.evaluate("() => window.igloMap.marks")) == 1
    assert 17 in page.evaluate(SHOWN) and hash_of(page)["pick"] == ["t:17"]  # what was hidden is shown
    find.fill("17")
    page.keyboard.press("ArrowDown")
    found.get_by_role("option").nth(1).click()
    expect(inspector(page).get_by_role("heading", name="Training image 17", exact=True)).to_have_count(0)


def test_the_wheel_zooms_and_the_mouse_pans(page):
    point = page.evaluate(CENTRAL)
    x, y = on_map(page, point)
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.wait_for_function("() => window.igloMap.view.zoom > 2")
    settle(page)
    thumbs = page.get_by_label("When zoomed in, show")
    with_images = page.evaluate(MAP_PIXELS)
    thumbs.select_option("none")
    settle(page)
    assert page.evaluate(MAP_PIXELS) != with_images
    page.mouse.move(x, y)
    near = on_map(page, point)
    assert abs(near[0] - x) < 6 and abs(near[1] - y) < 6  # the place under the mouse stays there
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=5)
    page.mouse.up()
    moved = on_map(page, point)
    assert abs(moved[0] - near[0] - 60) < 2 and abs(moved[1] - near[1] - 40) < 2
    expect(inspector(page).get_by_role("heading", name="Training image")).to_have_count(0)  # to drag is not to click
    view = hash_of(page)["view"]
    reload(page)
    wait_for_map(page)
    assert hash_of(page)["view"] == view
    assert on_map(page, point) == pytest.approx(moved, abs=2)
    page.get_by_role("button", name="Show the whole map").click()
    assert "view" not in hash_of(page)


def test_the_map_works_with_the_keyboard_alone(page):
    tab_to(page, canvas(page))
    zoom = "() => window.igloMap.view.zoom"
    before = page.evaluate(zoom)
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    settle(page)
    assert page.evaluate(zoom) > before
    page.keyboard.press("Enter")
    expect(inspector(page).get_by_role("heading", level=2)).to_be_visible()
    page.keyboard.press("0")
    assert page.evaluate(zoom) == before
    tab_to(page, inspector(page).get_by_role("button", name="Use as A"))
    page.keyboard.press("Enter")
    assert len(hash_of(page)["stop"]) == 1


def test_the_neighbour_embedding_is_computed_while_one_waits(visitor, digit_run, tmp_path):
    from tests.explore.page.serving import served, views_of

    with served(views_of(digit_run.folder, "models/joint", tmp_path)) as address:
        page = visitor.open(address)
        wait_for_map(page)
        first = page.evaluate(MAP_PIXELS)
        page.get_by_label("Layout").select_option("neighbours")
        expect(page.get_by_text(re.compile("^The neighbour embedding is being computed"))).to_be_visible()
        expect(page.get_by_text(re.compile("Long distances mean little"))).to_be_visible(timeout=30_000)
        wait_for_map(page)
        assert page.evaluate(MAP_PIXELS) != first
        looks_right(page)
        visitor.close(page)


def test_the_neighbour_embedding_is_a_map_too(page):
    page.get_by_label("Layout").select_option("neighbours")
    expect(page.get_by_text(re.compile("Long distances mean little"))).to_be_visible()
    settle(page)
    assert hash_of(page)["layout"] == ["neighbours"]
    page.mouse.click(*on_map(page))
    expect(inspector(page).get_by_role("heading", name=re.compile("^Place"))).to_be_visible()
    looks_right(page)


def test_names_that_attack_are_shown_as_text(page, digit_views):
    told = page.evaluate("() => fetch('api/points').then((answer) => answer.json())")
    for text in (digits.ATTACK, *digit_views.explored.labels):
        expect(page.locator(".legend").get_by_text(text, exact=True)).to_be_visible()
    for sign in (f'"{digits.ATTACK}', digits.ATTACK, "gnp.digit"):
        point = next(point for point, name in enumerate(told["name"]) if sign in name)
        page.mouse.click(*on_map(page, point))
        page.mouse.move(*on_map(page, point))
        expect(inspector(page).get_by_text(told["name"][point], exact=True)).to_be_visible()
        expect(page.locator(".hover-card").get_by_text(told["name"][point], exact=True)).to_be_visible()
        looks_right(page)
    assert page.locator("img[src=x]").count() == 0
