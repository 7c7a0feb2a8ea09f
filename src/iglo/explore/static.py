"""Writes the page as files that need no server: it records the answers to a list of requests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np

from iglo.explore.maps import LAYOUTS, grid_places
from iglo.explore.page_files import files_without_server
from iglo.explore.queries import read_query
from iglo.explore.sheets import sheet
from iglo.explore.views import Views
from iglo.progress import bar
from iglo.randomness import numpy_generator

WRITTEN = re.compile(r"index\.html|style\.css|page\.js|recorded\.js|[\w-]+\.svg|sheets")
SAMPLES, PAIRS, ROWS, STEPS, GRID = 16, 6, 3, 12, 16

Parameters = list[tuple[str, str]]


def write_page(views: Views, folder: Path) -> None:
    """Writes the page with recorded answers into a folder: map, samples, paths, directions and history."""
    for name, content in files_without_server().items():
        (folder / name).write_bytes(content)
    answers = json.dumps(dict(recorded(views)), separators=(",", ":"))
    (folder / "recorded.js").write_text(f"window.recorded = {answers};\n", encoding="utf-8")
    (folder / "sheets").mkdir()
    for kind in ("renders", "images") if views.explored.training else ("renders",):
        (folder / "sheets" / kind).mkdir()
        for number in range(views.pictures.sheet_count):
            (folder / "sheets" / kind / f"{number}.png").write_bytes(views.pictures.sheet(kind, number))


def recorded(views: Views) -> Iterator[tuple[str, Any]]:
    """Yields each request that the page may make, and its answer."""
    views.space.embedding.wait()
    known = _known(views)
    about = views.answers["model"][1](read_query([], views.answers["model"][0]))
    yield "api/model", {**about, "recorded": known}
    for layout in LAYOUTS:
        places = views.space.map(layout).code_at(grid_places(GRID))
        yield address("api/grid", [("layout", layout)]), sheet(views.pictures.rendered(places), GRID)
    for name, parameters in bar([*_requests(views, known)], desc="recording", unit="request"):
        kind, function = views.answers[name]
        yield address(f"api/{name}", parameters), function(read_query(parameters, kind))


def _known(views: Views) -> dict[str, Any]:
    """Returns what the controls of the recorded page offer."""
    rows = numpy_generator(0, "explore/static").permutation(views.explored.rows)
    pairs = rows[: len(rows) // 2 * 2].reshape(-1, 2)[:PAIRS]
    return {
        "seeds": [0],
        "psis": [1],
        "toward": "mean",
        "count": SAMPLES,
        "pairs": [[f"t:{a}", f"t:{b}"] for a, b in pairs.tolist()],
        "ways": views.space.ways,
        "steps": STEPS,
        "rows": np.sort(rows[:ROWS]).tolist(),
        "grid": GRID,
    }


def _requests(views: Views, known: dict[str, Any]) -> Iterator[tuple[str, Parameters]]:
    """Yields the names and parameters of the requests that are recorded."""
    yield "points", []
    if views.explored.history is not None:
        yield "history", []
    for layout in LAYOUTS:
        yield "map", [("layout", layout)]
    drawn = {"count": str(SAMPLES), "psi": "1", "seed": "0", "toward": known["toward"]}
    for prior in views.explored.priors:
        yield "samples", [*drawn.items(), ("prior", prior)]
        for index in range(SAMPLES):
            yield "near", [("ref", f"s:{prior}:0:{index}")]
    for pair in known["pairs"]:
        yield "decode", [("ref", ref) for ref in pair]
        for way in known["ways"]:
            stops = [("stop", ref) for ref in pair]
            yield "path", [("closed", "0"), ("steps", str(STEPS)), *stops, ("way", way)]
    rows = [f"t:{row}" for row in known["rows"]]
    for ref in dict.fromkeys([*rows, *(ref for pair in known["pairs"] for ref in pair)]):
        yield "near", [("ref", ref)]
    for ref in rows:
        yield "directions", [("ref", ref)]
        yield "decode", [("ref", ref)]
    yield "training", [("row", str(row)) for row in known["rows"]]
    if views.config.classes:
        yield "conversions", [("ref", ref) for ref in rows]
        for ref in rows:
            yield "conversions", [("ref", ref)]


def address(path: str, parameters: Parameters) -> str:
    """Returns the address of a request exactly as the page writes it: sorted by name, encoded as by URLSearchParams."""
    if not parameters:
        return path
    ordered = sorted(parameters, key=lambda pair: pair[0])
    return f"{path}?" + "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in ordered)


def _encoded(text: str) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")
