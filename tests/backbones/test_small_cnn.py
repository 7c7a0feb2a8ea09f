"""The judge of digits: its shipped weights, what it can see, and the script that trains it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from iglo.backbones.small_cnn import DIGITS, SmallCNN, load_small_cnn
from iglo.errors import UserError
from iglo.evaluation.metrics import kernel_distance
from iglo.randomness import derived_seed
from tools import train_digits


@pytest.fixture(scope="module")
def judge() -> SmallCNN:
    return load_small_cnn("digits", seed=0)


@pytest.fixture(scope="module")
def parts() -> dict:
    return train_digits.digits()


def test_the_script_takes_the_parts_of_the_default_run(parts):
    order = np.random.default_rng(derived_seed(0, "split")).permutation(1797)
    labels = load_digits().target[order]
    for name, rows in {"train": slice(1500), "validation": slice(1500, 1647), "test": slice(1647, None)}.items():
        images, classes = parts[name]
        assert images.shape == (len(labels[rows]), 1, 32, 32) and classes.tolist() == labels[rows].tolist()


def test_it_knows_the_digits_of_the_test_part(judge, parts):
    assert DIGITS.stat().st_size < 300_000
    assert train_digits.scores(judge, *parts["test"])[0] >= 0.97


def test_its_kernel_distance_ranks_images_as_a_person_does(judge, parts):
    test = judge.forward_features(parts["test"][0]).numpy()
    sets = train_digits.damaged(parts["validation"][0])
    found = {name: kernel_distance(judge.forward_features(images).numpy(), test) for name, images in sets.items()}
    assert abs(found["real"]) < 0.05
    order = [found[name] for name in ("real", "slight blur", "crossfades")]
    assert all(2 * better < worse for better, worse in pairwise(order))
    assert min(found["shuffled patches"], found["noise"]) > 4 * found["crossfades"]


def test_it_is_not_sure_of_what_is_no_digit(judge, parts):
    sets = train_digits.damaged(parts["test"][0])
    sure = {name: float(judge(images).softmax(1).amax(1).mean()) for name, images in sets.items()}
    assert sure["real"] > 0.95 > 0.85 > sure["crossfades"]
    assert max(sure["shuffled patches"], sure["noise"]) < 0.2


def test_the_blocks_give_the_features_of_grey_coloured_and_larger_images(judge, parts):
    images = parts["test"][0][:8]
    features = judge.forward_features(images)
    assert features.shape == (8, 128) and (features >= 0).all()
    assert torch.equal(features, judge.forward_features(images))
    maps = judge.prepare(images)
    for block in judge.blocks:
        maps = block(maps)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), features)
    torch.testing.assert_close(judge.head(features), judge(images))
    torch.testing.assert_close(judge.forward_features(images.expand(-1, 3, -1, -1)), features, atol=2e-3, rtol=0)
    larger = torch.nn.functional.interpolate(images, scale_factor=3)  # every pixel three times in each direction
    assert (judge(larger).argmax(1) == judge(images).argmax(1)).all()


def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (load_small_cnn("random", seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_file_must_hold_its_weights(tmp_path, judge):
    state, path = load_file(DIGITS), tmp_path / "own.safetensors"
    save_file(state, path)
    assert torch.equal(load_small_cnn(str(path), 0).head.weight, judge.head.weight)
    save_file({name: value for name, value in state.items() if not name.startswith("head")}, path)
    for weights in (str(path), "imagenet", "letters"):
        with pytest.raises(UserError, match=r"^weights: "):
            load_small_cnn(weights, 0)
    for bias in (torch.tensor(1.0), torch.zeros(0)):  # no number of classes
        save_file({**state, "head.bias": bias}, path)
        with pytest.raises(UserError, match=r"^weights: .* needs for head\.bias"):
            load_small_cnn(str(path), 0)


def test_the_script_trains_the_same_network_twice(parts, tmp_path):
    few = {name: (images[:100], labels[:100]) for name, (images, labels) in parts.items()}
    recipe = replace(train_digits.Recipe(), epochs=2)
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file in files:
        train_digits.write(train_digits.train(few, recipe), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    shapes = [{name: value.shape for name, value in load_file(file).items()} for file in (files[0], DIGITS)]
    assert shapes[0] == shapes[1]


def test_outliers_keep_the_pixels_or_the_range(parts):
    rng = torch.Generator().manual_seed(0)
    images = parts["test"][0][:20]
    shuffled = train_digits.shuffled_patches(images, rng)
    assert torch.equal(shuffled.flatten(1).sort().values, images.flatten(1).sort().values)
    assert not torch.equal(shuffled, images)
    made = train_digits.outliers(images, rng)
    assert made.shape == images.shape and made.min() >= 0 and made.max() <= 1
