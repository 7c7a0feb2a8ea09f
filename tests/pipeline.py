"""The pipeline as it is written down: what dvc.yaml says, and what the stages import."""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def imports(path: Path) -> set[Path]:
    """Files of this project that a Python file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {file for name in names if (file := module_file(name))}
    return found


def module_file(name: str) -> Path | None:
    base = ROOT / ("src" if name.startswith("iglo") else "") / name.replace(".", "/")
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def code_of(script: Path) -> set[str]:
    """A stage script and all that it imports, directly or not, as paths from the root."""
    seen, queue = set(), [script, script.parent / "__init__.py"]
    while queue:
        file = queue.pop()
        if file not in seen:
            seen.add(file)
            queue += imports(file)
    if any(file.parent.name == "iglo" for file in seen):
        seen.add(ROOT / "src/iglo/__init__.py")
    return {str(file.relative_to(ROOT)) for file in seen}


def stages(path: Path = ROOT / "dvc.yaml") -> dict[str, dict]:
    """Each stage of a dvc.yaml by name, templates not filled in."""
    text = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in text.items()}
