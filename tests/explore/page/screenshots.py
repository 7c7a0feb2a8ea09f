"""Takes the pictures of the page in docs/explore, which the documentation shows: make screenshots

It shows the models of a working folder after `dvc repro`: models/joint, and disentangle/work/encoded if it is there.
Each picture has the layout of the page as a text inside, so that a test can tell whether it is out of date.

    python -m tests.explore.page.screenshots [--run .]
"""

import argparse
import io
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iglo.data.store import ImageStore
from tests.explore.page import chromium, layout
from tests.explore.page.serving import served, views_of
from tests.explore.page.visit import NARROW, Page, Visitor, on_map, settle
from tests.pipeline import ROOT

FOLDER = ROOT / "docs" / "explore"
PLAIN, CLASSES = "models/joint", "disentangle/work/encoded"
COLOURS = 128  # of a picture
UPLOADED = 3  # number of the test image that is uploaded
TOUR = "stop=t:4&stop=t:11&stop=t:2&closed=1"


@dataclass(frozen=True)
class Shot:
    """A picture of the page: its file, the address after "#", the model, and the options of the window."""

    name: str
    view: str
    model: str = PLAIN
    options: dict[str, Any] = field(default_factory=dict)


SHOTS = [
    Shot("map", "layout=neighbours&pick=t:17"),
    Shot("map-dark", "view=0.2,-0.2,3.4&pick=m:pca:0.3:-0.35", options={"color_scheme": "dark"}),
    Shot("map-narrow", "", options={"viewport": NARROW}),
    Shot("samples", "tab=samples&pick=s:neighbours:0:10"),
    Shot("interpolate", f"tab=interpolate&{TOUR}&frame=20"),
    Shot("directions", "tab=directions&base=t:17&move=d:0:1.5,d:2:-1"),
    Shot("your-image", "tab=image"),
    Shot("how-it-learned", "tab=history&moment=6"),
    Shot("class-and-content", "tab=classes", CLASSES),
]

LOWEST = "() => window.igloMap.index.y.indexOf(Math.min(...window.igloMap.index.y))"  # the lowest point of the map

# [kind, name, left, width] of the tabs, headings and controls. What depends on the model is left out:
# numbers, the images, the legend.
LAYOUT = """() => [...document.querySelectorAll(
  "[role=tab], h2, h3, label, select, input, main button, aside button, [role=application]")].filter((element) => {
  const box = element.getBoundingClientRect();
  return element.checkVisibility() && box.width > 1 && box.right > 0 && box.left < innerWidth
    && !element.closest(".tile, .legend");
}).map((element) => {
  const box = element.getBoundingClientRect(), named = element.getAttribute("aria-label") || element.textContent;
  const name = ["INPUT", "SELECT"].includes(element.tagName) ? "" : named.replace(/[\\d.]+/g, "#").slice(0, 40);
  return [element.tagName.toLowerCase(), name, Math.round(box.left), Math.round(box.width)];
})"""


def show(page: Page, shot: Shot, run: Path) -> None:
    """Does on the opened page what is not in its address: an upload, and a pointer over the map."""
    if shot.name == "your-image":
        file = io.BytesIO()
        image = ImageStore.open(run / "data/prepared").test[UPLOADED]
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
        chosen = {"name": "a test image.png", "mimeType": "image/png", "buffer": file.getvalue()}
        page.locator("input[type=file]").set_input_files(chosen)
        settle(page)
        page.get_by_role("button", name="Optimise").click()
        page.get_by_text(re.compile("steps of optimisation")).wait_for(timeout=60_000)
        page.get_by_role("button", name="Close this message").click()
    if shot.name == "map":
        page.wait_for_function("() => window.igloMap.index", timeout=120_000)
        page.mouse.move(*on_map(page, page.evaluate(LOWEST)))
        page.locator(".hover-card").wait_for()
    settle(page)


def take(visitor: Visitor, address: str, shot: Shot, run: Path) -> Page:
    """Opens the page as a picture shows it."""
    page = visitor.open(address, shot.view, **shot.options)
    show(page, shot, run)
    return page


def save(page: Page, path: Path) -> None:
    """Writes a picture of the window with few colours, and the layout inside."""
    page.wait_for_timeout(300)  # for what still fades in
    told = PngInfo()
    told.add_text("layout", json.dumps(page.evaluate(LAYOUT)))
    few = layout.picture(page).quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True, pnginfo=told)


def known_layout(path: Path) -> list[list]:
    """The layout inside a picture."""
    with Image.open(path) as image:
        return json.loads(image.text["layout"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path(), help="working folder with the models (default: this one)")
    os.chdir(parser.parse_args().run)
    FOLDER.mkdir(exist_ok=True)
    with chromium.started() as browser, tempfile.TemporaryDirectory() as maps:
        for model in (PLAIN, CLASSES):
            if not Path(model).is_dir():
                print(f"{model} is not here, so its pictures stay as they are.")
                continue
            views = views_of(Path(), model, Path(maps), "models/priors" if model == PLAIN else None)
            views.space.embedding.wait()
            with served(views) as address:
                visitor = Visitor(browser)
                for shot in SHOTS:
                    if shot.model == model:
                        save(take(visitor, address, shot, Path()), FOLDER / f"{shot.name}.png")
                        print(f"{shot.name}.png: {(FOLDER / f'{shot.name}.png').stat().st_size / 1000:.0f} kB")
                visitor.leave()


if __name__ == "__main__":
    main()
