"""The scripts in tools: the table of experiments and the picture of the pipeline."""

import pytest
import yaml

from iglo.report.headline import HEADLINE, headline
from stages.imports import ROOT
from tools import draw, experiments


def state(sigma: float, psnr: float | None, **more) -> dict:
    """A commit or an experiment as in `dvc exp show --json`; psnr None: nothing was measured."""
    metrics = {"train": {"recon": {"psnr": psnr}}, "samples": {"kd_random_alexnet": psnr / 1e6}} if psnr else {}
    params = {"sigma": sigma, "seed": 0, "encoder": {"mode": "codes", "width": 32}} | more
    return {"data": {"params": {"params.yaml": {"data": params}}, "metrics": {"metrics.json": {"data": metrics}}}}


def experiment(name: str, *args, status: str = "success", **more) -> dict:
    return {"name": name, "executor": {"state": status}, "revs": [{"rev": "0123456789", **state(*args, **more)}]}


SHOWN = [
    {"rev": "workspace", "name": None, "experiments": None, **state(1.0, 38.2211)},
    {
        "rev": "abcdef",
        "name": "main",
        **state(1.0, 38.2211),
        "experiments": [experiment("less", 0.3, 42.2), experiment("none", 0.1, None, status="failed")],
    },
]


def test_the_changed_parameter_stands_before_the_numbers():
    lines = experiments.table(experiments.rows(SHOWN)).splitlines()
    cells = [line.split() for line in lines]
    heading = next(line for line in cells if line[:1] == ["experiment"])
    assert heading[:2] == ["experiment", "sigma"] and "seed" not in heading and "width" not in heading
    rows = {line[-len(heading) :][0]: line[-len(heading) :] for line in cells if len(line) >= len(heading)}
    assert rows["less"][1:3] == ["0.3", "42.2"] and "4.22e-05" in rows["less"]
    assert rows["main"][1:3] == rows["workspace"][1:3] == ["1.0", "38.2"]
    assert any("none (failed)" in line and "0.1" in line for line in lines)


@pytest.mark.parametrize("changed", [1, 3, 9])
def test_the_table_fits_and_tells_what_it_leaves_out(changed):
    given = [{"rev": f"{i}", "name": f"{i}", **state(i, 1.0, **{f"key{j}": i for j in range(changed)})} for i in (1, 2)]
    text = experiments.table(experiments.rows(given))
    assert max(map(len, text.splitlines())) <= 120
    assert all(f"key{j}" in text for j in range(changed))
    words = text.replace("\n", " ")
    for name in HEADLINE:
        section, *heading = name.removesuffix("_*").replace("_", ".").split(".")
        assert name.removesuffix("_*") in words or (section in words and all(part in words for part in heading))
    assert "Not shown, because there is no room" in text


def test_headline_numbers_keep_their_places():
    values = {"train": {"recon": {"l1": 0.1, "psnr": 30.0, "lpips_random_alex": 0.2}}, "split": {"coverage": 1.0}}
    assert headline(values) == {"train": {"recon": {"psnr": 30.0, "lpips_random_alex": 0.2}}}


def test_the_picture_leaves_out_what_follows():
    stages = yaml.safe_load("""
    a: {outs: [x/0]}
    b: {foreach: [1, 2], do: {deps: ["x/${item.after}"], outs: ["x/${item.id}", reports/timing/b.json]}}
    c: {deps: [x/0, "x/${item.id}"], metrics: [m.json: {cache: false}]}
    """)
    assert draw.graph(stages) == ({"a": set(), "b": {"a"}, "c": {"b"}}, {("b", "b")})


def test_the_picture_is_of_the_present_pipeline(capsys, monkeypatch):
    assert draw.main(["--check"]) == 0
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert all(f">{name}" in draw.picture(stages) for name in stages)
    monkeypatch.setattr(draw, "PICTURE", ROOT / "docs" / "none.svg")
    assert draw.main(["--check"]) == 1 and "out of date" in capsys.readouterr().out
