"""The list of the images that a run has."""

import dataclasses
import json
from pathlib import Path

import pytest

from iglo.data.known import KNOWN, KnownImage, read_known, write_known
from iglo.data.prepare import write_store
from iglo.data.sources import open_source
from iglo.data.store import ImageStore
from iglo.errors import UserError
from tests import chain
from tests.data.images import noise, save, save_many


def test_the_first_run_lists_its_images_in_the_order_of_ids(data, tmp_path):
    save_many(data, 4)
    save(Path(data.path, "grey-1.png"), noise(16, 16))
    save(Path(data.path, "sub", "transparent.png"), noise(16, 16, 4))
    shuffled = dataclasses.replace(data, shuffle=True, train=3)
    write_store(open_source(shuffled, ""), shuffled, tmp_path / "prepared", tmp_path / KNOWN)
    store, known = ImageStore.open(tmp_path / "prepared"), read_known(tmp_path / KNOWN)
    assert tuple(image.name for image in known) == store.names and {image.arrival for image in known} == {""}
    assert {image.name for image in known if image.channels == 1} == {"grey-1.png"}
    assert len({image.digest for image in known}) == 6
    assert json.loads((tmp_path / "prepared" / "report.json").read_text())["channels"] == {"1": 1, "3": 5}


def test_the_list_changes_no_bit_of_the_prepared_images(data, tmp_path):
    save_many(data, 4)
    for name, digests in (("without", None), ("with", tmp_path / KNOWN)):
        write_store(open_source(data, ""), data, tmp_path / name, digests)
    before, after = (chain.contents(tmp_path / name, tmp_path / name) for name in ("without", "with"))
    assert before == after and {*before} == {"images.npy", "index.csv", "report.json"}


def test_names_that_are_no_text_come_back(tmp_path):
    images = [KnownImage('a, "b"\udcff.png', "0" * 32, 1), KnownImage("é\n.png", "f" * 32, 3, "2026-12")]
    write_known(tmp_path / KNOWN, images)
    assert read_known(tmp_path / KNOWN) == images


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("", "its columns must be name, digest, channels, arrival"),
        ("name,digest\n", "its columns must be"),
        ("name,digest,channels,arrival\na,b,1,\n", "a row has the digest 'b'"),
        (f"name,digest,channels,arrival\na,{'0' * 32},4,\n", "'4' channels"),
        (f"name,digest,channels,arrival\na,{'0' * 32}\n", "missing"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, text, reason):
    if text is not None:
        (tmp_path / KNOWN).write_text(text)
    with pytest.raises(UserError, match=rf"known\.csv: no list of known images \([^\n]*{reason}[^\n]*; run the stage"):
        read_known(tmp_path / KNOWN)
