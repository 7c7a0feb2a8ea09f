"""Writes the modules that each stage imports into the `deps` of every dvc.yaml.

`python -m tools.deps` rewrites these lists, and changes no other line. With `--check` it changes nothing and fails when
a list is out of date.

A list has the form `deps: [data, …, code, …]`. The code starts on a new line.
"""

import re
import sys
from pathlib import Path
from textwrap import fill

from tools.imports import ROOT, code_of

FILES = [ROOT / folder / "dvc.yaml" for folder in ("", "comparison", "disentangle", "disentangle/sweep")]
WIDTH = 120
MODULE = re.compile(r" -m (stages\.\w+)")
DEPS = re.compile(r"^( +)deps: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(\.\./)*(src/iglo|stages)/\S+\.(py|safetensors)")


def with_modules(text: str, folder: Path) -> str:
    """Returns the text of the dvc.yaml in `folder` with the modules that each stage imports now.

    A list belongs to the stage that the last command before it runs.
    """
    prefix = "../" * len(folder.relative_to(ROOT).parts)

    def current(found: re.Match) -> str:
        indent, entries = found[1], re.split(r",\s+", found[2].strip())
        data = [entry for entry in entries if not CODE.fullmatch(entry)]
        module = MODULE.findall(text[: found.start()])[-1]
        return _written(indent, data, [prefix + path for path in _in_order(code_of(module))])

    return DEPS.sub(current, text)


def _in_order(code: frozenset[str]) -> list[str]:
    """Sorts the paths: first the stages, then the library."""
    return sorted(code, key=lambda path: (path.startswith("src/"), path))


def _written(indent: str, data: list[str], code: list[str]) -> str:
    """Returns the lines of a list."""
    options = {"width": WIDTH, "subsequent_indent": f"{indent}  ", "break_long_words": False, "break_on_hyphens": False}
    first = fill(", ".join([f"{indent}deps: [{data[0]}", *data[1:], ""]).rstrip(), **options)
    return first + "\n" + fill(", ".join(code) + "]", initial_indent=f"{indent}  ", **options)


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
