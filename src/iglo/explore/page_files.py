"""The files of the page, which are part of the package: for a server, and for a page that needs none."""

import re
from importlib import resources

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
ENTRY = "main.js"
IMPORT = re.compile(r"^import \{[^}]*\} from \"\./([\w.-]+)\";\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=function|async function|const|let|class)", re.MULTILINE)
MODULE = '<script type="module" src="main.js"></script>'
JOINED = '<script src="recorded.js"></script>\n<script src="page.js" defer></script>'


def page_files() -> dict[str, bytes]:
    """Reads the files of the page, by name."""
    folder = resources.files("iglo.explore") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}


def files_without_server() -> dict[str, bytes]:
    """Returns the files of a page that needs no server, by name. The page also needs `recorded.js` and thumbnails.

    Its modules are joined into one script, because a browser loads no modules from files.
    """
    files = page_files()
    scripts = {name: files.pop(name).decode() for name in [*files] if name.endswith(".js")}
    page = files["index.html"].decode().replace(MODULE, JOINED)
    return {**files, "index.html": page.encode(), "page.js": joined(scripts, ENTRY).encode()}


def joined(scripts: dict[str, str], entry: str) -> str:
    """Joins modules into one script.

    Every module comes after those that it imports. The modules' top-level names must all be different.
    """
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for other in IMPORT.findall(scripts[name]):
                visit(other)
            ordered.append(name)

    visit(entry)
    bodies = [EXPORT.sub("", IMPORT.sub("", scripts[name])) for name in dict.fromkeys(ordered)]
    return '(() => {\n"use strict";\n' + "\n".join(bodies) + "})();\n"
