"""The Inception of the FID: its weights, its input, and torch-fidelity's own numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from iglo.backbones.inception_fid import FILE, InceptionFeatures, load_inception_fid
from iglo.errors import UserError
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import InceptionFID
from tests.tiny import RUNTIME, tiny_params

torch_fidelity = pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights with the right names and shapes."""
    extractor_class = torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    path = tmp_path_factory.mktemp("inception") / FILE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor_class, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        extractor = extractor_class("inception", ["2048"], feature_extractor_weights_path="none")
    torch.save(extractor.state_dict(), path)
    return path


@pytest.fixture
def real_weights() -> Path:
    """The real file, if it is in torch's cache or in the folder of test data."""
    folders = [Path(torch.hub.get_dir()) / "checkpoints", Path(os.environ.get("IGLO_TEST_DATA", "none")) / "weights"]
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    pytest.skip(f"{FILE} is not here")


def pictures(count: int, seed: int, side: int = 32) -> np.ndarray:
    """(N, H, W, 3) uint8: coarse coloured squares."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def features(images: np.ndarray, weights: Path) -> np.ndarray:
    network = InceptionFID.make(tiny_params(evaluate__fid_weights=str(weights)).evaluate, RUNTIME)
    return network.features(np.asarray(images, np.float32) / 255)


def test_features_are_those_of_torch_fidelity(stand_in):
    images = pictures(2, seed=0)
    extractor = torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(stand_in)
    )
    expected = extractor(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
    found = features(images, stand_in)
    assert found.shape == (2, 2048)
    np.testing.assert_array_equal(found, expected)
    grey = load_inception_fid(str(stand_in))
    assert isinstance(grey, InceptionFeatures) and grey(torch.rand(1, 1, 16, 16)).shape == (1, 2048)
    assert InceptionFID.make(tiny_params().evaluate, RUNTIME) is None


def test_a_file_with_code_is_refused_and_its_code_does_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"fc.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(UserError, match="fid_weights: cannot read"):
        load_inception_fid(str(tmp_path / "code.pth"))
    assert not (tmp_path / "ran").exists()


def test_mistakes_are_one_sentence(tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    cases = {"download": "cannot be downloaded (no route to host); connect", "none.pth": "there is no file 'none.pth'"}
    cases[str(tmp_path / "other.pth")] = "cannot read"
    for weights, words in cases.items():
        with pytest.raises(UserError) as caught:
            load_inception_fid(weights)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    cached = tmp_path / "hub" / "checkpoints" / FILE
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(b"half a file")
    with pytest.raises(UserError, match="damaged"):
        load_inception_fid("download")


class Listed(torch.utils.data.Dataset):
    """Images (N, H, W, 3) one by one, as torch-fidelity takes them."""

    def __init__(self, images: np.ndarray):
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def cross_check(weights: Path, fid: bool) -> None:
    """Compares the distances with those of torch-fidelity, which reads the images and the weights by itself."""
    sides = [pictures(4, seed) for seed in (1, 2)]
    ours = [features(side, weights) for side in sides]
    theirs = torch_fidelity.calculate_metrics(
        input1=Listed(sides[0]),
        input2=Listed(sides[1]),
        fid=fid,
        kid=True,
        kid_subsets=1,
        kid_subset_size=4,
        cuda=False,
        save_cpu_ram=True,  # no processes for so few images
        verbose=False,
        cache=False,
        feature_extractor_weights_path=str(weights),
    )
    kid = theirs[torch_fidelity.KEY_METRIC_KID_MEAN]
    assert metrics.kernel_distance(*ours) == pytest.approx(kid, rel=1e-3, abs=1e-6)
    if fid:
        expected = theirs[torch_fidelity.KEY_METRIC_FID]
        assert metrics.frechet_distance(*ours) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_kid_is_that_of_torch_fidelity_with_any_weights(stand_in):
    cross_check(stand_in, fid=False)


def test_fid_and_kid_are_those_of_torch_fidelity_with_the_real_weights(real_weights):
    cross_check(real_weights, fid=True)
