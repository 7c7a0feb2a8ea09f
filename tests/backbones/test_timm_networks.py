"""Networks of timm: their weights, transforms, heads and blocks, and what is said if they are missing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from iglo.backbones.networks import check_network, check_weights, load_backbone
from iglo.errors import UserError

timm = pytest.importorskip("timm")
NETWORK = "timm/test_efficientnet"  # 0.4 million weights, for 160 × 160 pixels


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def saved(path: Path, without: str = "-", **options) -> torch.nn.Module:
    """Writes the weights of a new network, and returns it."""
    network = timm.create_model("test_efficientnet", **options).eval()
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(without)}
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return network


def test_a_file_gives_features_scores_and_blocks_as_timm_does(tmp_path, images):
    file = tmp_path / "own.safetensors"
    network = saved(file)
    check_weights(NETWORK, str(file))
    backbone = load_backbone(NETWORK, str(file), seed=0)
    assert (backbone.name, backbone.classes) == ("timm_test_efficientnet_own", 1000)
    prepared = backbone.prepare_whole(images)
    assert prepared.shape == (2, 3, 160, 160)
    transform = backbone.transform
    pixels = prepared * torch.tensor(transform.std).view(3, 1, 1) + torch.tensor(transform.mean).view(3, 1, 1)
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6  # bicubic resizing does not overshoot
    with torch.no_grad():
        maps = backbone.maps(prepared)
        torch.testing.assert_close(backbone.score(maps), network(prepared))
        pooled = network.forward_head(network.forward_features(prepared), pre_logits=True)
        torch.testing.assert_close(backbone.pool(maps), pooled)
        assert [each.shape[-1] for each in backbone.block_outputs(prepared)] == [80, 40, 20, 10, 5]


@pytest.mark.parametrize(("options", "without", "classes"), [({"num_classes": 7}, "-", 7), ({}, "classifier.", None)])
def test_another_head_or_none_leaves_images_their_size(tmp_path, images, options, without, classes):
    file = tmp_path / "own.safetensors"
    saved(file, without, **options)
    check_weights(NETWORK, str(file))
    backbone = load_backbone(NETWORK, str(file), seed=0)
    assert backbone.classes == classes and backbone.prepare_whole(images).shape == images.shape


def test_random_weights_depend_on_the_seed_and_a_transformer_sees_its_own_size(images):
    first, again, other = (load_backbone("timm/test_vit", "random", seed) for seed in (0, 0, 1))
    with torch.no_grad():
        assert torch.equal(first(images, 64), again(images, 160)) and not torch.equal(first(images), other(images))
    assert first.classes is None and first.name == "random_timm_test_vit"


def test_pretrained_weights_come_from_the_hub_with_their_own_transform(monkeypatch, images):
    stand_in = timm.create_model("test_efficientnet").eval()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: stand_in.state_dict())
    check_weights(NETWORK, "imagenet")
    backbone = load_backbone(NETWORK, "imagenet", seed=0)
    assert (backbone.name, backbone.classes) == ("timm_test_efficientnet_imagenet", 1000)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(stand_in))
    resize, crop = transform.transforms[:2]
    assert (backbone.transform.resize, backbone.transform.side) == (resize.size, crop.size[0])
    with torch.no_grad():
        prepared = backbone.prepare(images)
        torch.testing.assert_close(backbone.score(backbone.maps(prepared)), stand_in(prepared))


def test_mistakes_are_one_sentence(monkeypatch, tmp_path):
    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    file = tmp_path / "own.safetensors"
    save_file({"conv_stem.weight": torch.zeros(1)}, file)
    cases = [
        (lambda: check_network("timm/test_efficientne"), "did you mean timm/test_efficientnet "),
        (lambda: check_network("timm/zzz"), "timm.list_models"),
        (lambda: check_network("timm/test_vit.none"), "timm cannot build 'test_vit.none'"),
        (lambda: check_weights(NETWORK, "imagenet"), "cannot be downloaded (no route to host); connect "),
        (lambda: check_weights(NETWORK, str(file)), f"are not the weights of {NETWORK}"),
        (lambda: load_backbone(NETWORK, "digits", 0), "digits are the weights of small_cnn"),
    ]
    for call, words in cases:
        with pytest.raises(UserError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)
