"""The server of the page: every answer."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.explore.asking import client, pixels, png
from tests.exported import IMAGES


@pytest.fixture(scope="module")
def page(views):
    return client(views)


@pytest.fixture(scope="module")
def class_page(class_views):
    return client(class_views)


def test_the_model_is_described(page, bare_views):
    about = page.get("/api/model").json()
    assert (about["kind"], about["count"], about["shown"], about["dimension"]) == ("glo", 12, 12, 6)
    assert about["has"] == {"images": True, "history": True}
    assert [prior["name"] for prior in about["priors"] if prior["chosen"]] == ["gaussian"]
    bare = client(bare_views).get("/api/model").json()
    assert bare["has"] == {"images": False, "history": False}
    assert [prior["name"] for prior in bare["priors"]] == ["normal", "gaussian_diag", "gaussian", "neighbours"]


def test_points_carry_harmful_names_as_text(page):
    points = page.get("/api/points").json()
    assert points["name"][:4] == ["<img src=x onerror=alert(1)>", r"\u202egnp.txt", r"\udcff.png", "שלום.png"]
    labels = page.get("/api/model").json()["labels"]
    assert [labels[i] if i >= 0 else "" for i in points["label"][:3]] == ["<b>ant</b>", "bee", ""]
    assert len(points["psnr"]) == 12 and points["row"] == list(range(12))


def test_images_are_those_of_the_model(page, views):
    sheet = page.get("/api/decode", params={"ref": ["t:3", "t:5"]}).json()
    np.testing.assert_array_equal(pixels(sheet), views.model.decode(views.explored.codes[[3, 5]])[..., 0])
    training = page.get("/api/training", params={"row": [0, 11]}).json()
    np.testing.assert_array_equal(pixels(training), IMAGES[[0, 11], ..., 0])
    assert training["labels"] == ["<b>ant</b>", ""]


def test_sheets_of_thumbnails_are_images_of_the_points(page):
    images = np.asarray(Image.open(io.BytesIO(page.get("/sheets/images/0.png").content)))
    np.testing.assert_array_equal(images[:16, 16:32], IMAGES[1, ..., 0])
    renders = page.get("/sheets/renders/0.png")
    assert renders.headers["content-type"] == "image/png"


@pytest.mark.parametrize("layout", ["pca", "neighbours"])
def test_maps_have_a_place_for_every_point(page, layout):
    answer = page.get("/api/map", params={"layout": layout}).json()
    assert answer["ready"] and len(answer["x"]) == len(answer["y"]) == 12
    assert answer["shade"]["high"] > 0
    assert page.get("/api/decode", params={"ref": f"m:{layout}:0.2:-0.1"}).status_code == 200


def test_the_nearest_image_of_a_copy_is_the_image(page, bare_views):
    near = page.get("/api/near", params={"ref": "t:4"}).json()
    distances = [each["distance"] for each in near["neighbours"]]
    assert len(distances) == 3 and distances == sorted(distances) and near["typical"] > 0
    bare = client(bare_views).get("/api/near", params={"ref": "t:4"}).json()["neighbours"][0]
    assert (bare["row"], bare["distance"], bare["code_distance"]) == (4, 0, 0)


def test_samples_have_addresses_that_decode_to_them(page):
    query = {"prior": "gaussian", "seed": 3, "count": 5, "psi": 0.5, "toward": "nearest"}
    samples = page.get("/api/samples", params=query).json()
    again = page.get("/api/decode", params={"ref": samples["refs"]}).json()
    np.testing.assert_array_equal(pixels(samples), pixels(again))


def test_a_path_has_frames_steps_and_files(page):
    query = {"stop": ["t:1", "s:gaussian:0:0", "m:pca:0:0"], "way": "circle", "steps": 5}
    path = page.get("/api/path", params=query).json()
    assert path["count"] == 11 and len(path["step_sizes"]) == 10 and path["stops"] == [0, 5, 10]
    strip = page.get("/api/path.png", params=query)
    assert Image.open(io.BytesIO(strip.content)).size == (11 * 128, 128)
    assert strip.headers["content-disposition"] == 'attachment; filename="path.png"'
    movie = Image.open(io.BytesIO(page.get("/api/path.gif", params=query).content))
    assert movie.format == "GIF" and movie.n_frames > 5


def test_strips_of_directions_have_the_image_in_the_middle(page):
    found = page.get("/api/directions", params={"ref": "t:2~d:0:1"}).json()
    strips = pixels(found["strips"]).reshape(len(found["directions"]), 7, 16, 16)
    own = pixels(page.get("/api/decode", params={"ref": "t:2~d:0:1"}).json())[0]
    assert np.abs(strips[:, 3].astype(int) - own).max() <= 1
    assert page.get("/api/decode", params={"ref": found["refs"][0][6]}).status_code == 200


def test_conversions_have_a_row_for_each_image_and_a_column_for_each_class(class_page, class_views):
    found = class_page.get("/api/conversions", params={"ref": ["t:0", "t:1~k:1"]}).json()
    assert found["classes"] == ["ant", "bee", "cat/dog"] and found["count"] == 6
    moved = class_page.get("/api/conversions", params={"ref": "t:0~k:1~d:0:2"}).json()
    assert moved["refs"] == [[f"t:0~d:0:2~k:{label}" for label in range(3)]]
    again = class_page.get("/api/decode", params={"ref": found["refs"][1]}).json()
    np.testing.assert_array_equal(pixels(found)[3:], pixels(again))


def test_the_history_has_a_film_and_curves(page):
    history = page.get("/api/history").json()
    assert [row["images_seen"] for row in history["curves"]] == [12, 24]
    assert history["film"] is None or history["film"]["count"] == len(history["frames"]) * len(history["rows"])


def test_a_file_gets_the_codes_of_the_encoder_and_better_ones(page, views):
    content = png(IMAGES[2])
    placed = page.post("/api/upload", content=content).json()
    assert placed["notes"] == [] and len(placed["near"]["neighbours"]) == 3
    np.testing.assert_array_equal(pixels(placed["image"])[0], IMAGES[2, ..., 0])
    lines = page.post("/api/invert", params={"steps": 20}, content=content).text.splitlines()
    steps = [json.loads(line) for line in lines]
    assert [each["step"] for each in steps] == [0, 10, 20, 20] and steps[-1]["done"]
    assert steps[0]["psnr"] == placed["psnr"] <= steps[-1]["psnr"]


def test_a_file_of_another_size_is_converted_with_a_note(page):
    (note,) = page.post("/api/upload", content=png(np.zeros((40, 30, 1), np.uint8))).json()["notes"]
    assert "cut to the centre square" in note and "resized to 16×16" in note
