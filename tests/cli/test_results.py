"""What the commands write, and that it is the same as in Python."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

import iglo
from iglo.data.prepare import write_store
from iglo.data.sources import Source
from tests import exported as exports
from tests.cli.command import done, pictures, refused, run, run_apart
from tests.exported import IMAGES


def test_the_same_seed_gives_the_same_samples_as_in_python(here, exported):
    expected = iglo.load(exported).sample(5, seed=8)
    done("sample", "-n", "5", "--seed", "8", "--out", "samples")
    np.testing.assert_array_equal(pictures("samples"), expected)
    assert sorted(os.listdir("samples")) == [f"0000{i}.png" for i in range(5)]
    said = run_apart("sample", "-n", "5", "--seed", "8", "--out", "samples.npy")
    assert said == ("wrote samples.npy (1 kB)\n", "", 0)
    np.testing.assert_array_equal(np.load("samples.npy"), expected)


def test_codes_and_images_there_and_back(here):
    model = iglo.load("models/export")
    done("encode", "images", "--method", "encoder", "--out", "found.npy")
    codes = np.load("found.npy")
    np.testing.assert_array_equal(codes, model.encode(IMAGES))
    done("decode", "found.npy", "--out", "decoded")
    np.testing.assert_array_equal(pictures("decoded"), model.decode(codes))
    done("reconstruct", "images/square-1?.png", "images/square-3.png", "--steps", "2", "--seed", "1", "--out", "again")
    np.testing.assert_array_equal(pictures("again"), model.reconstruct(IMAGES[[10, 11, 3]], steps=2, seed=1))
    done("reconstruct", "images", "--method", "encoder", "--out", "again.png")
    done("sample", "-n", "12", "--out", "samples.png")
    heights = [Image.open(name).height for name in ("samples.png", "again.png")]
    assert 64 <= heights[1] - heights[0] < 80  # another row, enlarged like the samples


def test_interpolations(here):
    model, codes = iglo.load("models/export"), np.load("codes.npy")
    ends = ("images/square-0.png", "images/square-1.png")
    done("interpolate", *ends, "--method", "encoder", "--steps", "4", "--out", "path")
    np.testing.assert_allclose(pictures("path"), model.interpolate(codes[0], codes[1], 4), atol=1)
    done("interpolate", "codes.npy", "--steps", "2", "--out", "tour.npy")
    np.testing.assert_array_equal(np.load("tour.npy"), model.tour(codes, 2))
    np.save("two.npy", codes[:2])
    done("interpolate", "two.npy", "--closed", "--steps", "3", "--out", "there-and-back.gif")
    with Image.open("there-and-back.gif") as animation:
        assert animation.n_frames == 6 and animation.size == (128, 128)


def test_walks(here):
    model = iglo.load("models/export")
    done("interpolate", "codes.npy", "--steps", "2", "--path", "graph", "--out", "tour.npy")
    np.testing.assert_array_equal(np.load("tour.npy"), model.tour(np.load("codes.npy"), 2, path="graph"))
    options = ("--stops", "3", "--steps", "2", "--tiles", "4", "--seed", "1")
    done("walk", *options, "--path", "chord", "--out", "walk.npy")
    np.testing.assert_array_equal(np.load("walk.npy"), model.walk(3, 2, 1, "chord", 4))
    for name in ("walk.gif", "again.gif"):
        done("walk", *options, "--out", name)
    assert Path("walk.gif").read_bytes() == Path("again.gif").read_bytes()
    with Image.open("walk.gif") as animation:
        assert animation.n_frames == 6 and animation.width > 4 * 64


def test_neighbours(here):
    done("neighbours", "images/square-3.png", "--among", "images", "-k", "2", "--out", "near.json")
    (near,) = json.loads(Path("near.json").read_text())
    rows, distances = iglo.load("models/export").neighbours(IMAGES[[3]], IMAGES, 2)
    assert near["image"] == "images/square-3.png" and near["nearest"][0] == {
        "image": "images/square-3.png",
        "distance": 0,
    }
    assert near["nearest"][1] == {"image": f"images/square-{rows[0, 1]}.png", "distance": distances[0, 1]}
    done("neighbours", "images", "--among", "images", "-k", "2", "--out", "near.png")
    assert Image.open("near.png").height > 12 * 16


def test_classes(here):
    model = iglo.load("classes")
    named = ("--model", "classes", "--class", "cat/dog", "--class", "ant")
    done("convert", "images", *named, "--out", "converted")
    expected = model.convert(IMAGES, ["cat/dog", "ant"])
    np.testing.assert_array_equal(pictures("converted"), expected.reshape(24, 16, 16, 1))
    assert sorted(os.listdir("converted"))[:3] == ["00000-0-cat_dog.png", "00000-1-ant.png", "00001-0-cat_dog.png"]
    done("convert", "images", *named, "--out", "converted.npy")
    np.testing.assert_array_equal(np.load("converted.npy"), expected)
    done("convert", "images", "--model", "classes", "--out", "converted.png")
    done("sample", "-n", "3", *named, "--out", "samples.npy")
    np.testing.assert_array_equal(np.load("samples.npy"), model.sample(3, classes=["cat/dog", "ant"]))


def test_images_of_another_size_are_converted_with_a_warning(here):
    Path("odd").mkdir()
    Image.new("RGB", (40, 20), "red").save("odd/a.jpg")
    Image.fromarray(IMAGES[0, ..., 0]).save("odd/b.png")
    result = run("encode", "odd", "--method", "encoder", "--out", "found.npy")
    assert result.exit_code == 0 and result.stderr == (
        "warning: odd: 1 of 2 images are not as the model takes them (the first is 40×20 with 3 channels) and were "
        "made grey, cut to the centre square, resized to 16×16.\n"
    )
    np.testing.assert_allclose(np.load("found.npy")[1], iglo.load("models/export").encode(IMAGES[:1])[0], atol=1e-6)


def test_neighbours_among_the_training_images(here):
    source = Source(
        "here", tuple(f"t{i}.png" for i in range(16)), ("",) * 16, np.concatenate([IMAGES, IMAGES[:4]])[..., 0]
    )
    data = exports.tiny_params(data__train=12, data__validation=0, data__test=4, data__shuffle=False).data
    given = ("neighbours", "images/square-3.png", "--among", "training", "-k", "1", "--out", "near.json")
    assert refused(*given).startswith(
        "training: the training images must be in data/prepared, which is not here; run the"
    )
    write_store(source, dataclasses.replace(data, train=11), "data/prepared")
    assert refused(*given).startswith("training: data/prepared holds training images of another run (11 x 16 x 16 x 1,")
    write_store(source, data, "data/prepared")
    done(*given)
    (near,) = json.loads(Path("near.json").read_text())
    assert near["nearest"] == [{"image": "t3.png", "distance": 0}]


def test_neighbours_among_the_training_images_of_arrivals(here):
    """Their rows are those of the first run, and then of each arrival. The images of an arrival are named after it."""
    model = exports.trained(Path("models/2027-01"), arrivals=exports.ARRIVALS)
    exports.fitted(Path("models/priors-2027-01"), model_folder=model)
    done("export", "--model", "models/2027-01", "--priors", "models/priors-2027-01", "--out", "later")
    given = ("neighbours", "images", "--model", "later", "--among", "training", "-k", "1", "--out", "near.json")
    parts = {"data/prepared": IMAGES[:7], "data/arrived/2026-12": IMAGES[7:11], "data/arrived/2027-01": IMAGES[11:]}
    for folder, images in parts.items():
        assert refused(*given).startswith(f"training: the training images must be in {folder}, which is not here; run")
        data = exports.tiny_params(data__validation=0, data__test=1, data__shuffle=False).data
        names = tuple(f"t{i}.png" for i in range(len(images) + 1))
        source = Source("here", names, ("",) * len(names), np.concatenate([images, IMAGES[:1]])[..., 0])
        write_store(source, dataclasses.replace(data, train=len(images)), folder)
    done(*given)
    near = {each["image"]: each["nearest"][0] for each in json.loads(Path("near.json").read_text())}
    expected = [*(f"t{i}.png" for i in range(7)), *(f"2026-12/t{i}.png" for i in range(4)), "2027-01/t0.png"]
    assert near == {f"images/square-{i}.png": {"image": name, "distance": 0} for i, name in enumerate(expected)}
