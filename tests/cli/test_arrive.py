"""The command `iglo arrive`: it adds a line to params.yaml, and changes nothing else."""

import os
import stat
from pathlib import Path

import pytest

from iglo.params.arrivals import Arrival
from iglo.params.reading import load_params
from tests.cli.command import done, refused
from tests.data.images import noise, save
from tests.tiny import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The working folder: the committed params and three folders with an image each."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT, encoding="utf-8")
    for name in ("2026-12", "2027-01-01", "new frogs"):
        save(Path("data/arrivals", name, "a.png"), noise(16, 16))
    return tmp_path


def arrivals() -> list[Arrival]:
    return list(load_params("params.yaml").arrivals)


def test_arrivals_are_added_one_after_the_other():
    first = done("arrive", "data/arrivals/2026-12").stdout
    assert first == "added 2026-12 after joint to params.yaml (1 image); next: dvc repro\n"
    save(Path("data/arrivals/2027-01-01/b.png"), noise(16, 16))
    second = done("arrive", "data/arrivals/2027-01-01/").stdout
    assert second == "added 2027-01-01 after 2026-12 to params.yaml (2 images); next: dvc repro\n"
    done("arrive", "data/arrivals/new frogs", "--id", "frogs", "--keep", "generated")
    assert arrivals() == [
        Arrival("2026-12", "joint", "images", "data/arrivals/2026-12"),
        Arrival("2027-01-01", "2026-12", "images", "data/arrivals/2027-01-01"),
        Arrival("frogs", "2027-01-01", "generated", "data/arrivals/new frogs"),
    ]
    before, after = TEXT.splitlines(), Path("params.yaml").read_text(encoding="utf-8").splitlines()
    place = next(number for number, line in enumerate(before) if line.startswith("arrivals: []"))
    assert after[place] == before[place].replace("[]", "  ")
    assert after[place + 1 : place + 4] == [
        "- {id: 2026-12, after: joint, keep: images, path: data/arrivals/2026-12}",
        '- {id: "2027-01-01", after: 2026-12, keep: images, path: data/arrivals/2027-01-01}',
        '- {id: frogs, after: "2027-01-01", keep: generated, path: data/arrivals/new frogs}',
    ]
    assert [*after[:place], *after[place + 4 :]] == [*before[:place], *before[place + 1 :]]


def test_the_path_is_the_one_that_the_stages_find(here, monkeypatch, tmp_path_factory):
    """Relative to the params file if the folder is inside, with the rights and the links of the file as before."""
    Path("params.yaml").rename("data/params.yaml")
    Path("params.yaml").symlink_to("data/params.yaml")
    Path("data/params.yaml").chmod(0o640)
    done("arrive", "data/arrivals/2026-12")
    outside = tmp_path_factory.mktemp("outside") / "b"
    save(outside / "a.png", noise(16, 16))
    monkeypatch.chdir("data/arrivals/2027-01-01")
    done("arrive", str(outside), "--params", "../../../params.yaml")
    done("arrive", ".", "--params", "../../../params.yaml")
    monkeypatch.chdir(here)
    assert [(item.id, item.path) for item in arrivals()] == [
        ("2026-12", "arrivals/2026-12"),
        ("b", str(outside)),
        ("2027-01-01", "arrivals/2027-01-01"),
    ]
    assert Path("params.yaml").is_symlink() and stat.S_IMODE(os.stat("params.yaml").st_mode) == 0o640


def refusal(*arguments: str) -> str:
    """The message of a command that must leave the params as they are."""
    before = Path("params.yaml").read_bytes()
    message = refused("arrive", *arguments)
    assert Path("params.yaml").read_bytes() == before
    return message


def test_a_folder_without_images_is_refused():
    Path("data/arrivals/empty").mkdir()
    assert refusal("data/arrivals/empty").startswith("data/arrivals/empty: no images in 'data/arrivals/empty'")
    assert refusal("gone").startswith("gone: no folder 'gone'; make it")
    assert refusal("params.yaml", "--id", "a").startswith("params.yaml: no folder 'params.yaml'")


def test_an_id_that_exists_or_is_no_name_is_refused():
    done("arrive", "data/arrivals/2026-12")
    twice = "--id: must be a new name, but 2026-12 is the id of an earlier arrival."
    assert refusal("data/arrivals/2026-12") == twice
    assert refusal("data/arrivals/2027-01-01", "--id", "2026-12") == twice
    assert refusal("data/arrivals/new frogs").startswith("--id: must be a name of letters, digits, dots, hyphens")
    assert refusal("data/arrivals/2027-01-01", "--id", "joint").endswith("got 'joint'.")


def test_a_folder_that_has_earlier_images_in_it_is_refused():
    done("arrive", "data/arrivals/2026-12")
    earlier = "must lie apart from data/arrivals/2026-12, the images of the arrival 2026-12; put the new images into a"
    assert refusal("data/arrivals/2026-12", "--id", "b").startswith(f"data/arrivals/2026-12: {earlier}")
    assert refusal("data").startswith(f"data: {earlier}")
    save(Path("data/arrivals/2026-12/more/a.png"), noise(16, 16))
    assert earlier in refusal("data/arrivals/2026-12/more")
    text = Path("params.yaml").read_text(encoding="utf-8")
    own = text.replace("source: digits", "source: folder").replace(
        "path: data/images", "path: data/arrivals/2027-01-01"
    )
    Path("params.yaml").write_text(own, encoding="utf-8")
    assert "apart from data/arrivals/2027-01-01, the images of the first run;" in refusal("data/arrivals/2027-01-01")


def test_params_that_can_have_no_arrival_are_refused():
    assert refused("arrive", "data/arrivals/2026-12", "--params", "gone.yaml").startswith("gone.yaml: cannot read the")
    for name in ("disentangle", "comparison"):
        Path("params.yaml").write_bytes((ROOT / name / "params.yaml").read_bytes())
        assert refusal("data/arrivals/2026-12").startswith("params.yaml: holds the params of another pipeline")
    Path("params.yaml").write_text(TEXT[: TEXT.index("\narrival:")], encoding="utf-8")
    assert refusal("data/arrivals/2026-12").startswith("arrival: is missing, but there are arrivals; take this section")
    Path("params.yaml").write_text(TEXT.replace("seed: 0", "seed: -1", 1), encoding="utf-8")
    assert refusal("data/arrivals/2026-12") == "seed: must be at least 0, got -1."
    Path("params.yaml").write_text(TEXT, encoding="utf-8")
    save(Path('data/arrivals/a"b/a.png'), noise(16, 16))
    assert refusal('data/arrivals/a"b', "--id", "b").startswith("arrivals.0.path: must be a path without quotes")
