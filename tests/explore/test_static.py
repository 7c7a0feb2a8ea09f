"""The page without a server: one script, and an answer to each request that the page may make."""

import json
import re

import pytest

from iglo.explore.page_files import joined, page_files
from iglo.explore.queries import read_query
from iglo.explore.static import WRITTEN, address, write_page
from tests.tiny import ROOT

TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) +([\w$]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def written(views, tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    write_page(views, folder)
    return folder


def test_the_names_of_the_modules_are_different():
    names = [
        name
        for file, content in page_files().items()
        if file.endswith(".js")
        for name in TOP_LEVEL.findall(content.decode())
    ]
    assert len(names) > 50 and sorted(names) == sorted(set(names))


def test_modules_are_joined_after_those_that_they_import():
    modules = {
        "main.js": 'import { a } from "./a.js";\nimport { b } from "./b.js";\na(b);\n',
        "a.js": 'import { b } from "./b.js";\nexport function a() {\n  return b;\n}\n',
        "b.js": "export const b = 1;\n",
    }
    script = joined(modules, "main.js")
    assert "import" not in script and "export" not in script
    assert script.index("const b") < script.index("function a") < script.index("a(b)")


def test_every_module_is_in_the_joined_script(written):
    script = (written / "page.js").read_text()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    for file, content in page_files().items():
        if file.endswith(".js"):
            assert all(name in script for name in TOP_LEVEL.findall(content.decode()))


def test_the_page_loads_nothing_from_elsewhere(written):
    for file in written.iterdir():
        assert WRITTEN.fullmatch(file.name)
        if file.is_file():
            addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text())
            assert [each for each in addresses if "www.w3.org" not in each] == []


def test_answers_are_those_of_the_server(written, views):
    answers = json.loads((written / "recorded.js").read_text().removeprefix("window.recorded = ").removesuffix(";\n"))
    known = answers["api/model"]["recorded"]
    kind, function = views.answers["samples"]
    query = {"prior": "gaussian", "seed": "0", "count": str(known["count"]), "psi": "1", "toward": known["toward"]}
    assert answers[address("api/samples", [*query.items()])] == function(read_query([*query.items()], kind))
    for pair in known["pairs"]:
        for way in known["ways"]:
            stops = [("stop", ref) for ref in pair]
            wanted = [("way", way), *stops, ("closed", "0"), ("steps", str(known["steps"]))]
            assert answers[address("api/path", wanted)]["count"] == known["steps"] + 1
    assert answers["api/grid?layout=pca"]["count"] == known["grid"] ** 2
    assert (written / "sheets" / "images" / "0.png").is_file()


def test_the_page_in_the_documentation_shows_the_model_of_the_metrics():
    """`make digits-page` records it after the default run. The site adds the files of the page itself."""
    text = (ROOT / "docs" / "explore" / "digits" / "recorded.js").read_text()
    answers = json.loads(text.removeprefix("window.recorded = ").removesuffix(";\n"))
    assert answers["api/model"]["digest"] == json.loads((ROOT / "metrics-all.json").read_text())["of"]["model"]


def test_an_address_is_written_as_the_browser_writes_it():
    query = [("stop", "t:1~d:0:-1.5"), ("way", "a b*é"), ("stop", "c:_-"), ("closed", "0")]
    assert address("api/x", query) == "api/x?closed=0&stop=t%3A1%7Ed%3A0%3A-1.5&stop=c%3A_-&way=a+b*%C3%A9"
