"""What holds for every tab: narrow windows, dark mode, the keyboard, several windows, and no trace elsewhere."""

import re

import pytest

from tests.explore.page import layout
from tests.explore.page.chromium import expect
from tests.explore.page.visit import (
    NARROW,
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

TABS = ("Map", "Samples", "Interpolate", "Directions", "Your image", "How it learned")
SIGHTS = {"narrow": {"viewport": NARROW, "has_touch": True}, "dark": {"color_scheme": "dark"}}


@pytest.mark.parametrize("sight", SIGHTS)
def test_every_tab_in_a_narrow_window_and_in_the_dark(visitor, address, sight):
    page = visitor.open(address, **SIGHTS[sight])
    wait_for_map(page)
    shown = []
    for name in TABS:
        go(page, name)
        looks_right(page)
        shown.append(layout.picture(page))
    assert min(map(layout.colours, shown)) > 8
    if sight == "dark":
        assert max(layout.brightness(each) for each in shown) < 110
    page.emulate_media(color_scheme="light")
    settle(page)
    assert layout.brightness(layout.picture(page)) > 140


def test_class_and_content_in_a_narrow_window_in_the_dark(visitor, class_address):
    page = visitor.open(class_address, **SIGHTS["narrow"], **SIGHTS["dark"])
    for name in ("Class and content", "Map"):
        go(page, name)
        looks_right(page)


def test_a_narrow_window_works_by_touch(visitor, address):
    page = visitor.open(address, viewport=NARROW, has_touch=True, is_mobile=True)
    wait_for_map(page)
    canvas(page).scroll_into_view_if_needed()
    page.touchscreen.tap(*on_map(page, 7))
    expect(inspector(page).get_by_role("heading", name="Training image 7")).to_be_visible()
    looks_right(page)
    page.get_by_role("tab", name="Samples").tap()
    settle(page)
    sample(page, 3).tap()
    expect(inspector(page).get_by_role("heading", name=re.compile("^Sample"))).to_be_visible()
    looks_right(page)


def test_the_tabs_work_with_the_keyboard_alone(visitor, address):
    page = visitor.open(address)
    tab_to(page, page.get_by_role("tab", name="Map"))
    for name in (*TABS[1:], TABS[0]):
        page.keyboard.press("ArrowRight")
        settle(page)
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        assert page.evaluate(FOCUS_IS_SEEN), f"nobody sees that {name} has the focus"
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name=TABS[-1])).to_be_focused()
    page.keyboard.press("Tab")
    assert not page.get_by_role("tab", name=TABS[-1]).evaluate("(tab) => tab === document.activeElement")


FOCUS_IS_SEEN = """() => {
  const style = getComputedStyle(document.activeElement);
  return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
}"""


def test_back_and_forward_go_through_the_tabs(visitor, address):
    page = visitor.open(address)
    go(page, "Samples")
    go(page, "Directions")
    page.go_back()
    settle(page)
    expect(page.get_by_role("tab", name="Samples")).to_have_attribute("aria-selected", "true")
    page.go_forward()
    settle(page)
    expect(page.get_by_role("tab", name="Directions")).to_have_attribute("aria-selected", "true")


def test_an_address_shows_the_same_view_in_another_window(visitor, address):
    page = visitor.open(address)
    panel = go(page, "Samples")
    page.get_by_label("Seed", exact=True).fill("11")
    page.keyboard.press("Enter")
    settle(page)
    sample(panel, 4).click()
    expect(inspector(page).get_by_role("heading", name=re.compile("^Sample"))).to_be_visible()
    settle(page)
    hash_of(page)
    other = visitor.open(address, page.url.partition("#")[2])
    for each in (panel, inspector(page)):
        name = "Samples" if each is panel else "Picked image"
        role = "tabpanel" if each is panel else "complementary"
        assert tiles(other.get_by_role(role, name=name)) == tiles(each)
    reload(page)
    assert tiles(inspector(page)) == tiles(inspector(other))


@pytest.mark.parametrize(
    "fragment", ["tab=nothing&pick=t:99999", "tab=samples&prior=%3Cimg%20src%3Dx%20onerror%3Dhacked%3D1%3E&seed=-1e9"]
)
def test_a_wrong_address_is_no_disaster(visitor, address, fragment):
    page = visitor.open(address, fragment)
    expect(page.get_by_role("tabpanel")).to_be_visible()
    for watch in visitor.watches:  # the server refuses what there is not, in a sentence
        watch.problems = [each for each in watch.problems if not re.search("answered 400|status of 400", each)]
    looks_right(page)


def test_several_windows_are_used_at_once(visitor, address):
    pages = [visitor.open(address, f"tab=samples&seed={seed}") for seed in range(3)]
    seen = [tiles(page.get_by_role("group", name="Samples")) for page in pages]
    assert len({*map(str, seen)}) == 3
    for page in pages:
        page.get_by_role("tab", name="Interpolate").click()
    for page in pages:
        settle(page)
        expect(page.get_by_role("slider", name="Frame")).to_have_attribute("aria-valuetext", "1 of 17")
    assert len({drawn(page.get_by_role("img", name="Frame 1 of 17")) for page in pages}) == 1
