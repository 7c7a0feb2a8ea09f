"""A run with the smallest values of all params for measures and figures."""

import json
import math

import pytest

from tests import chain, pipeline

SMALLEST = {
    "data.train": 48,
    "data.test": 1,
    "clustering.components": 1,
    "alpha": 0.0,
    "encoder.mode": "codes",
    "evaluate.samples": 1,
    "evaluate.pairs": 1,
    "evaluate.steps": 1,
}


@pytest.mark.filterwarnings("ignore:prior. best needs")
def test_a_run_of_smallest_values_ends_with_numbers_figures_and_a_page(tmp_path, few_rounds):
    values = chain.params(**SMALLEST)
    chain.write_images(tmp_path / chain.IMAGES)
    chain.write_images(tmp_path / chain.LATER, 60, 61)
    chain.write_params(tmp_path, values)
    for stage in pipeline.stages(params=values):
        chain.run(tmp_path, stage)
    measured = json.loads((tmp_path / "metrics.json").read_text())
    # one image is enough only for these two
    assert [key.split("_random")[0] for key in measured["samples"]] == ["novelty", "copy_rate"]
    assert all(math.isfinite(value) for value in leaves(measured))
    drawn = {path.name for path in (tmp_path / "reports" / "figures").iterdir()}
    assert {"overview.png", "samples.png", "priors.png", "interpolation.gif", "learning.gif", "split.png"} < drawn
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert all(f"<code>{name}</code>" in page for name in drawn)
    header = (tmp_path / "reports" / "curves" / "full" / "curve.csv").read_text().splitlines()[0]
    assert header == "epoch,images_seen,loss,continuity"
    late = json.loads((tmp_path / "reports" / "arrivals" / "late" / "metrics-all.json").read_text())
    del late["of"]
    assert all(math.isfinite(value) for value in leaves(late)) and late["counts"]["new"]["train"] == 1


def leaves(values):
    for value in values.values():
        yield from leaves(value) if isinstance(value, dict) else [value]
