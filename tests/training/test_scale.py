"""The benchmark of growth: the stages that it runs, its crops, and what it makes of its rows."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pipeline

FOLDER = pipeline.ROOT / "benchmarks"


@pytest.fixture(scope="module")
def scale():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOLDER), *sys.path])
        spec = importlib.util.spec_from_file_location("scale", FOLDER / "scale.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def report(scale):
    return sys.modules["scale_report"]


def rows(report, power: float, kind: str = "growth") -> list:
    """A stage with two rounds and one of constant cost, for 1000 to 64,000 images."""
    counts = 1000 * 4 ** np.arange(4)
    rounds = [report.Row(kind, n, f"cluster@{i}", 2e-3 * n**power, 1, 500 + i, 100) for n in counts for i in (0, 1)]
    return [*rounds, *(report.Row(kind, n, "select", 0.5, 1, 400, 90) for n in counts)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")
def test_the_commands_are_those_of_the_pipeline(scale):
    params = scale.params_of(1000, epochs=1)
    expected = {stage.name: [stage.module, *stage.argv] for stage in pipeline.stages(params=params)}
    commands = scale.commands(params)
    assert dict(commands) == expected
    made: set[str] = {"images", "data/weights", "data/torchvision"}
    for name, argv in commands:  # each finds what it reads
        stage = next(stage for stage in pipeline.stages(params=params) if stage.name == name)
        assert name == "modules" or {dep for dep in stage.deps if not dep.startswith("data/modules/")} <= made
        made |= set(stage.outs)
        assert argv[0] == stage.module


def test_crops_are_the_same_ones_however_they_are_counted(scale, tmp_path):
    photographs = [Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))]
    steps, at_once = scale.Crops(tmp_path / "a", photographs), scale.Crops(tmp_path / "b", photographs)
    steps.extend(5)
    steps.extend(12)
    at_once.extend(12)
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    pixels = [[np.asarray(Image.open(file)) for file in each] for each in files]
    np.testing.assert_array_equal(*pixels)
    assert np.shape(pixels) == (2, 12, 32, 32, 3) and len(np.unique(pixels[0], axis=0)) == 12


def test_rounds_are_summed_and_slopes_are_powers(report):
    growth = report.summed(rows(report, 1.25))
    (x, seconds), (_, constant) = report.series(growth, "cpu_seconds").values()
    np.testing.assert_allclose(seconds, 4e-3 * x**1.25)
    assert report.slope(x, seconds) == pytest.approx(1.25) and report.slope(x, constant) == pytest.approx(0)
    assert {row.peak_mib for row in growth} == {501, 400}
    assert "| 1.25 | **1.25** |" in report.seconds_table(growth)


def test_a_report_is_put_between_its_marks(report, tmp_path):
    page = tmp_path / "scale.md"
    page.write_text("before\n<!-- plan -->\nold\n<!-- end of plan -->\nafter\n")
    many = [*rows(report, 1), *rows(report, 1, "ceiling")[-1:]]
    report.write_report(tmp_path, many, report.Plan())
    text = page.read_text()
    assert text.startswith("before\n<!-- plan -->\ns = 64") and "old" not in text and "\nafter\n" in text
    assert text.index("after") < text.index("<!-- seconds -->") and (tmp_path / "scale.png").exists()
    assert {name: len(set(widths)) for name, widths in tables(text).items()} == dict.fromkeys(TABLES, 1)
    report.write_report(tmp_path, many, report.Plan())
    assert page.read_text() == text


TABLES = ("plan", "ceiling", "seconds", "memory", "hours")


def tables(text: str) -> dict[str, list[int]]:
    """The cells in each line of each table."""
    between = {name: text.split(f"<!-- {name} -->")[1].split("<!--")[0].splitlines() for name in TABLES}
    return {name: [line.count("|") for line in lines if line.startswith("|")] for name, lines in between.items()}


def test_the_plan_by_hand(report):
    plan = report.Plan(side=32, channels=1, dimension=10, batch=50, epochs=432, gpu_rate=1000).table()
    lines = {
        cells[1].strip(): [cell.strip() for cell in cells[3:5]] for cells in map(split, plan.splitlines()) if cells
    }
    assert lines["images"] == ["1.02 GB", "102 GB"]
    assert lines["codes, two moments, step counts"] == ["124 MB", "12.4 GB"]  # 31 numbers of 4 bytes
    # 864 images seen an image
    assert lines["GPUs for one day, R, at 1,000 images/s (H200, measured)"] == ["10", "1000"]
    assert lines["codes and their optimizer on each"] == ["12.4 MB", "12.4 MB"]
    assert lines["steps of an epoch"] == ["2,000", "2,000"]


def split(line: str) -> list[str]:
    return line.split("|") if line.startswith("|") else []


def test_a_folder_without_images_is_one_sentence(scale, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: --images: no PNG, JPEG or WebP files in .*; name .* some\.$"):
        scale.photographs(Path(tmp_path))
