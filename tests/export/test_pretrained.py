"""The pretrained networks of an exported model on another machine, where their weights may be missing."""

import json
import os
import shutil
from pathlib import Path

import pytest

import iglo
from iglo.errors import UserError
from iglo.export.pretrained import FallbackWarning
from tests.exported import IMAGES


@pytest.fixture
def perceptual(exported, tmp_path):
    """An exported model trained with a VGG whose weights were in another folder."""
    folder = Path(shutil.copytree(exported, tmp_path / "perceptual"))
    record = json.loads((folder / "model.json").read_text())
    loss = {"name": "perceptual", "network": "vgg11", "weights": "/another/machine/vgg.safetensors", "blocks": 1}
    (folder / "model.json").write_text(json.dumps(record | {"loss": loss}))
    return folder


def test_without_the_weights_of_its_loss_a_model_takes_another_and_says_so_once(perceptual, asked):
    model = iglo.load(perceptual)
    with pytest.warns(
        FallbackWarning, match=r"^loss: .* there is no file vgg\.safetensors here; put it into "
    ) as caught:
        model.invert(IMAGES)
        model.reconstruct(IMAGES)
        model.interpolate(*IMAGES[:2], 3)
        model.tour(IMAGES[:3], 1)
    assert [name for name, _ in asked] == ["L1"] * 5
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "l1 is used instead" in str(caught[0].message)


def test_a_loss_that_is_asked_for_is_not_replaced(perceptual):
    model = iglo.load(perceptual)
    said = (
        r"^loss\.weights: there is no file vgg\.safetensors here; put it into [^\n]*; or take another loss, such as l1"
    )
    with pytest.raises(UserError, match=said):
        model.invert(IMAGES, loss="perceptual")


def test_every_search_takes_the_loss_that_is_asked_for(model, classes, asked):
    model.interpolate(*IMAGES[:2], 3, loss="l2")
    model.tour(IMAGES[:3], 1, loss="l1_l2")
    classes.convert(IMAGES[:1], method="hybrid", loss="lap_l1")
    assert [name for name, _ in asked] == ["L2", "L2", "L1L2", "LaplacianL1"]


def test_weights_in_the_folder_of_the_model_are_taken(perceptual, asked, monkeypatch):
    made = []
    monkeypatch.setattr("iglo.export.pretrained.make_distance", lambda params, runtime: made.append(params.loss))
    (perceptual / "vgg.safetensors").touch()
    iglo.load(perceptual).invert(IMAGES)
    assert [loss.weights for loss in made] == [str(perceptual / "vgg.safetensors")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_weights_that_are_a_pipe_are_not_waited_for(perceptual, asked):
    os.mkfifo(perceptual / "vgg.safetensors")
    with pytest.warns(FallbackWarning, match="there is no file"):
        iglo.load(perceptual).invert(IMAGES)
