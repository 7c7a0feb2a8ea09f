"""What a person does on the page: open it, go to a tab, wait. Also what must be true of every page."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.explore.page import layout
from tests.explore.page.chromium import Browser, Locator, Page, Watch, expect

WAIT = 15_000  # milliseconds that a step may take before it fails; the machine may be busy
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
# Whether nothing is computed, loaded or drawn any more.
STILL = """() => !document.querySelector("[aria-busy=true]") && document.getElementById("progress").hidden
  && [...document.querySelectorAll("canvas.picture")].every((each) => each.matches(".drawn, .missing") ||
    !each.checkVisibility())"""
WRITTEN = "() => new Promise((done) => setTimeout(done, 210))"  # the page writes its address 200 ms after a change
# The place of a point of the map in the window, or of the farthest place from all points.
POINT = """(i) => {
  const map = window.igloMap, box = map.canvas.getBoundingClientRect();
  const [x, y] = map.toScreen(map.index.x[i], map.index.y[i]);
  return [box.left + x, box.top + y];
}"""
HOLE = """() => {
  const map = window.igloMap, box = map.canvas.getBoundingClientRect();
  let best = [0, 0, 0];
  for (let x = -0.8; x <= 0.8; x += 0.05) {
    for (let y = -0.8; y <= 0.8; y += 0.05) {
      let near = Infinity;
      map.index.x.forEach((px, i) => { near = Math.min(near, Math.hypot(px - x, map.index.y[i] - y)); });
      if (near > best[0]) best = [near, x, y];
    }
  }
  const [x, y] = map.toScreen(best[1], best[2]);
  return [box.left + x, box.top + y];
}"""

expect.set_options(timeout=WAIT)


class Visitor:
    """Opens pages, each in a window of its own, and watches them.

    Attributes:
        watches: the watch over each window.
    """

    def __init__(self, browser: Browser):
        self.browser, self.watches, self._pages = browser, [], []

    def open(self, address: str, hash_: str = "", **options: Any) -> Page:
        """Opens the page in a new window, and waits until it is drawn. `options` are those of the window."""
        context = self.browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        context.set_default_timeout(WAIT)
        page = context.new_page()
        self.watches.append(Watch(context, address.removesuffix("index.html")))
        self._pages.append(page)
        page.goto(address + (f"#{hash_}" if hash_ else ""))
        page.get_by_role("tabpanel").wait_for()
        settle(page)
        return page

    @property
    def problems(self) -> list[str]:
        """What went wrong in all windows so far."""
        return [problem for watch in self.watches for problem in watch.problems]

    def expected(self, pattern: str) -> None:
        """Removes the problems that match from the list; at least one must match."""
        found = [problem for problem in self.problems if re.search(pattern, problem)]
        assert found, (pattern, self.problems)
        for watch in self.watches:
            watch.problems = [problem for problem in watch.problems if problem not in found]

    def close(self, page: Page) -> None:
        """Closes a window before the others, because its server ends."""
        self._pages.remove(page)
        assert not page.evaluate("'hacked' in window")
        page.context.close()

    def leave(self) -> None:
        """Closes all windows. AssertionError if there was a problem, or if a text ran as a script."""
        hacked = [page.url for page in self._pages if page.evaluate("'hacked' in window")]
        for page in self._pages:
            page.context.close()
        assert not hacked and not self.problems, "\n".join(self.problems)


def settle(page: Page) -> None:
    """Waits until nothing is computed or drawn any more."""
    page.wait_for_function(STILL)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def go(page: Page, name: str) -> Locator:
    """Opens a tab by a click; returns its panel."""
    page.get_by_role("tab", name=name, exact=True).click()
    settle(page)
    panel = page.get_by_role("tabpanel", name=name)
    expect(panel).to_be_visible()
    return panel


def canvas(page: Page) -> Locator:
    """The map."""
    return page.get_by_role("application", name=re.compile("^Map of the codes"))


def on_map(page: Page, point: int | None = None) -> tuple[float, float]:
    """Where a point of the map is in the window; None: the place that is farthest from all points."""
    x, y = page.evaluate(HOLE) if point is None else page.evaluate(POINT, point)
    return x, y


def inspector(page: Page) -> Locator:
    """The panel that shows the picked image."""
    return page.get_by_role("complementary", name="Picked image")


def sample(place: Page | Locator, index: int) -> Locator:
    """A sample of a prior, by its number in the grid."""
    return place.get_by_role("button", name=re.compile(rf"^Sample {index} of "))


def wait_for_map(page: Page) -> None:
    page.wait_for_function("() => window.igloMap && window.igloMap.index")
    settle(page)


def looks_right(page: Page, shots: Path | None = None, name: str = "") -> None:
    """AssertionError unless the layout is right and every picture shows something."""
    settle(page)
    if shots:
        page.screenshot(path=shots / f"{name}.png", full_page=True)
    wrong = layout.problems(page) + layout.empty_panels(page)
    assert not wrong, "\n".join(wrong)


def drawn(picture: Locator) -> str:
    """What a canvas shows, as text, so that two can be compared."""
    return picture.evaluate("(canvas) => canvas.toDataURL()")


def tiles(group: Locator) -> list[str]:
    """What the images of a group show."""
    return group.evaluate("(group) => [...group.querySelectorAll('canvas')].map((each) => each.toDataURL())")


def hash_of(page: Page) -> dict[str, list[str]]:
    """The state of the page, from its address."""
    page.evaluate(WRITTEN)
    return parse_qs(urlsplit(page.url).fragment)


def reload(page: Page) -> None:
    """Opens the same address again, without what the window has in memory."""
    page.evaluate(WRITTEN)
    page.reload()
    page.get_by_role("tabpanel").wait_for()
    settle(page)


def tab_to(page: Page, target: Locator, most: int = 80) -> None:
    """Presses the Tab key until a control has the focus."""
    for _ in range(most):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached with {most} presses of the Tab key")
