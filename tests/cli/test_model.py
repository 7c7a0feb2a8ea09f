"""Describing and exporting models."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import iglo
from tests import exported as exports
from tests.cli.command import done, refused, run


def test_info_says_what_a_model_is(here):
    assert re.search(r"^prior +gaussian$", done("info").stdout, re.MULTILINE)
    assert re.search(r"^classes +ant, bee, cat/dog$", done("info", "--model", "classes").stdout, re.MULTILINE)


@pytest.mark.parametrize("kind", ["glo", "class_content"])
def test_export_packs_what_the_pipeline_left(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "glo":
        model = exports.trained(Path("models/joint"))
        exports.fitted(Path("models/priors"), model_folder=model)
        Path("metrics-all.json").write_text(json.dumps(exports.measured(model)))
        which = ()
        assert done("export").stdout == "wrote models/export (6 files)\n"
    else:
        exports.trained(Path("disentangle/work/encoded"), exports.CLASS_PARAMS)
        which = ("--class-content",)
        done("export", *which)
        done("export", "--model", "disentangle/work/encoded", "--force")
    assert iglo.load("models/export").info()["kind"] == kind
    assert ("21.75" in Path("models/export/README.md").read_text()) is (kind == "glo")
    assert "models/export: is there already" in refused("export", *which)
    Path("models/export/mine.txt").touch()
    assert "models/export: holds other things too, such as mine.txt" in refused("export", "--force", *which)


def test_an_export_of_what_an_earlier_iglo_left(tmp_path, monkeypatch):
    """The model has no record of its run, and its metrics do not name their model."""
    monkeypatch.chdir(tmp_path)
    exports.trained(Path("models/joint"), record=False)
    exports.fitted(Path("models/priors"))
    assert refused("export").startswith(
        "models/joint: has no record of its run, because an earlier iglo made it; name the"
    )
    exports.write_params(Path())
    Path("metrics-all.json").write_text(json.dumps(exports.METRICS))
    result = run("export", "--params", "params.yaml")
    assert result.exit_code == 0 and result.stderr.startswith(
        "warning: metrics-all.json: does not say which model it is"
    )
    assert "21.75" not in Path("models/export/README.md").read_text()
    done("export", "--params", "params.yaml", "--metrics", "metrics-all.json", "--force")
    assert "21.75" in Path("models/export/README.md").read_text()


# --- Images that arrived later ---


@pytest.fixture
def arrivals(tmp_path, monkeypatch) -> Path:
    """The working folder, with the models of the first run and of two arrivals, their priors and their metrics."""
    monkeypatch.chdir(tmp_path)
    exports.write_params(Path(), arrivals=("2026-12", "2027-01", "2027-02"))
    first, _ = exports.ARRIVALS
    of_joint, of_first, of_second = (), (replace(first, first=8),), exports.ARRIVALS
    for name, priors, metrics, known, number in [
        ("joint", "priors", "metrics-all.json", of_joint, 10.5),
        ("2026-12", "priors-2026-12", "reports/arrivals/2026-12/metrics-all.json", of_first, 11.5),
        ("2027-01", "priors-2027-01", "reports/arrivals/2027-01/metrics-all.json", of_second, 12.5),
    ]:
        model = exports.trained(Path("models", name), arrivals=known)
        exports.fitted(Path("models", priors), model_folder=model)
        Path(metrics).parent.mkdir(parents=True, exist_ok=True)
        Path(metrics).write_text(json.dumps(exports.measured(model) | {"train": {"psnr": number}}))
    return tmp_path


def test_export_takes_the_newest_arrival_that_is_there(arrivals):
    assert done("export").stdout == "wrote models/export (6 files) from models/2027-01\n"
    assert "| train.psnr | 12.5 |" in Path("models/export/README.md").read_text()
    assert re.search(
        r"^arrivals +2026-12 \(4 images, rows 7 to 10, kept by images\), 2027-01 \(1 image, row 11, kept by nothing\)$",
        done("info").stdout,
        re.MULTILINE,
    )
    shutil.rmtree("models/2027-01")
    assert done("export", "--force").stdout == "wrote models/export (6 files) from models/2026-12\n"
    assert "| train.psnr | 11.5 |" in Path("models/export/README.md").read_text()
    shutil.rmtree("models/priors-2026-12")
    assert refused("export", "--force").startswith("models/priors-2026-12/priors.json: ")


def test_export_of_a_named_model_takes_its_own_priors_and_metrics(arrivals):
    for model, number in (("models/joint", 10.5), ("./models/2026-12/", 11.5)):
        assert done("export", "--model", model, "--force").stdout == "wrote models/export (6 files)\n"
        assert f"| train.psnr | {number} |" in Path("models/export/README.md").read_text()
    assert refused("export", "--priors", "models/priors", "--force").startswith(
        "models/priors: holds priors of another model than models/2027-01"
    )


@pytest.mark.parametrize(
    "text", [None, "", "arrivals: [{id: ..", "arrivals: [{id: 2026-12, after: joint, keep: images, path: a}]"]
)
def test_without_arrivals_in_the_params_export_takes_the_first_run(arrivals, text):
    Path("params.yaml").unlink()
    if text is not None:
        Path("params.yaml").write_text(text)
    assert done("export").stdout == "wrote models/export (6 files)\n"
    assert "| train.psnr | 10.5 |" in Path("models/export/README.md").read_text()
