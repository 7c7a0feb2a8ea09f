"""The documents have the numbers, names and paths of the repository. `make docs` checks the links of the site."""

import json
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import iglo
from iglo.files.io import read_json
from tests.pipeline import ROOT
from tools import lock, packages

PAGES = sorted((ROOT / "docs").glob("*.md"))
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
FILE = re.compile(r"`((?:src|stages|tests|tools|benchmarks|docs)/[\w./-]+\.\w+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    assert [path for path in FILE.findall(text) if not (ROOT / path).is_file()] == []


def test_every_link_of_the_readme_leads_to_a_file():
    links = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10 and [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short_and_has_the_numbers_of_the_last_run():
    text = (ROOT / "README.md").read_bytes()
    assert len(text) <= 6144
    values = read_json(ROOT / "metrics-all.json")
    for section, kind in (("train", "recon"), ("train", "encoder"), ("test", "encoder")):
        row = f"| {values[section][kind]['psnr']:.1f} dB | {values[section][kind]['ssim']:.3f} |"
        assert row in text.decode(), row
        assert row in (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), row


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PROSE:
        named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, page.name


def test_every_page_is_in_the_navigation():
    nav = json.dumps(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert [page.name for page in PAGES if f'"{page.name}"' not in nav] == []


def test_the_command_that_deletes_earlier_images_deletes_whole_folders():
    """DVC takes an emptied folder for a changed one, and prepares it, which deletes the list of known images."""
    text = (ROOT / "docs" / "arrivals.md").read_text(encoding="utf-8")
    (deleted,) = re.findall(r"^    rm -r (.*)", text, re.MULTILINE)
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert deleted.split() == [values["data"]["path"], "data/prepared", "data/features", ".dvc/cache"]


def test_the_site_fetches_nothing():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config and "http" not in config


# --- The drawing of the packages ---


def test_the_drawing_is_of_the_present_packages(capsys, monkeypatch):
    assert packages.main(["--check"]) == 0
    monkeypatch.setattr(packages, "PICTURE", ROOT / "docs" / "none.svg")
    assert packages.main(["--check"]) == 1 and "out of date" in capsys.readouterr().out


def test_the_drawing_has_every_package_and_leaves_out_what_follows():
    text = packages.picture({"cli": {"losses", "files"}, "losses": {"files"}, "files": set()})
    assert text.count("marker-end") == 2 and all(f">{name}<" in text for name in ("cli", "losses", "files"))
    assert {"losses", "cli", packages.TOP} < set(packages.graph())


# --- The locked versions ---


@pytest.mark.parametrize(
    ("version", "python", "expected"),
    [
        ("2.14.1+cu130", ">=3.10", "a==2.14.1"),
        ("2.4.6", ">=3.11", 'a==2.4.6 ; python_full_version >= "3.11"'),
        ("1.0", ">=3.9, <3.15, !=3.9.7", 'a==1.0 ; python_full_version < "3.15"'),
        ("1.0", "<4,>=3.8,!=3.8.*", "a==1.0"),
        ("1.0", None, "a==1.0"),
    ],
)
def test_a_locked_version_binds_where_it_exists(version, python, expected):
    assert lock.line("a", version, python) == expected


def test_the_locked_versions_are_of_no_machine():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = {each.name: each for each in map(Requirement, (line for line in lines if not line.startswith("#")))}
    assert {"torch", "numpy", "dvc", "mkdocs", "pytest"} <= set(locked)
    assert all(len(each.specifier) == 1 and not each.url for each in locked.values())
    assert not [name for name in locked if lock.OF_A_PLATFORM.match(name)]
    torch = str(locked["torch"].specifier).removeprefix("==")
    assert locked["torch"].specifier.contains(f"{torch}+cpu")


def test_versions_that_are_written_twice_agree():
    ruff = re.search(r"^ruff==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks["repos"][0]["rev"] == f"v{ruff}"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == iglo.__version__
