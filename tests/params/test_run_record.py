"""The stages record a run, and an export describes it, even if params.yaml changes afterwards."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from iglo.cli.main import main
from iglo.params.run_record import data_record, folder_digest, public_address
from tests import chain
from tests.tiny import tiny_params


def written(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_outputs_of_a_run_say_what_they_are_of(tiny_run):
    folder, digest = tiny_run.folder, folder_digest(tiny_run.folder / "models/joint")
    loss = {"network": "vgg16", "weights": "random", "name": "l1", "blocks": 4, "pixel_weight": 60.0}
    data = {"source": "folder", "folder": "my-images", "train": 48, "validation": 6, "test": 6}
    values = {"method": "incremental", "seed": 0, "precision": "bf16", "noise": 1.0, "loss": loss, "data": data}
    for name in ("full", "encoder", "joint"):
        assert written(folder / "models" / name / "history.json")["run"] == values
    assert written(folder / "models/staged/2/history.json")["run"] is None
    feature_network = {"network": "squeeze", "weights": "random", "seed": 0}
    assert written(folder / "models/priors/priors.json")["of"] == {"model": digest, "feature_network": feature_network}
    features = {"network": "pixels", "weights": "random"}
    assert written(folder / "metrics-all.json")["of"] == {"model": digest, "features": features}


def test_an_export_tells_the_run_and_not_the_params(tiny_run, tmp_path, monkeypatch):
    run = tiny_run.copy(
        tmp_path, **{"arrivals": [], "seed": 9, "loss.name": "l2", "evaluate.network": "alex", "sigma": 0.1}
    )
    monkeypatch.chdir(run.folder)
    assert CliRunner().invoke(main, ["export"]).stderr == ""
    card = Path("models/export/README.md").read_text(encoding="utf-8")
    for fact in (
        "Seed 0, precision bf16, loss l1.",
        "noise on codes: 1.",
        "48 images for training; held out: 6 for validation, 6 for tests.",
    ):
        assert fact in card
    assert "a folder of images, my-images." in card and "Feature network of the metrics: squeeze," in card
    assert "Features for clustering: pixels, no pretrained weights." in card and "| train.recon.psnr |" in card
    record = written(Path("models/export/model.json"))
    assert record["seed"] == 0 and record["loss"]["name"] == "l1" and record["feature_network"]["network"] == "squeeze"


def test_what_belongs_to_another_model_is_not_taken(tiny_run, tmp_path, monkeypatch):
    """`full`, `encoder` and `joint` run again with another seed; the priors and metrics are the old ones."""
    run = tiny_run.copy(tmp_path, seed=9, arrivals=[])
    for name in ("full", "encoder", "joint"):
        shutil.rmtree(run.folder / "models" / name)
        chain.run(run.folder, run.stage(name))
    monkeypatch.chdir(run.folder)
    result = CliRunner().invoke(main, ["export"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: models/priors: holds priors of another model than models/joint; run")
    chain.run(run.folder, run.stage("priors"))
    result = CliRunner().invoke(main, ["export"])
    assert result.exit_code == 0 and result.stderr.startswith("warning: metrics: were measured on another model, so")
    card = Path("models/export/README.md").read_text(encoding="utf-8")
    assert "Seed 9" in card and "None were given for this model." in card


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "digits"}, {"source": "digits"}),
        ({"source": "folder", "path": "/home/me/cats"}, {"source": "folder", "folder": "cats"}),
        (
            {"source": "git", "url": "https://me:secret@host:8080/x.git", "rev": "r", "subdir": "s"},
            {"source": "git", "url": "https://host:8080/x.git", "rev": "r", "subdir": "s"},
        ),
        (
            {"source": "torchvision", "dataset": "CIFAR10", "classes": ("frog",)},
            {"source": "torchvision", "dataset": "CIFAR10", "classes": ["frog"]},
        ),
    ],
)
def test_data_are_told_public_addresss_and_passwords(changes, said):
    params = tiny_params(**{f"data__{key}": value for key, value in changes.items()})
    assert data_record(params.data) == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host/x", "https://host/x"),
        ("https://token@host/x", "https://host/x"),
        ("git@host:me/x.git", "git@host:me/x.git"),
        ("/home/me/frogs", "frogs"),
        ("https://[broken", "https://[broken"),
    ],
)
def test_an_address_is_told_without_secrets(url, said):
    assert public_address(url) == said


def test_a_digest_changes_with_every_name_and_every_byte(tmp_path):
    (tmp_path / "a").mkdir()
    digests = []
    for name, content in (("a/x", b"1"), ("a/y", b"1"), ("a/y", b"2")):
        (tmp_path / name).write_bytes(content)
        digests.append(folder_digest(tmp_path))
    assert len(set(digests)) == 3 and folder_digest(tmp_path) == digests[-1]
