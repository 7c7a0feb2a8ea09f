"""The tabs Class and content and How it learned, which only some models have, in Chromium."""

import re

from tests.explore.page.chromium import expect
from tests.explore.page.layout import colours, picture
from tests.explore.page.visit import drawn, go, hash_of, inspector, looks_right, reload, sample, settle, tab_to, tiles


def test_the_content_of_an_image_in_all_classes(visitor, class_address):
    page = visitor.open(class_address)
    panel = go(page, "Class and content")
    one = panel.locator(".one-content .tile")
    expect(one).to_have_count(10)
    assert len(set(one.evaluate_all("(all) => all.map((each) => each.firstChild.toDataURL())"))) > 8
    looks_right(page)
    grid = panel.get_by_role("region", name="Conversion grid")
    expect(grid.get_by_role("row")).to_have_count(6)
    expect(grid.get_by_role("columnheader")).to_have_count(11)
    panel.get_by_role("button", name="Add a random image").click()
    settle(page)
    expect(grid.get_by_role("row")).to_have_count(7)
    shown = tiles(grid)
    reload(page)
    assert tiles(grid) == shown
    panel.get_by_role("button", name="Remove row 1").click()
    settle(page)
    expect(grid.get_by_role("row")).to_have_count(6)
    one.nth(3).click()
    expect(inspector(page).get_by_role("heading", level=2)).to_contain_text("class 3")
    inspector(page).get_by_role("button", name="Use as B").click()
    settle(page)
    assert any("~k:3" in stop for stop in hash_of(page)["stop"])
    looks_right(page)


def test_another_image_is_drawn_in_all_classes(visitor, class_address):
    page = visitor.open(class_address)
    panel = go(page, "Samples")
    sample(panel, 1).click()
    inspector(page).get_by_role("button", name="All classes").click()
    settle(page)
    panel = page.get_by_role("tabpanel", name="Class and content")
    expect(panel.get_by_role("button", name=re.compile("^Sample 1 of .* as 7$"))).to_be_visible()
    looks_right(page)


def test_a_model_without_classes_has_no_such_tab(visitor, address):
    page = visitor.open(address, "tab=classes")
    expect(page.get_by_role("tab", name="Class and content")).to_have_count(0)
    expect(page.get_by_role("tab", name="Map")).to_have_attribute("aria-selected", "true")


def test_the_film_shows_the_same_images_at_every_moment(visitor, address):
    page = visitor.open(address)
    panel = go(page, "How it learned")
    moment = panel.get_by_role("slider", name="Moment")
    now = panel.get_by_role("img", name=re.compile("^Reconstruction of training image"))
    expect(now).to_have_count(12)
    last = now.evaluate_all("(all) => all.map((each) => each.toDataURL())")
    assert len(set(last)) == 12
    expect(panel.get_by_role("img", name=re.compile(r"^Film: 12 images at \d+ moments"))).to_be_visible()
    looks_right(page)
    tab_to(page, moment)
    page.keyboard.press("Home")
    settle(page)
    assert now.evaluate_all("(all) => all.map((each) => each.toDataURL())") != last
    expect(panel).to_contain_text(re.compile(r"epoch 1: \d+ images learned, \d+\.\d dB"))
    assert hash_of(page)["moment"] == ["0"]
    page.keyboard.press("ArrowRight")
    assert hash_of(page)["moment"] == ["1"]
    second = drawn(now.first)
    reload(page)
    assert drawn(now.first) == second


def test_the_curves_and_the_subsets_on_the_map(visitor, address):
    page = visitor.open(address)
    panel = go(page, "How it learned")
    for summary in ("^Loss from ", "^PSNR from .* dB"):
        curve = panel.get_by_role("img", name=re.compile(summary))
        curve.scroll_into_view_if_needed()
        assert colours(picture(page, clip=curve.bounding_box())) > 5
    small_map = panel.get_by_role("img", name="Map of the subsets")
    small_map.scroll_into_view_if_needed()
    subsets = panel.get_by_role("slider", name="Subsets")
    settle(page)
    both = drawn(small_map)
    subsets.focus()
    page.keyboard.press("Home")
    settle(page)
    assert drawn(small_map) != both
    expect(panel.get_by_text(re.compile("^Subsets? 1.*: 64 images$"))).to_be_visible()
    assert hash_of(page)["subsets"] == ["1"]
    looks_right(page)


def test_an_export_is_shown_without_its_images_and_its_history(visitor, digit_run, tmp_path):
    from tests.explore.page.serving import served, views_of

    with served(views_of(tmp_path, str(digit_run.export), tmp_path / "maps")) as address:
        page = visitor.open(address)
        expect(page.get_by_role("tab", name="How it learned")).to_have_count(0)
        expect(page.get_by_label("When zoomed in, show")).not_to_contain_text("Training images")
        for name in ("Map", "Samples", "Interpolate", "Directions", "Your image"):
            go(page, name)
            looks_right(page)
        sample(go(page, "Samples"), 3).click()
        expect(inspector(page).get_by_role("button", name=re.compile("^Nearest training image"))).to_have_count(3)
        visitor.close(page)
