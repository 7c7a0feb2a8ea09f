"""Writes the modules that each stage imports into the `deps` of every dvc.yaml.

`python -m tools.deps` rewrites the lists, and changes no other line. With `--check` it changes nothing and fails when
a list is out of date.
"""

import os
import re
import sys
from pathlib import Path

from tools.imports import ROOT, code_of

FILES = [ROOT / folder / "dvc.yaml" for folder in ("", "comparison", "disentangle", "disentangle/sweep")]
STAGE = re.compile(r"  \w+:\s*$")
WDIR = re.compile(r"\s+wdir: (\S+)")
MODULE = re.compile(r".* -m (stages\.\w+)\b")
DEPS = re.compile(r"(\s+)deps:\s*$")
CODE = re.compile(r"\s+- (\.\./)*(src/iglo|stages)/\S+\.py\s*$")


def with_modules(text: str, folder: Path) -> str:
    """The text of the dvc.yaml in `folder` with the modules of each stage as they are imported now.

    The modules go where the first one was, or to the end of `deps`. All other lines stay.
    """
    lines = text.splitlines(keepends=True)
    written: list[str] = []
    module, wdir = "", "."
    while lines:
        line = lines.pop(0)
        written.append(line)
        if STAGE.match(line):
            module, wdir = "", "."
        elif found := WDIR.match(line):
            wdir = found[1]
        elif found := MODULE.match(line):
            module = found[1]
        elif found := DEPS.match(line):
            entries = []
            while lines and re.match(rf"{found[1]}\s*(-|#)", lines[0]):
                entries.append(lines.pop(0))
            prefix = os.path.relpath(ROOT, folder / wdir).replace(os.sep, "/")
            paths = [path if prefix == "." else f"{prefix}/{path}" for path in _in_order(code_of(module))]
            written += _replaced(entries, [f"{found[1]}- {path}\n" for path in paths])
    return "".join(written)


def _in_order(code: set[str]) -> list[str]:
    """Sorted: first the stages, then the library."""
    return sorted(code, key=lambda path: (path.startswith("src/"), path))


def _replaced(entries: list[str], code: list[str]) -> list[str]:
    """The entries of a `deps` list with the modules replaced."""
    first = next((place for place, entry in enumerate(entries) if CODE.match(entry)), len(entries))
    others = [entry for entry in entries[first:] if not CODE.match(entry)]
    return entries[:first] + code + others


def main(argv: list[str]) -> int:
    """Rewrites the lists that are out of date, or names their files and returns 1 with `--check`."""
    stale = {}
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        if (current := with_modules(text, file.parent)) != text:
            stale[file] = current
    if "--check" in argv:
        for file in stale:
            print(f"{file.relative_to(ROOT)}: the modules in deps are out of date; `make deps` writes them")
        return int(bool(stale))
    for file, text in stale.items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
