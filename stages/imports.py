"""Finds which files of this project a stage imports, directly or not. It reads their syntax trees, and runs nothing."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ".safetensors"  # the ending of the files of weights that iglo ships
MODULE = re.compile(r" -m (stages\.\w+)")


class Source(NamedTuple):
    """What a Python file says.

    Attributes:
        text: all of it.
        imports: the files of this project that it imports, anywhere in it.
        has_code: whether it holds more than a docstring.
    """

    text: str
    imports: frozenset[Path]
    has_code: bool


@cache
def source(path: Path) -> Source:
    """Returns what a Python file says."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    files = frozenset(file for name in imported_names(tree) if (file := module_file(name)))
    return Source(text, files, len(tree.body) > (ast.get_docstring(tree) is not None))


def imported_names(tree: ast.AST) -> set[str]:
    """Returns the dotted names that code imports anywhere. `from a import b` gives a and a.b, which may be a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def module_file(name: str) -> Path | None:
    """Returns the file of a module or package of this project, by its dotted name; None for all others."""
    base = ROOT / ("src" if name.startswith("iglo") else "") / name.replace(".", "/")
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def code_of(module: str) -> frozenset[str]:
    """Returns a module, all its direct and indirect imports, and their packages, as paths from the root.

    The weights that iglo ships belong to the module beside them that names their file. An `__init__.py` that holds a
    docstring alone has no code, so it is left out.
    """
    seen, queue = set(), [module_file(module)]
    while queue:
        file = queue.pop()
        if file not in seen:
            seen.add(file)
            queue += source(file).imports
            queue += [package] if (package := file.parent / "__init__.py").is_file() else []
    files = {file for file in seen if source(file).has_code}
    files |= {data for file in seen for data in _weights_beside(file.parent) if data.name in source(file).text}
    return frozenset(file.relative_to(ROOT).as_posix() for file in files)


@cache
def _weights_beside(folder: Path) -> frozenset[Path]:
    return frozenset(folder.glob(f"*{WEIGHTS}"))


def stages_of(pipeline: str) -> list[str]:
    """Returns the modules that the commands in the text of a dvc.yaml run, each once, such as stages.fetch."""
    return list(dict.fromkeys(MODULE.findall(pipeline)))
