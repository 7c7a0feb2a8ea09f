"""A loaded model: the same seed gives the same bits, and its results are those of the library."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import iglo
from iglo.data.user_images import ConversionWarning
from iglo.errors import UserError
from iglo.export.bundle import load_codes
from iglo.latent.inversion import Search
from iglo.latent.paths import CodeGraph
from iglo.models.glo import encode, render
from tests.exported import CLASSES, IMAGES
from tests.tiny import RUNTIME, tiny_images


def drawn(model, codes) -> np.ndarray:
    """The oracle: images of codes by the library."""
    return np.rint(255 * render(model.bundle.generator, torch.as_tensor(codes), RUNTIME)).astype(np.uint8)


# --- Codes to images ---


def test_the_same_seed_gives_the_same_samples(model, exported):
    samples = model.sample(7, seed=3)
    assert samples.shape == (7, 16, 16, 1) and samples.dtype == np.uint8 and samples.std() > 20
    np.testing.assert_array_equal(samples, iglo.load(exported, "cpu").sample(7, seed=3))
    assert len(np.unique(np.concatenate([samples, model.sample(7, seed=4)]), axis=0)) == 14


def test_drawn_codes_lie_on_the_sphere(model):
    codes = model.draw_codes(50)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 6**0.5, rtol=1e-5)
    np.testing.assert_array_equal(model.sample(50), drawn(model, codes))


def test_another_prior_may_be_taken(model):
    class Constant:
        def draw(self, count, rng):
            return torch.arange(6.0).repeat(count, 1)

    np.testing.assert_array_equal(model.draw_codes(2, prior=Constant()), [np.arange(6)] * 2)


def test_decoding_takes_codes_as_they_are(model):
    codes = 3 * model.draw_codes(300)  # more than a batch
    images = model.decode(codes, floats=True)
    assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
    np.testing.assert_allclose(images, render(model.bundle.generator, torch.from_numpy(codes), RUNTIME), atol=1e-6)
    np.testing.assert_array_equal(model.decode(torch.from_numpy(codes)), np.rint(255 * images))


# --- Images to codes ---


def test_layouts_and_types_of_images_are_one(model):
    floats = IMAGES / np.float64(255)
    tensor = torch.from_numpy(floats).permute(0, 3, 1, 2)
    expected = encode(model.bundle.encoder, IMAGES, model.config, RUNTIME).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = [
            IMAGES,
            floats,
            floats.astype(np.float32),
            tensor,
            tensor.float(),
            torch.from_numpy(IMAGES).movedim(3, 1),
        ]
        for images in given:
            np.testing.assert_allclose(model.encode(images), expected, atol=1e-5)
    assert expected.std(0).min() > 0.01


def test_images_of_another_shape_are_converted_with_a_warning(model):
    for shape, said in [
        ((4, 16, 16, 3), r"4 of 4 images .* \(the first is 16×16 with 3 channels\) and were made grey\."),
        ((1, 32, 32, 1), r"it is not .* \(32×32 with 1 channel\) and was resized to 16×16\."),
        ((1, 16, 24, 1), r"\(24×16 with 1 channel\) and was cut to the centre square\."),
        ((1, 12, 24, 4), r"laid over white, made grey, cut to the centre square, resized to 16×16\."),
    ]:
        with pytest.warns(ConversionWarning, match=f"^images: .*{said}$") as caught:
            assert model.encode(np.full(shape, 200, np.uint8)).shape == (shape[0], 6)
        assert len(caught) == 1 and caught[0].filename == __file__


def test_a_conversion_keeps_what_can_be_kept(model):
    wide = np.zeros((12, 16, 20, 3), np.uint8)
    wide[:, :, 2:18] = IMAGES
    with pytest.warns(ConversionWarning):
        np.testing.assert_allclose(model.encode(wide), model.encode(IMAGES), atol=1e-6)


def test_inversion_is_asked_for_what_was_given(model, asked):
    reversed_codes = model.encode(IMAGES)[:, ::-1]
    np.testing.assert_array_equal(model.invert(IMAGES), reversed_codes)
    model.invert(IMAGES, steps=7, method="optimize", loss="l2", seed=5)
    defaults = {"method": "hybrid", "search": Search(), "seed": 0}
    assert asked == [("L1", defaults), ("L2", {"method": "optimize", "search": Search(steps=7), "seed": 5})]
    np.testing.assert_array_equal(model.invert(IMAGES, method="encoder"), model.encode(IMAGES))
    np.testing.assert_array_equal(model.reconstruct(IMAGES), drawn(model, reversed_codes.copy()))
    np.testing.assert_array_equal(model.reconstruct(IMAGES, method="encoder"), drawn(model, model.encode(IMAGES)))


@pytest.mark.parametrize("kind", ["exported", "exported_classes"])
@pytest.mark.parametrize("method", ["hybrid", "optimize"])
def test_a_search_finds_better_codes_than_the_encoder(kind, method, request):
    model = iglo.load(request.getfixturevalue(kind))
    images = model.sample(6, seed=2)
    errors = [
        np.abs(images - model.decode(model.invert(images, method=each, steps=steps), floats=True) * 255).mean()
        for each, steps in (("encoder", None), (method, 60))
    ]
    assert errors[1] < 0.7 * errors[0]


# --- Between images ---


def test_a_path_runs_along_the_geometry(model):
    a, b = model.draw_codes(2)
    path = model.interpolate(a, b, 5)
    angle = np.arccos(a @ b / 6)
    halfway = (a + b) / np.linalg.norm(a + b) * 6**0.5
    quarter = (np.sin(0.75 * angle) * a + np.sin(0.25 * angle) * b) / np.sin(angle)
    np.testing.assert_allclose(path[[0, 1, 2, 4]], drawn(model, np.stack([a, quarter, halfway, b])), atol=1)
    assert path.shape == (5, 16, 16, 1)


def test_a_path_between_images_is_one_between_their_codes(model, asked):
    a, b = model.encode(IMAGES[:2])
    tensors = torch.from_numpy(IMAGES[:2] / 255).permute(0, 3, 1, 2)
    expected = model.interpolate(a, b, 4)
    np.testing.assert_allclose(model.interpolate(*IMAGES[:2], 4, method="encoder"), expected, atol=1)
    np.testing.assert_allclose(model.interpolate(*tensors, 4, method="encoder"), expected, atol=1)
    model.interpolate(*IMAGES[:2], 4)
    assert [options["method"] for _, options in asked] == ["hybrid"] * 2


def test_a_tour_passes_every_stop_and_comes_back(model):
    stops = model.draw_codes(3)
    tour = model.tour(stops, 4)
    assert tour.shape == (12, 16, 16, 1)
    np.testing.assert_allclose(tour[::4], drawn(model, stops), atol=1)
    last = model.interpolate(stops[2], stops[0], 5)
    np.testing.assert_allclose(tour[8:], last[:4], atol=1)


def test_a_path_along_the_graph_has_the_same_ends_and_passes_training_codes(model):
    codes, ends = load_codes(model.bundle), model.draw_codes(2)
    path = model.interpolate(*ends, 300, path="graph")
    np.testing.assert_allclose(path[[0, -1]], drawn(model, ends), atol=1)
    near = CodeGraph.of(codes, model.config.geometry()).nearest(torch.from_numpy(ends))
    for code in drawn(model, codes[near]).astype(int):
        assert np.abs(path - code).mean(axis=(1, 2, 3)).min() < 3


def test_a_walk_is_a_tour_of_training_codes_that_the_seed_draws(model):
    codes = load_codes(model.bundle)
    walks = model.walk(stops=4, steps=3, seed=1, tiles=2)
    assert walks.shape == (2, 12, 16, 16, 1)
    images = drawn(model, codes)
    for walk in walks:
        stops = [np.abs(images - image.astype(int)).sum(axis=(1, 2, 3)).argmin() for image in walk[::3]]
        assert len({*stops}) == 4
        np.testing.assert_allclose(walk, model.tour(codes[stops], 3, path="graph"), atol=1)
    np.testing.assert_array_equal(walks, model.walk(4, 3, 1, tiles=2))
    np.testing.assert_allclose(walks[:1], model.walk(4, 3, 1), atol=1)
    assert not np.array_equal(walks, model.walk(4, 3, 2, tiles=2)) and not np.array_equal(*walks)


def test_a_model_of_an_earlier_iglo_has_no_codes_and_says_so(exported, tmp_path):
    folder = Path(shutil.copytree(exported, tmp_path / "old"))
    record = json.loads((folder / "model.json").read_text())
    del record["digests"]["codes.safetensors"]
    (folder / "model.json").write_text(json.dumps(record))
    old = iglo.load(folder)
    assert old.interpolate(*IMAGES[:2], 3, method="encoder").shape == (3, 16, 16, 1)
    with pytest.raises(UserError, match=r"old: has no codes of training images, .*; export the model again\.$"):
        old.interpolate(*IMAGES[:2], 3, method="encoder", path="graph")


def test_paths_in_a_model_of_class_and_content(classes):
    assert classes.walk(3, 2).shape == (1, 6, 16, 16, 1)


def test_neighbours_are_the_nearest(model):
    among = tiny_images(20, seed=5)
    images = np.concatenate([among[[13]], tiny_images(4, seed=6)])
    rows, distances = model.neighbours(images, among, 3)
    flat, others = (each.reshape(len(each), -1) / 255 for each in (images, among))
    oracle = np.linalg.norm(flat[:, None] - others[None], axis=2)
    np.testing.assert_array_equal(rows, oracle.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(oracle, axis=1)[:, :3])
    assert rows[0, 0] == 13 and distances[0, 0] == 0


def test_neighbours_in_features_are_others(model):
    among = tiny_images(20, seed=5)
    rows, distances = model.neighbours(among[:4], among, 20, "features")
    assert rows[:, 0].tolist() == [0, 1, 2, 3] and (np.diff(distances) >= 0).all()
    assert not np.array_equal(rows, model.neighbours(among[:4], among, 20)[0])


# --- Class and content ---


def test_a_conversion_takes_the_content_and_another_class(classes):
    content = classes.encode(IMAGES)[:, 3:]
    converted = classes.convert(IMAGES, ["bee", "ant"])
    assert converted.shape == (12, 2, 16, 16, 1)
    for column, label in enumerate((1, 0)):
        codes = np.concatenate([np.tile(classes.bundle.class_codes[label], (12, 1)), content], axis=1)
        np.testing.assert_allclose(converted[:, column], drawn(classes, codes), atol=1)
    assert classes.convert(IMAGES).shape == (12, 3, 16, 16, 1)


def test_samples_take_the_classes_in_turn(classes):
    codes, table = classes.draw_codes(7), classes.bundle.class_codes.numpy()
    np.testing.assert_array_equal(codes[:, :3], table[[0, 1, 2, 0, 1, 2, 0]])
    np.testing.assert_array_equal(classes.draw_codes(7, classes=["bee"])[:, :3], table[[1] * 7])
    assert len(np.unique(codes[:, 3:], axis=0)) == 7 and classes.sample(4).shape == (4, 16, 16, 1)


# --- What it is ---


def test_info_is_plain(model, classes):
    assert (
        model.info().items()
        >= {
            **{"kind": "glo", "dimension": 6, "image_size": 16, "channels": 1, "constraint": "sphere"},
            **{"prior": "gaussian", "loss": "l1", "seed": 0, "training_images": 12, "format_version": 2},
        }.items()
    )
    assert model.info()["generator_weights"] == sum(each.numel() for each in model.bundle.generator.parameters())
    assert classes.info()["classes"] == list(CLASSES) and classes.info()["dimension"] == 7


def test_torch_is_left_as_it_was(model, asked):
    before = torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
    try:
        torch.use_deterministic_algorithms(False)
        model.sample(2)
        model.reconstruct(IMAGES)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.equal(torch.random.get_rng_state(), before[1])
    finally:
        torch.use_deterministic_algorithms(before[0])


def test_neither_iglo_nor_the_command_waits_for_torch():
    code = "import sys, iglo.cli.main; assert 'torch' not in sys.modules and 'load' in dir(iglo)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="'iglo' has no attribute 'lode'"):
        _ = iglo.lode


def test_images_that_are_not_finite_are_an_error(exported):
    broken = iglo.load(exported)
    with torch.no_grad():
        for weights in broken.bundle.generator.parameters():
            weights.fill_(3e38)
    with pytest.raises(UserError, match=r"^codes: their images are not finite; "):
        broken.sample(2)


def test_a_model_says_what_it_is(model, classes):
    said = "<LoadedModel: glo, 16x16x1 images, codes of 6, 12 training images, on "
    assert repr(model) == f"{said}{model.runtime.device}>"
    assert ", codes of 7, 3 classes, 12 training" in repr(classes)
