"""The images of an arrival: the split, known images and channels."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from iglo.data.arrival_images import arrival_source, split_as, write_arrival
from iglo.data.known import KNOWN, KnownImage, read_known
from iglo.data.prepare import write_store
from iglo.data.sources import open_source
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.params.sections import DataParams, Parts
from tests import chain
from tests.data.images import noise, save, save_many

SHARES = Parts(8, 1, 1)


def arrive(
    folder: Path, data: DataParams, name: str = "a", parts: Parts = SHARES, known: Sequence[KnownImage] = ()
) -> tuple[ImageStore, dict]:
    """Prepares the images in a folder; the result is beside it."""
    out = folder.with_name(f"{folder.name}-out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    write_arrival(out, arrival_source(folder, name), name, data, parts, known)
    return ImageStore.open(out, whole=False), json.loads((out / "report.json").read_text())


def known_of(folder: Path) -> list[KnownImage]:
    return read_known(folder.with_name(f"{folder.name}-out") / KNOWN)


def save_numbers(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        save(folder / f"{number}.png", noise(16, 16, 3, seed=number))
    return folder


# --- The split ---


def test_shares_are_those_of_the_first_run_rounded_down():
    assert split_as(Parts(1500, 147, 150), 100) == (84, 8, 8)
    assert split_as(Parts(8, 1, 1), 10) == (8, 1, 1)
    assert split_as(Parts(8, 1, 1), 9) == (9, 0, 0)
    assert split_as(Parts(8, 0, 2), 7) == (6, 0, 1)
    for parts in (Parts(1, 0, 1), Parts(1, 50, 50), Parts(8, 1, 1)):
        assert split_as(parts, 1) == (1, 0, 0)


def test_an_arrival_is_split_after_a_shuffle_of_its_own(data, tmp_path):
    folder = save_numbers(tmp_path / "new", *range(20))
    store, report = arrive(folder, data, parts=Parts(7, 1, 2))
    assert store.parts == (14, 2, 4) and report["images"] == {"train": 14, "validation": 2, "test": 4}
    for name, image in zip(store.names, store.images, strict=True):
        np.testing.assert_array_equal(image, noise(16, 16, 3, seed=int(name.removesuffix(".png"))))
    assert {*store.names} == {f"{number}.png" for number in range(20)}
    assert store.names != arrival_source(folder, "a").names
    assert store.names != arrive(folder, data, name="b")[0].names
    assert store.names != arrive(folder, dataclasses.replace(data, seed=1))[0].names


def test_one_image_is_a_training_image(data, tmp_path):
    store, report = arrive(save_numbers(tmp_path / "new", 7), data)
    assert store.parts == (1, 0, 0) and store.names == ("7.png",)
    assert report["images"] == {"train": 1} and report["known"] == {"count": 0, "first": []}


def test_the_place_of_the_folder_is_in_no_file(data, tmp_path):
    """Or an arrival would be learned again when its folder moves."""
    folder = save_numbers(tmp_path / "new", *range(5))
    save(folder / "frogs" / "small.png", noise(4, 4))
    (folder / "notes.txt").write_text("x")
    data = dataclasses.replace(data, on_error="skip")
    before = [arrive(folder, data)[1], chain.contents(tmp_path / "new-out", tmp_path / "new-out")]
    moved = folder.rename(tmp_path / "moved")
    assert [arrive(moved, data)[1], chain.contents(tmp_path / "moved-out", tmp_path / "moved-out")] == before
    assert before[0]["skipped"]["count"] == before[0]["ignored"]["count"] == 1


# --- Known images ---


def test_known_images_are_left_out(data, tmp_path):
    """Those of any part of the first run or of an earlier arrival, and those that come twice in this arrival."""
    save_many(data, 3)
    write_store(open_source(data, ""), data, tmp_path / "prepared", tmp_path / KNOWN)
    first_run = read_known(tmp_path / KNOWN)
    old = save_numbers(tmp_path / "old", *range(10, 30))
    assert arrive(old, data, "old", known=first_run)[0].parts == (16, 2, 2)
    known = known_of(old)
    assert known[:3] == first_run and {image.arrival for image in known[3:]} == {"old"}

    new = save_numbers(tmp_path / "new", 1, 3, *range(10, 30), 40, 41)
    save(new / "40-again.png", noise(16, 16, 3, seed=40))
    store, report = arrive(new, data, "new", known=known)
    names = {*store.names}
    assert len(names) == len(store.names) == 2 and "41.png" in names and names & {"40.png", "40-again.png"}
    left_out = dict(report["known"]["first"])
    assert report["known"]["count"] == 23 and len(left_out) == 10
    everything = {"1.png": "frog-1.png", "3.png": "frog-3.png", **{f"{n}.png": f"{n}.png" for n in range(10, 30)}}
    twin = ("40.png", "40-again.png")
    assert left_out.items() <= {*everything.items(), twin, twin[::-1]}
    assert known_of(new)[:-2] == known and {*(image.name for image in known_of(new)[-2:])} == names
    with open(tmp_path / "new-out" / "index.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["0", "1"]


def test_repeated_images_of_the_first_run_name_the_first_one(data, tmp_path):
    digest = arrive(save_numbers(tmp_path / "one", 5), data)[0] and known_of(tmp_path / "one")[0].digest
    known = [KnownImage("first.png", digest, 3), KnownImage("second.png", digest, 3)]
    _, report = arrive(save_numbers(tmp_path / "two", 5, 6), data, known=known)
    assert report["known"] == {"count": 1, "first": [["5.png", "first.png"]]}


def test_an_arrival_without_new_images_is_refused(data, tmp_path):
    folder = save_numbers(tmp_path / "new", *range(12))
    arrive(folder, data)
    known, skip = known_of(folder), dataclasses.replace(data, on_error="skip")
    with pytest.raises(UserError, match=r"^arrivals\.b\.path: must have new images, but all 12 in '.*/new' are known,"):
        arrive(folder, data, "b", known=known)
    (folder / "bad.png").write_text("no image")
    with pytest.raises(UserError, match=r"all 13 in '.*' are known or cannot be used, such as .* and 3 more; add new"):
        arrive(folder, skip, "b", known=known)
    save(tmp_path / "bad" / "small.png", noise(4, 4))
    with pytest.raises(UserError, match=r"all 1 in '.*/bad' cannot be used, such as small\.png \(4×4 pixels"):
        arrive(tmp_path / "bad", skip)


# --- Bad input ---


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path):
    missing = rf"^arrivals\.2026-12\.path: no folder '{tmp_path}/gone'; it has moved or was removed, so put it back or "
    with pytest.raises(UserError, match=missing):
        arrival_source(tmp_path / "gone", "2026-12")
    with pytest.raises(UserError, match=rf"^arrivals\.2026-12\.path: no images in '{tmp_path}' \(0 other files\)"):
        arrival_source(tmp_path, "2026-12")


def test_a_kind_of_image_that_the_first_run_did_not_have_is_refused(data, tmp_path):
    grey, colour = (KnownImage(f"{kind}.png", f"{kind}" * 32, kind) for kind in (1, 3))
    mixed = save_numbers(tmp_path / "new", 1, 2)
    save(mixed / "grey.png", noise(16, 16))
    with pytest.raises(
        UserError, match=r"path: all earlier images are grey, but 2 of these are in colour, such as [12]\."
    ) as error:
        arrive(mixed, data, known=[grey])
    assert str(error.value).endswith("; convert them to images that are grey.")
    with pytest.raises(
        UserError, match=r"in colour, but 1 of these are grey, such as grey\.png; convert .* in colour\."
    ):
        arrive(mixed, data, known=[colour])
    _, report = arrive(mixed, data, known=[colour, grey])
    assert report["channels"] == {"1": 1, "3": 2}


def test_a_bad_image_stops_an_arrival_or_is_left_out(data, tmp_path):
    folder = save_numbers(tmp_path / "new", 1, 2)
    (folder / "bad.png").write_text("no image")
    with pytest.raises(UserError, match=r"bad\.png \(not a PNG.*data\.on_error"):
        arrive(folder, data)
    store, report = arrive(folder, dataclasses.replace(data, on_error="skip"))
    assert len(store.images) == 2 and [*report["skipped"]["reasons"]] == ["bad.png"]
