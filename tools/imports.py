"""Finds the imports of a Python file of this project in its syntax tree."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ".safetensors"  # the ending of the files of weights that iglo ships


@cache
def imports(path: Path) -> frozenset[Path]:
    """Returns the files of this project that a Python file imports, anywhere in it."""
    names = imported_names(path.read_text(encoding="utf-8"))
    return frozenset(file for name in names if (file := module_file(name)))


def imported_names(code: str) -> set[str]:
    """Returns the dotted names that code imports anywhere. `from a import b` gives a and a.b, which may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
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
            queue += imports(file)
            queue += [package] if (package := file.parent / "__init__.py").is_file() else []
    texts = {file: file.read_text(encoding="utf-8") for file in seen}
    files = {file for file, text in texts.items() if has_code(text)}
    files |= {data for file, text in texts.items() for data in file.parent.glob(f"*{WEIGHTS}") if data.name in text}
    return frozenset(file.relative_to(ROOT).as_posix() for file in files)


def has_code(text: str) -> bool:
    """Returns whether a Python file holds more than a docstring."""
    module = ast.parse(text)
    return len(module.body) > (ast.get_docstring(module) is not None)
