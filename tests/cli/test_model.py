"""Describing and exporting models."""

import json
import re
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
