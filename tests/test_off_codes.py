"""The log of benchmarks/off_codes: its variants, its rule for what helped, and its report."""

import copy

import numpy as np
import pytest

from benchmarks.off_codes import __main__ as command
from benchmarks.off_codes.options import Options, Variant, options_of
from benchmarks.off_codes.report import SETS, changed, helped, report_text, write_report
from benchmarks.off_codes.variants import VARIANTS
from iglo.files.io import read_json

RESULTS = command.FOLDER / "results.json"
TRIED = [
    Variant("plain", None, {}, "The reference."),
    Variant("far", None, {"size": 64, "data": "frogs-64"}, "Another section."),
    Variant("batch", "plain", {"batch": 32}, "More steps.", seeds=(0, 1)),
    Variant("never", "plain", {"dimension": 16}, "Not trained yet."),
]


def result(midpoints: float = 0.2, ghost: float = 0.8, psnr: float = 20.0) -> dict:
    one = {"kd": 0.1, "recognised": 0.5}
    sets = {name: dict(one) for name in ("real", *SETS)}
    sets["midpoints"]["kd"] = midpoints
    return {"psnr": psnr, "inverted_psnr": 19.0, "ghost": ghost, **sets}


def record() -> dict:
    results = {"far": {"0": result()}, "plain": {"0": result()}, "batch": {"0": result(0.1, 0.8, 21), "1": result(0.1)}}
    return {"machine": "a machine", "results": results}


@pytest.mark.parametrize(
    ("numbers", "outcome"),
    [
        ((0.2, 0.8, 25.0), "no"),
        ((0.189, 0.8, 19.6), "yes"),
        ((0.2, 0.76, 20.0), "yes"),
        ((0.189, 0.8, 19.4), "at a price"),
        ((0.22, 0.7, 20.0), "at a price"),
        ((0.15, 0.84, 20.0), "at a price"),
    ],
)
def test_what_helped_follows_the_rule(numbers, outcome):
    names = ("midpoints.kd", "ghost", "psnr")
    values, base = (dict(zip(names, map(np.atleast_1d, of), strict=True)) for of in (numbers, (0.2, 0.8, 20.0)))
    assert helped(values, base) == outcome


def test_the_report_has_a_row_for_each_variant_with_results(tmp_path):
    text = report_text(record(), TRIED)
    assert text.index("## 32×32 pixels, 800 frogs") < text.index("## 64×64 pixels, 800 frogs")
    assert (
        "| 2 | batch 75 → 32 (from 1) | More steps. | 20.50 ± 0.71 | 0.100 ± 0.000 | 0.800 ± 0.000 | **yes** |" in text
    )
    assert text.count("The reference.") == 1 and "Not trained yet." not in text
    write_report(tmp_path, record(), TRIED)
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert written == text and (tmp_path / "frontier.png").stat().st_size > 10_000


def test_changes_are_told_in_words():
    assert changed({"start": "features", "noise": 0.5}, Options()) == "start pixels → features, noise 0.5"
    assert changed({"realism_weight": 3.0, "levels": "4"}, Options()) == "realism weight 3, levels 4"


def test_a_variant_must_differ_from_its_base_within_the_setting():
    for changes in ({}, {"size": 64}, {"start": "nowhere"}):
        with pytest.raises(ValueError, match="must"):
            options_of([TRIED[0], Variant("new", "plain", changes, "")])
    with pytest.raises(ValueError, match="does not stand before it"):
        options_of([Variant("new", "plain", {}, "")])


def test_only_what_has_no_result_is_trained(monkeypatch):
    monkeypatch.setattr(command, "VARIANTS", TRIED)
    known = copy.deepcopy(record()["results"])
    del known["batch"]["1"]
    todo = command.missing(known, [])
    assert [(name, options.seed) for name, options in todo] == [("batch", 1), ("never", 0)]
    assert command.missing(known, ["plain"]) == []


def test_the_committed_report_is_of_the_committed_results():
    written = RESULTS.with_name("report.md").read_text(encoding="utf-8")
    assert written == report_text(read_json(RESULTS), VARIANTS)
    assert set(read_json(RESULTS)["results"]) <= {variant.name for variant in VARIANTS}


def test_other_processes_find_what_they_run():
    """A process that starts anew does not find what is in __main__."""
    assert command.run.__module__ == "benchmarks.off_codes.tasks"
