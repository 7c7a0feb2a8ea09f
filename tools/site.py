"""Adds the pages of the site that are made from other files: a hook of MkDocs, named in mkdocs.yml.

- api/NAME.md for every package of iglo, and api/command.md with the help of every command
- the reports of the comparison with their figures
- the page of the digits, which needs no server; its recorded answers are in docs/explore/digits
- CHANGELOG.md and CONTRIBUTING.md
"""

import re
import sys
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "iglo"
sys.path.insert(0, str(LIBRARY.parent))  # this checkout's library, wherever iglo is installed from
PUBLIC = """# The public API

```python
import iglo  # offers iglo.load and iglo.IncrementalGLO
```

::: iglo.export.api.load
    options:
      skip_local_inventory: true

::: iglo.export.api.LoadedModel
    options:
      skip_local_inventory: true

::: iglo.estimator.estimator.IncrementalGLO
    options:
      skip_local_inventory: true

The command `iglo` is on a page of its own: [The command iglo](command.md).
"""
COPIED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "comparison/report.md": "comparison/report.md",
    "comparison/frogs-64/report.md": "comparison/frogs-64/report.md",
    "comparison/off-codes/report.md": "comparison/off-codes/report.md",
    "comparison/arrivals/report.md": "comparison/arrivals/report.md",
}


def on_config(config: Any) -> Any:
    """Fills the API reference in the navigation."""
    for entry in config.nav:
        if "API reference" in entry:
            entry["API reference"] = [{_title(place, text): place} for place, text in _reference().items()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages and figures that are not in docs/."""
    for place, text in _reference().items():
        files.append(File.generated(config, place, content=text))
    for path, place in COPIED.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text(encoding="utf-8")))
    for folder in ("comparison/figures", "comparison/frogs-64/figures", "comparison/off-codes", "comparison/arrivals"):
        for path in sorted((ROOT / folder).glob("*.png")):
            files.append(File.generated(config, f"{folder}/{path.name}", abs_src_path=str(path)))
    from iglo.explore.page_files import files_without_server

    for name, content in files_without_server().items():
        files.append(File.generated(config, f"explore/digits/{name}", content=content))
    return files


def _reference() -> dict[str, str]:
    """Returns the Markdown of the pages of the API reference, by their place."""
    packages = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
    modules = sorted(path.stem for path in LIBRARY.glob("*.py") if not path.stem.startswith("_"))
    pages = {"api/index.md": PUBLIC, "api/command.md": _command()}
    pages |= {f"api/{name}.md": _page(name, [f"iglo.{name}"]) for name in packages}
    return pages | {"api/top.md": _page("Modules at the top level", [f"iglo.{name}" for name in modules])}


def _page(title: str, modules: list[str]) -> str:
    blocks = [f"::: {module}\n    options:\n      show_submodules: true\n" for module in modules]
    return "\n".join([f"# {title}\n", *blocks])


def _title(place: str, text: str) -> str:
    return "Public API" if place == "api/index.md" else re.sub("^# |`", "", text.split("\n")[0])


def _command() -> str:
    """Returns the help of the command and of each of its commands."""
    from iglo.cli.main import main

    sections = ["# The command `iglo`\n", _help("iglo", main)]
    for name in sorted(main.commands):
        sections += [f"## iglo {name}\n", _help(f"iglo {name}", main.commands[name])]
    return "\n".join(sections)


def _help(name: str, command: click.Command) -> str:
    with click.Context(command, info_name=name, max_content_width=88, terminal_width=88) as context:
        return f"```text\n{command.get_help(context)}\n```\n"
