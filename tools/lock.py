"""Prints constraints.txt from a report of pip: the versions that pip would install for iglo and its extra `dev`.

    pip install --dry-run --ignore-installed --report report.json --editable '.[dev]'
    python -m tools.lock report.json > constraints.txt

`make lock` does both. The file must serve other machines than this one:

- A package that needs a newer Python than iglo does is bound only there, by a marker. An older Python takes what pip
  finds.
- Packages for one platform (CUDA) are left out.
- The local part of a version is left out: torch==2.14.1 allows 2.14.1+cpu.
"""

import json
import re
import sys
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

OLDEST = Version("3.10")  # the Python that pyproject.toml asks for
OF_A_PLATFORM = re.compile(r"nvidia-|cuda-|triton|iglo$")
HEADER = """\
# Versions that work together. `make repro`, `make test` and `make docs` install them. `make lock` writes it anew.
# A line with a marker binds only the Pythons for which that version exists.
"""


def line(name: str, version: str, python: str | None) -> str:
    """Returns a line: name==version, with a marker if that version does not exist for every Python that iglo allows.

    Args:
        python: the versions of Python that the package asks for.
    """
    bounds = [(each.operator, Version(each.version)) for each in SpecifierSet(python or "") if "*" not in each.version]
    lower = [bound for operator, bound in bounds if operator in (">=", ">", "~=") and bound > OLDEST]
    upper = [bound for operator, bound in bounds if operator == "<" and bound.major == OLDEST.major]
    conditions = [f'python_full_version >= "{max(lower)}"'] if lower else []
    conditions += [f'python_full_version < "{min(upper)}"'] if upper else []
    marker = f" ; {' and '.join(conditions)}" if conditions else ""
    return f"{name}=={Version(version).public}{marker}"


def main(report: str) -> None:
    """Prints the file."""
    packages = [entry["metadata"] for entry in json.loads(Path(report).read_text(encoding="utf-8"))["install"]]
    found = {canonicalize_name(each["name"]): each for each in packages}
    names = [name for name in sorted(found) if not OF_A_PLATFORM.match(name)]
    lines = [line(name, found[name]["version"], found[name].get("requires_python")) for name in names]
    print(HEADER + "\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
