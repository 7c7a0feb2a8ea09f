"""The page without a server, from files and from a server of files, in Chromium."""

import re

import pytest

from tests.explore.page.chromium import expect
from tests.explore.page.visit import (
    NARROW,
    go,
    inspector,
    looks_right,
    on_map,
    reload,
    sample,
    settle,
    tiles,
    wait_for_map,
)


@pytest.fixture(scope="module")
def folder(digit_views, tmp_path_factory):
    """The page without a server."""
    from iglo.explore.static import write_page

    folder = tmp_path_factory.mktemp("static")
    write_page(digit_views, folder)
    return folder


@pytest.fixture
def address(request, folder):
    """Where the page is: in a file, or on a server of files if the test asks for http."""
    from tests.explore.page.serving import sent

    if getattr(request, "param", "file") == "file":
        yield f"{folder.as_uri()}/index.html"
    else:
        with sent(folder) as address:
            yield f"{address}/index.html"


@pytest.mark.parametrize("address", ["file", "http"], indirect=True)
def test_every_tab_works_without_a_server(visitor, address):
    page = visitor.open(address)
    wait_for_map(page)
    looks_right(page)
    page.mouse.click(*on_map(page, 7))
    expect(inspector(page).get_by_role("heading", name="Training image 7")).to_be_visible()
    page.mouse.click(*on_map(page))
    expect(inspector(page).get_by_role("heading", name=re.compile("^Place"))).to_be_visible()
    page.get_by_label("Layout").select_option("neighbours")
    settle(page)
    samples = go(page, "Samples")
    expect(samples.get_by_role("button", name=re.compile(r"^Sample \d+ of "))).to_have_count(16)
    looks_right(page)
    sample(samples, 2).click()
    expect(inspector(page).get_by_role("button", name=re.compile("^Nearest training image"))).to_have_count(3)
    path = go(page, "Interpolate")
    first = tiles(path)
    page.get_by_label("Way").select_option("graph")
    settle(page)
    assert tiles(path) != first
    page.get_by_label("Pair").select_option(index=2)
    settle(page)
    looks_right(page)
    directions = go(page, "Directions")
    before = tiles(directions)[:2]
    directions.get_by_role("slider", name="Direction 1", exact=True).fill("2")
    settle(page)
    assert tiles(directions)[:2] != before
    looks_right(page)
    expect(go(page, "Your image")).to_contain_text("iglo explore")
    looks_right(page)
    go(page, "How it learned")
    looks_right(page)
    assert not [url for watch in visitor.watches for url in watch.requested if "/api/" in url]


def test_the_view_is_in_the_address(visitor, address):
    page = visitor.open(address)
    panel = go(page, "Samples")
    sample(panel, 2).click()
    settle(page)
    shown = tiles(inspector(page))
    reload(page)
    assert tiles(inspector(page)) == shown


def test_it_fits_a_narrow_window(visitor, address):
    page = visitor.open(address, viewport=NARROW, color_scheme="dark")
    for name in ("Map", "Samples", "Interpolate", "Directions", "How it learned"):
        go(page, name)
        looks_right(page)
