"""The pictures in docs/explore: they show something, are small, and have the layout that the page has now."""

import pytest
from PIL import Image

from tests.explore.page import layout
from tests.explore.page.screenshots import FOLDER, LAYOUT, PLAIN, SHOTS, known_layout, take
from tests.explore.page.visit import WIDE

LARGEST = 150_000  # bytes
ELSEWHERE = 0.05  # share of the window by which a control may be elsewhere, with another font or other names


def test_every_picture_is_taken_and_shows_something():
    assert {path.stem for path in FOLDER.glob("*.png")} == {shot.name for shot in SHOTS}
    for shot in SHOTS:
        path = FOLDER / f"{shot.name}.png"
        size = shot.options.get("viewport", WIDE)
        with Image.open(path) as image:
            assert image.size == (size["width"], size["height"]) and path.stat().st_size < LARGEST, shot.name
            assert layout.colours(image.convert("RGB")) > 60, shot.name


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_a_picture_has_the_layout_of_the_page(request, visitor, shot):
    """The images on the page are those of another model."""
    plain = shot.model == PLAIN
    address = request.getfixturevalue("address" if plain else "class_address")
    run = request.getfixturevalue("digit_run" if plain else "class_run").folder
    if "neighbours" in shot.view and plain:
        request.getfixturevalue("digit_views").space.embedding.wait()
    now = take(visitor, address, shot, run).evaluate(LAYOUT)
    known = known_layout(FOLDER / f"{shot.name}.png")
    again = "the page has changed, so take its pictures again: make screenshots"
    assert [row[:2] for row in now] == [row[:2] for row in known], again
    window = shot.options.get("viewport", WIDE)["width"]
    for (kind, name, *box), (_, _, *before) in zip(now, known, strict=True):
        assert max(abs(a - b) for a, b in zip(box, before, strict=True)) < ELSEWHERE * window, (kind, name, again)
