"""Networks and weights: names, files, torchvision's cache, and the message for each mistake."""

import copy
import hashlib
import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models
from torchvision.transforms.functional import normalize

from iglo.backbones import torchvision_networks
from iglo.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, freeze
from iglo.backbones.networks import backbone_name, check_weights, load_backbone, vgg_blocks
from iglo.backbones.torchvision_networks import TorchvisionBackbone, blocks_of
from iglo.backbones.weights import find_imagenet
from iglo.errors import UserError


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torchvision, without access to a network."""

    def offline(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put_in_cache(cache: Path, state: dict, weights: models.WeightsEnum, monkeypatch) -> Path:
    """Saves a stand-in for `weights` under a name with its own hash, and makes torchvision look for that name."""
    path = cache / "partial.pth"
    torch.save(state, path)
    path = path.rename(cache / f"stand_in-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    monkeypatch.setattr(weights.value, "url", f"https://example.invalid/{path.name}")
    return path


def message(network: str, weights: str) -> str:
    with pytest.raises(UserError) as caught:
        load_backbone(network, str(weights), seed=0)
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- Random weights ---


def test_random_weights_depend_on_the_seed_only():
    before = torch.random.get_rng_state()
    first, again, other = (load_backbone("resnet18", "random", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(first.body.conv1.weight, again.body.conv1.weight)
    assert not torch.equal(first.body.conv1.weight, other.body.conv1.weight)
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert not first.body.bn1.training


@pytest.mark.parametrize(
    ("network", "dimension"),
    [
        ("alexnet", 256), ("densenet121", 1024), ("efficientnet_b0", 1280), ("inception_v3", 2048),
        ("mobilenet_v3_small", 576),
        ("regnet_x_400mf", 400), ("resnet18", 512), ("shufflenet_v2_x0_5", 1024), ("squeezenet1_1", 512),
    ],
)  # fmt: skip
def test_all_families_give_pooled_features_of_small_grey_images(network, dimension):
    backbone = load_backbone(network, "random", seed=0)
    with torch.no_grad():
        assert backbone(torch.rand(2, 1, 16, 16)).shape == (2, dimension)


def test_pooled_features_are_the_mean_of_the_last_map(images):
    resnet, vgg = load_backbone("resnet18", "random", seed=0), load_backbone("vgg11", "random", seed=0)
    with torch.no_grad():
        x = normalize(images, IMAGENET_MEAN, IMAGENET_STD)
        h = resnet.body.maxpool(resnet.body.relu(resnet.body.bn1(resnet.body.conv1(x))))
        for layer in (resnet.body.layer1, resnet.body.layer2, resnet.body.layer3, resnet.body.layer4):
            h = layer(h)
        torch.testing.assert_close(resnet(images), h.mean(dim=(2, 3)))
        torch.testing.assert_close(vgg(images, 64), vgg.body.features(vgg.prepare(images, 64)).mean(dim=(2, 3)))
        assert vgg.prepare(images, 64).shape == (2, 3, 64, 64)


# --- Heads and blocks of all families ---


@pytest.mark.parametrize(
    ("network", "sides"),
    [
        ("alexnet", [15, 7, 3]), ("convnext_tiny", [16, 8, 4, 2]), ("densenet121", [32, 16, 8, 4, 2]),
        ("efficientnet_b0", [32, 16, 8, 4, 2]), ("inception_v3", [45, 20, 9, 4, 1]),
        ("mnasnet0_5", [32, 16, 8, 4, 2]), ("mobilenet_v3_small", [32, 16, 8, 4, 2]),
        ("regnet_x_400mf", [32, 16, 8, 4, 2]), ("resnet18", [32, 16, 8, 4, 2]),
        ("shufflenet_v2_x0_5", [32, 16, 8, 4, 2]), ("squeezenet1_1", [31, 15, 7, 3]), ("vgg11", [64, 32, 16, 8, 4]),
    ],
)  # fmt: skip
def test_scores_are_those_of_the_whole_network_and_blocks_end_where_the_resolution_halves(network, sides):
    inception = network == "inception_v3"
    options = {"init_weights": False, "aux_logits": False} if inception else {}
    whole = freeze(models.get_model(network, weights=None, **options))
    body, name = copy.deepcopy(whole), "fc" if hasattr(whole, "fc") else "classifier"
    whole.transform_input = inception  # as with ImageNet weights
    transform = torchvision_networks._transform(network)
    backbone = TorchvisionBackbone(network, body, torchvision_networks._cut(network, body, name), transform, 1000)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if inception:
        images = torch.nn.functional.interpolate(images, size=96)
    with torch.no_grad():
        prepared = backbone.prepare(images, images.shape[-1])
        maps = backbone.maps(prepared)
        scores = whole(normalize(images, IMAGENET_MEAN, IMAGENET_STD))
        torch.testing.assert_close(backbone.score(maps), scores, rtol=1e-3, atol=1e-4)
        assert backbone.pool(maps).dim() == 2
        assert [maps.shape[-1] for maps in backbone.block_outputs(prepared)] == sides


@pytest.mark.parametrize(("rows", "classes", "side"), [(1000, 1000, 224), (7, 7, 48), (None, None, 48)])
def test_the_head_of_a_file_says_for_which_size_it_was_trained(tmp_path, rows, classes, side):
    state = models.mobilenet_v3_small(weights=None, num_classes=rows or 5).state_dict()
    file = tmp_path / "mobilenet_v3_small_own.safetensors"
    save_file({name: value for name, value in state.items() if rows or not name.startswith("classifier.")}, file)
    check_weights("mobilenet_v3_small", str(file))
    backbone = load_backbone("mobilenet_v3_small", str(file), seed=0)
    assert (backbone.name, backbone.classes) == ("mobilenet_v3_small_own", classes)
    images = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    assert backbone.prepare(images).shape == backbone.prepare_whole(images).shape == (2, 3, side, side)
    assert backbone.prepare(images, 64).shape == (2, 3, 64, 64)


def test_the_whole_image_is_seen_or_its_middle_as_the_weights_ask_for():
    """A white edge of 4 of 64 pixels is cropped (256 pixels, then the middle 224), unless the whole image is wanted."""
    transform = torchvision_networks._transform("resnet18")
    backbone = TorchvisionBackbone("resnet18", models.resnet18(weights=None), torch.nn.Identity(), transform, 1000)
    images = torch.ones(1, 3, 64, 64)
    images[..., 2:-2, 2:-2] = 0
    black = normalize(torch.zeros(1, 3, 224, 224), IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(backbone.prepare(images), black)
    whole = backbone.prepare_whole(images)
    assert whole.shape == black.shape and torch.all(whole[..., 0, :] > black[..., 0, :] + 1)


# --- Names ---


def test_names_in_metric_keys():
    assert backbone_name("resnet50", "imagenet") == "resnet50_imagenet"
    assert backbone_name("alexnet", "random") == "random_alexnet"
    assert backbone_name("vgg11", "some/vgg11_tiny.safetensors") == "vgg11_tiny"
    assert backbone_name("vgg11", "some/tiny.safetensors") == "vgg11_tiny"
    assert backbone_name("small_cnn", "digits") == "small_cnn_digits"
    assert backbone_name("timm/test_vit.r160_in1k", "imagenet") == "timm_test_vit_r160_in1k_imagenet"
    assert backbone_name("timm/test_vit", "random") == "random_timm_test_vit"
    assert backbone_name("timm/test_vit", "test_vit_own.safetensors") == "timm_test_vit_own"


@pytest.mark.parametrize(
    ("network", "words"),
    [("ResNet50", "did you mean resnet50?"), ("zzz", "it has alexnet"), ("vit_b_16", "supported are alexnet")],
)
def test_unknown_networks_are_named(network, words):
    text = message(network, "random")
    assert repr(network) in text and words in text


# --- Files ---


def test_a_file_may_have_no_head_or_another_head_and_half_precision(tmp_path, images):
    source = models.resnet18(weights=None, num_classes=7)
    torch.nn.init.normal_(source.bn1.running_mean)
    state = {name: value.half() for name, value in source.state_dict().items()}
    save_file(state, tmp_path / "seven.safetensors")
    headless = {name: value for name, value in state.items() if not name.startswith("fc.")}
    save_file(headless, tmp_path / "none.safetensors")
    backbones = [load_backbone("resnet18", str(tmp_path / f"{name}.safetensors"), 0) for name in ("seven", "none")]
    source.fc = torch.nn.Identity()
    source.load_state_dict({name: value.float() for name, value in headless.items()})
    with torch.no_grad():
        expected = source.eval()(normalize(images, IMAGENET_MEAN, IMAGENET_STD))
        for backbone in backbones:
            assert backbone.body.conv1.weight.dtype == torch.float32
            torch.testing.assert_close(backbone(images), expected)


def test_wrong_files_are_named_in_one_sentence(tmp_path):
    file = tmp_path / "weights.safetensors"
    assert str(file) in message("resnet18", file)  # missing
    file.write_bytes(b"not a safetensors file")
    assert str(file) in message("resnet18", file) and "resnet18" in message("resnet18", file)
    state = models.squeezenet1_1(weights=None).state_dict()
    save_file(state, file)
    check_weights("squeezenet1_1", str(file))
    assert "not the weights of resnet18" in message("resnet18", file)
    with pytest.raises(UserError, match="not the weights of resnet18"):
        check_weights("resnet18", str(file))
    name = "features.3.squeeze.weight"
    save_file({**state, name: state[name][:5].clone()}, file)
    text = message("squeezenet1_1", file)
    assert all(part in text for part in (name, "(16, 64, 1, 1)", "(5, 64, 1, 1)"))
    save_file({**state, name: torch.full_like(state[name], float("nan"))}, file)
    for check in (load_backbone, check_weights):  # before the training too
        with pytest.raises(UserError, match=f"^weights: .* must be finite, but {name} has NaN"):
            check("squeezenet1_1", str(file), *([0] if check is load_backbone else []))
    assert ".safetensors file" in message("resnet18", tmp_path / "weights.pth")
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "there is no file" in message("resnet18", tmp_path / "pipe.safetensors")
    assert "File name too long" in message("resnet18", "w" * 300 + ".safetensors")


# --- torchvision's cache ---


def test_imagenet_weights_come_from_the_cache_with_their_own_transform(cache, monkeypatch, images):
    weights, stand_in = models.ResNet18_Weights.DEFAULT, models.resnet18(weights=None)
    put_in_cache(cache, stand_in.state_dict(), weights, monkeypatch)
    backbone = load_backbone("resnet18", "imagenet", seed=0)
    assert backbone.name == "resnet18_imagenet"
    stand_in.fc = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), stand_in.eval()(weights.transforms()(images)))
    assert backbone.prepare(images).shape == (2, 3, 224, 224)
    assert backbone.prepare(images, 48).shape == (2, 3, 48, 48)


def test_older_names_of_densenet_weights_are_read(cache, monkeypatch):
    stand_in = models.densenet121(weights=None)
    dotted = {"norm1": "norm.1", "norm2": "norm.2", "conv1": "conv.1", "conv2": "conv.2"}
    state = {
        ".".join(dotted.get(part, part) if "denselayer" in name else part for part in name.split(".")): value
        for name, value in stand_in.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    put_in_cache(cache, state, models.DenseNet121_Weights.DEFAULT, monkeypatch)
    body = load_backbone("densenet121", "imagenet", seed=0).body
    torch.testing.assert_close(body.features.state_dict(), stand_in.features.state_dict())


def test_missing_weights_without_network_are_one_sentence(cache):
    text = message("resnet50", "imagenet")
    url = models.ResNet50_Weights.DEFAULT.url
    assert text == (
        f"weights: torchvision's ImageNet weights cannot be read in {cache} and cannot be downloaded (no route to "
        f"host); connect to the network, put the file {url} there, name the path of a .safetensors file, or set "
        "random."
    )


def test_all_missing_weights_are_named_at_once(cache):
    with pytest.raises(UserError) as caught:
        find_imagenet({"features.weights": "resnet18", "loss.weights": "vgg16", "evaluate.weights": "vgg16"})
    text, urls = str(caught.value), [models.ResNet18_Weights.DEFAULT.url, models.VGG16_Weights.DEFAULT.url]
    assert text.startswith("features.weights, loss.weights, evaluate.weights: ") and "\n" not in text
    assert f"put the files {', '.join(urls)} there" in text and "set each of these keys to random" in text


def test_a_cache_without_permission_is_one_sentence(cache, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    assert "Permission denied" in message("resnet18", "imagenet")


def test_missing_weights_are_downloaded_into_the_cache(cache, monkeypatch):
    weights, loaded = models.ResNet18_Weights.DEFAULT, []
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *given, **_: loaded.append(given))
    find_imagenet({"loss.weights": "resnet18"})
    name = weights.url.rsplit("/", 1)[1]
    assert loaded == [(weights.url, str(cache / name), name.removeprefix("resnet18-").removesuffix(".pth"))]


def test_a_damaged_file_in_the_cache_is_named(cache, monkeypatch):
    path = put_in_cache(cache, {}, models.ResNet18_Weights.DEFAULT, monkeypatch)
    path.write_bytes(path.read_bytes()[:-100])
    text = message("resnet18", "imagenet")
    assert str(path) in text and "damaged" in text and "delete the file" in text


# --- Blocks of a VGG ---


def test_blocks_end_at_the_last_relu_before_each_pooling(images):
    backbone = load_backbone("vgg11_bn", "random", seed=0)
    blocks = blocks_of(backbone)
    assert len(blocks) == 5
    h, taps = images, []
    for layer in backbone.body.features:
        if isinstance(layer, torch.nn.MaxPool2d):
            taps.append(h.clone())
        h = layer(h)
    h = images
    for block, tap in zip(blocks, taps, strict=True):
        h = block(h)
        assert isinstance(block[-1], torch.nn.ReLU) and torch.equal(h, tap)


def test_blocks_of_vgg16_end_at_the_usual_layers():
    blocks = vgg_blocks("vgg16", "random", blocks=4, seed=0)
    assert not any(parameter.requires_grad for parameter in blocks.parameters())
    ends = np.cumsum([len(block) for block in blocks]) - 1
    assert ends.tolist() == [3, 8, 15, 22]  # relu1_2, relu2_2, relu3_3, relu4_3 in torchvision's numbering


def test_blocks_of_another_network_are_refused():
    with pytest.raises(UserError, match=r"VGGs.*'resnet18'"):
        vgg_blocks("resnet18", "random", blocks=4, seed=0)


# --- Real weights ---


def test_features_of_real_weights_depend_on_structure(shared):
    """The features of an image and those of its shuffled pixels differ."""
    weights = shared / "weights" / "resnet18_tiny-imagenet_32px.safetensors"
    backbone = load_backbone("resnet18", str(weights), seed=0)
    assert backbone.name == "resnet18_tiny-imagenet_32px"
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(8, 3, 4, 4, generator=generator), size=32, mode="bilinear")
    shuffled = smooth.flatten(2)[:, :, torch.randperm(32 * 32, generator=generator)].view_as(smooth)
    a, b = backbone(smooth), backbone(shuffled)
    assert torch.nn.functional.cosine_similarity(a.mean(0), b.mean(0), dim=0) < 0.9
    assert len(vgg_blocks("vgg11", str(shared / "weights" / "vgg11_tiny-imagenet_32px.safetensors"), 4, 0)) == 4
