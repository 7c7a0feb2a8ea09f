"""Writes the modules of all stages of a pipeline into the `deps` of its stage `modules`, in every dvc.yaml.

`python -m tools.deps` rewrites these lists, and changes no other line. With `--check` it changes nothing and fails when
a list is out of date.
"""

import re
import sys
from pathlib import Path
from textwrap import fill

from stages.imports import ROOT, code_of, stages_of

FILES = [ROOT / folder / "dvc.yaml" for folder in ("", "comparison", "disentangle", "disentangle/sweep")]
WIDTH = 120
LIST = re.compile(r"(^  modules:\n(?:    .*\n)*?    deps: )\[[^]]*\]$", re.MULTILINE)  # within the stage `modules`


def with_modules(text: str, folder: Path) -> str:
    """Returns the text of the dvc.yaml in `folder` with the modules that its stages import now."""
    prefix = "../" * len(folder.relative_to(ROOT).parts)
    code = frozenset().union(*map(code_of, stages_of(text)))
    # first the stages, then the library
    paths = [prefix + path for path in sorted(code, key=lambda path: (path.startswith("src/"), path))]
    return LIST.sub(lambda found: found[1] + _written(paths), text)


def _written(paths: list[str]) -> str:
    """Returns the lines of a list."""
    options = {"initial_indent": " " * 6, "subsequent_indent": " " * 6, "break_long_words": False}
    return "[\n" + fill(", ".join(paths) + "]", width=WIDTH, break_on_hyphens=False, **options)


def main(argv: list[str]) -> int:
    """Rewrites the lists that are out of date, or names their files and returns 1 with `--check`."""
    stale = {}
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        if (current := with_modules(text, file.parent)) != text:
            stale[file] = current
    if "--check" in argv:
        for file in stale:
            print(f"{file.relative_to(ROOT)}: the list of modules is out of date; `make deps` writes it")
        return int(bool(stale))
    for file, text in stale.items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
