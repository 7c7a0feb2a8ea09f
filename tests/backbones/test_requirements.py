"""Missing networks, weights or memory are found before anything is trained."""

import dataclasses
import subprocess
import sys
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from iglo.backbones import inception_fid, requirements, small_cnn
from iglo.backbones.requirements import (
    body_weights,
    check_memory,
    check_networks,
    check_watched,
    networks,
    param_warnings,
    weight_digests,
    weight_files,
)
from iglo.errors import UserError
from iglo.latent import gaussians
from iglo.models.networks import Encoder, Generator
from iglo.params.comparison import Comparison
from iglo.params.reading import load_params
from stages.learning import checkpoint_folder
from tests.tiny import ROOT, tiny_class_params, tiny_params

FILES = sorted(path for path in ROOT.glob("**/*.yaml") if path.parent.name == "presets" or path.name == "params.yaml")


@pytest.fixture
def weights(tmp_path) -> str:
    path = tmp_path / "small.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, path)
    return str(path)


@pytest.fixture
def offline(tmp_path, monkeypatch) -> None:
    def refused(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)


def refusal(params) -> str:
    with pytest.raises(UserError) as caught:
        check_networks(params)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Networks and weights ---


def test_only_networks_that_a_run_uses_are_needed(weights):
    plain = tiny_params(features__network="pixels", loss__name="l1", loss__weights="nowhere.safetensors")
    assert [*networks(plain)] == ["evaluate"] and weight_files(plain) == {}
    assert [*networks(tiny_params(features__network="resnet18", loss__name="perceptual"))] == [
        "features",
        "loss",
        "evaluate",
    ]
    evaluated = tiny_params(evaluate__weights=weights)
    assert {key: str(path) for key, path in weight_files(evaluated).items()} == {"evaluate.weights": weights}
    assert weight_files(tiny_params(evaluate__fid_weights="download")) == {}
    assert [*weight_files(tiny_params(evaluate__fid_weights=weights))] == ["evaluate.fid_weights"]
    assert networks(tiny_class_params()) == {}
    swept = tiny_class_params()
    swept = dataclasses.replace(swept, sweep=dataclasses.replace(swept.sweep, loss=("l1", "perceptual")))
    assert [*networks(swept)] == ["loss"]


def test_networks_of_every_method_of_a_comparison_are_needed():
    comparison = load_params(ROOT / "comparison" / "params.yaml", Comparison)
    method = dataclasses.replace(comparison.methods["glo"], changes={"loss": {"weights": "other.safetensors"}})
    changed = dataclasses.replace(comparison, methods={**comparison.methods, "glo": method})
    files = {key: path.name for key, path in weight_files(changed).items()}
    assert files.keys() - weight_files(comparison).keys() == {"methods.glo.changes: loss.weights"}
    assert files["methods.glo.changes: loss.weights"] == "other.safetensors"
    assert files["base: loss.weights"] == "vgg16_imagenet.safetensors"
    assert refusal(comparison).startswith("base: features.weights: there is no file ")


def test_the_folder_preset_without_network_names_all_its_weights(offline):
    message = refusal(load_params(ROOT / "presets" / "folder.yaml"))
    assert message.startswith("features.weights, loss.weights, evaluate.weights: ")
    for network in (models.ResNet50_Weights, models.VGG16_Weights, models.EfficientNet_B0_Weights):
        assert network.DEFAULT.url in message
    assert "connect to the network" in message and ".safetensors" in message and "random" in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("evaluate.network", "alx", "torchvision has no network 'alx'; did you mean alexnet?"),
        ("features.network", "resnt18", "torchvision has no network 'resnt18'; did you mean resnet18?"),
        ("loss.network", "vg16", "torchvision has no network 'vg16'; did you mean vgg16?"),
        ("loss.network", "resnet18", "must be one of torchvision's VGGs (e.g. vgg16), got 'resnet18'."),
        ("evaluate.network", "vit_b_16", "'vit_b_16' has no pooled features here; supported are alexnet, "),
        ("evaluate.weights", "digits", "digits are the weights of small_cnn, got network 'alexnet'; set network to "),
        ("evaluate.fid_weights", "x.pth", "there is no file 'x.pth'; set download, or null for no FID, or name "),
        ("evaluate.weights", "x.pth", "must be imagenet, random or a .safetensors file for alexnet, got 'x.pth'."),
        ("loss.weights", "x.safetensors", "there is no file 'x.safetensors' of vgg16; name another file, or set "),
    ],
)
def test_a_mistake_is_named_with_its_section(key, value, message):
    used = {"loss__name": "perceptual", "features__network": "resnet18"}
    if key == "evaluate.weights":
        used["evaluate__network"] = "alexnet"
    if "fid" in key:
        pytest.importorskip("torch_fidelity")
    params = tiny_params(**used | {key.replace(".", "__"): value})
    assert refusal(params).startswith(f"{key}: {message}")


def test_packages_that_are_not_installed_are_named(monkeypatch):
    for package in ("timm", "torch_fidelity.feature_extractor_inceptionv3"):
        monkeypatch.setitem(sys.modules, package, None)
    message = refusal(tiny_params(evaluate__network="timm/resnet18"))
    assert message.startswith("evaluate.network: 'timm/resnet18' needs the package timm") and "iglo[timm]" in message
    message = refusal(tiny_params(evaluate__fid_weights="download"))
    assert message.startswith("evaluate.fid_weights: needs the package torch-fidelity") and "iglo[fid]" in message


def test_weights_of_another_network_are_found_at_once(weights):
    assert "not the weights of squeezenet1_1" in refusal(
        tiny_params(evaluate__network="squeeze", evaluate__weights=weights)
    )


def test_names_that_are_checked_without_torch_are_those_of_the_modules():
    assert (requirements.SMALL_CNN, requirements.DOWNLOAD) == (small_cnn.NETWORK, inception_fid.DOWNLOAD)


def test_the_defaults_are_checked_without_torch():
    code = (
        "import sys\nfrom iglo.backbones.requirements import *\nfrom iglo.params.reading import load_params\n"
        "params = load_params('params.yaml')\n"
        "check_memory(params), check_networks(params), weight_digests(params)\n"
        "param_warnings(params)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_file_that_dvc_does_not_watch_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watched = {"loss__name": "perceptual", "evaluate__weights": "data/weights/network.safetensors"}
    check_watched(tiny_params(**watched, loss__weights="data/weights/deep/vgg.safetensors"))
    (tmp_path / "data/weights").mkdir(parents=True)
    (tmp_path / "data/weights/link").symlink_to(tmp_path)
    check_watched(tiny_params(**watched, loss__weights=f"{tmp_path}/data/weights/link/vgg.safetensors"))
    check_watched(tiny_params(data__source="torchvision", data__root="data/torchvision"))
    wrong = {
        "loss.weights": tiny_params(**watched, loss__weights="vgg.safetensors"),
        "evaluate.fid_weights": tiny_params(evaluate__fid_weights="data/weights/../inception.pth"),
        "data.root": tiny_params(data__source="torchvision", data__root="/data/sets"),
    }
    for key, params in wrong.items():
        with pytest.raises(UserError, match=rf"^{key}: must be in data/\w+, or `dvc repro` would not notice"):
            check_watched(params)


def test_a_file_replaced_in_place_is_another_input(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    params = tiny_params(loss__name="perceptual", loss__weights=weights)

    def seen() -> tuple:
        with checkpoint_folder("full", params) as folder:
            return weight_digests(params), folder.path

    before = seen()
    assert seen() == before
    save_file({"features.0.weight": torch.ones(1)}, weights)
    after = seen()
    assert before[0]["loss"].keys() == after[0]["loss"].keys() == {weights}
    assert before[0] != after[0] and before[1] != after[1]


# --- Memory and rates ---


@pytest.mark.parametrize(("size", "channels", "width", "dimension"), [(16, 1, 3, 5), (64, 3, 4, 7), (128, 3, 2, 9)])
def test_weights_are_counted_as_the_networks_have_them(size, channels, width, dimension):
    expected = body_weights(dimension, size, channels, width)
    for network in (Generator(dimension, size, channels, width), Encoder(dimension, size, channels, width)):
        assert sum(p.numel() for p in network.parameters() if p.dim() > 1) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_committed_file_fits_into_eight_gibibytes(path):
    check_memory(load_params(path, object), available=8 * 2**30)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"latent__dimension": 4096}, "latent.dimension"),
        ({"evaluate__samples": 1_000_000}, "evaluate.samples"),
        ({"evaluate__pairs": 10_000, "evaluate__steps": 1000}, "evaluate.pairs, evaluate.steps"),
        ({"generator__width": 1024, "data__image_size": 128}, "latent.dimension, generator.width"),
        ({"encoder__width": 1024, "data__image_size": 128}, "latent.dimension, encoder.width"),
        ({"full__batch_size": 65_536, "data__image_size": 128}, "full.batch_size, generator.width"),
        (
            {"features__network": "resnet18", "features__image_size": 1024, "features__batch_size": 512},
            "features.batch_size, features.image_size",
        ),
    ],
)
def test_values_that_need_too_much_memory_are_refused(changes, keys):
    params = tiny_params(data__train=1500, **{"data__image_size": 32, "generator__width": 16} | changes)
    with pytest.raises(
        UserError, match=rf"^{keys}: must fit into memory, .* but this machine has 4\.0 GiB; lower them\.$"
    ):
        check_memory(params, available=4 * 2**30)


def test_the_estimate_has_the_largest_mixture():
    assert max(gaussians.MIXTURES) == requirements.MAX_COMPONENTS


def test_rates_that_learn_nothing_give_a_warning():
    assert param_warnings(load_params(ROOT / "params.yaml")) == []
    assert param_warnings(load_params(ROOT / "comparison" / "params.yaml", Comparison)) == []
    assert param_warnings(tiny_params(optimizer__generator_rate=1e6)) == [
        "optimizer.generator_rate: with a rate of 1e+06 the images probably become noise; set at most 1."
    ]
    assert param_warnings(tiny_params(optimizer__name="sgd", optimizer__code_rate=10.0, joint__rate=2.0)) == [
        "joint.rate: with a rate of 2 the images probably become noise; set at most 1."
    ]
