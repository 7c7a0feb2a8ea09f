"""Wrong input to a loaded model: each mistake is one sentence."""

import re

import numpy as np
import pytest

import iglo
from iglo.errors import UserError
from tests.exported import IMAGES
from tests.tiny import tiny_images

CODES = np.ones((3, 6), np.float32)
NAN = np.where(np.arange(18).reshape(3, 6) == 7, np.nan, CODES)

MISTAKES = [  # what is done with a model, and the start of the message
    (lambda m: m.sample(0), "n: must be a whole number of at least 1, got 0."),
    (lambda m: m.sample(2.5), "n: must be a whole number of at least 1, got 2.5."),
    (lambda m: m.sample(2, seed=-1), "seed: must be a whole number of at least 0, got -1."),
    (lambda m: m.sample(2, classes=["ant"]), "classes: this model has none; take one of class and content."),
    (lambda m: m.decode(NAN), "codes: must be finite, but 1 of 3 hold NaN or infinity; leave them out."),
    (lambda m: m.decode(CODES[:, :5]), "codes: must be numbers (N, 6) with N at least 1, got float32 (3, 5)."),
    (lambda m: m.decode(CODES[:0]), "codes: must be numbers (N, 6) with N at least 1, got float32 (0, 6)."),
    (lambda m: m.decode(CODES[0]), "codes: must be numbers (N, 6) with N at least 1, got float32 (6,)."),
    (lambda m: m.decode(np.full((2, 6), "a")), "codes: must be numbers (N, 6) with N at least 1, got <U1 (2, 6)."),
    (
        lambda m: m.interpolate(NAN[1], CODES[0]),
        "codes: must be finite, but 1 of 1 hold NaN or infinity; leave them",
    ),
    (lambda m: m.interpolate(CODES[0], CODES[1], 0), "steps: must be a whole number of at least 2, got 0."),
    (lambda m: m.interpolate(CODES, CODES[1]), "a, b: must be one code or one image each, got (3, 6); `tour` goes"),
    (lambda m: m.tour(CODES, 0), "steps: must be a whole number of at least 1, got 0."),
    (lambda m: m.tour(CODES[:1]), "stops: must be at least 2, got 1."),
    (lambda m: m.invert(IMAGES, steps=0), "steps: must be a whole number of at least 1, got 0."),
    (lambda m: m.invert(IMAGES, method="guess"), "method: must be one of encoder, hybrid, optimize, got 'guess'."),
    (lambda m: m.invert(IMAGES, loss="gan"), "loss: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'gan'."),
    (
        lambda m: m.encode(IMAGES[0]),
        "images: must be an array (N, H, W, C) or a tensor (N, C, H, W) with N at least 1",
    ),
    (
        lambda m: m.encode(IMAGES[:0]),
        "images: must be an array (N, H, W, C) or a tensor (N, C, H, W) with N at least",
    ),
    (lambda m: m.encode(IMAGES.repeat(2, 3)), "images: must be an array .* got 12 × 16 × 16 × 2 as (N, H, W, C)."),
    (lambda m: m.encode(IMAGES * 1.0), "images: floats must be in [0, 1], got 0 to 249; scale or convert them."),
    (
        lambda m: m.encode(IMAGES * np.nan),
        "images: floats must be in [0, 1], got nan to nan; scale or convert",
    ),
    (
        lambda m: m.encode(IMAGES.astype(int)),
        "images: values must be uint8, uint16 or float in [0, 1], got int64",
    ),
    (
        lambda m: m.encode(IMAGES[:, :4]),
        "images: cannot be used (16×4 pixels, fewer than 8 on a side); give larger",
    ),
    (lambda m: m.neighbours(IMAGES, IMAGES, 0), "k: must be a whole number of at least 1, got 0."),
    (
        lambda m: m.neighbours(IMAGES, IMAGES, 13),
        "k: must be at most 12, the number of images to look among, got 13.",
    ),
    (lambda m: m.neighbours(IMAGES, IMAGES[0]), "among: must be an array (N, H, W, C)"),
    (lambda m: m.neighbours(IMAGES, IMAGES, 1, "mind"), "space: must be one of pixels, features, got 'mind'."),
    (lambda m: m.convert(IMAGES), "classes: this model has none; take one of class and content."),
]
CLASS_MISTAKES = [
    (lambda m: m.convert(IMAGES, ["be"]), "classes: the model has no class 'be'; did you mean bee?"),
    (lambda m: m.convert(IMAGES, ["zebra"]), "classes: the model has no class 'zebra'; it has ant, bee, cat/dog."),
    (lambda m: m.convert(IMAGES, []), "classes: must name at least one of ant, bee, cat/dog."),
    (
        lambda m: m.neighbours(IMAGES, IMAGES, 1, "features"),
        "space: 'features' needs a network, and this model has",
    ),
]
TOO_MANY = [
    (lambda m: m.sample(10**12), "n"),
    (lambda m: m.draw_codes(10**20), "n"),
    (lambda m: m.interpolate(CODES[0], CODES[1], 10**12), "steps"),
    (lambda m: m.tour(CODES, 10**12), "steps"),
]


def refused(use, model) -> str:
    with pytest.raises(UserError) as error:
        use(model)
    assert re.fullmatch(r"[^\n]+[.?]", str(error.value)), error.value
    return str(error.value)


def test_a_mistake_is_one_sentence(model, classes):
    for table, given in ((MISTAKES, model), (CLASS_MISTAKES, classes)):
        for use, said in table:
            answer = refused(use, given)
            assert re.match(re.escape(said).replace(r"\.\*", ".*"), answer), answer


def test_more_images_than_memory_holds_are_refused(model):
    for use, name in TOO_MANY:
        said = rf"{name}: \d+ images take about [\d,]+ GiB of memory, and this machine has [\d,]+ GiB; ask for fewer\."
        assert re.fullmatch(said, refused(use, model))


def test_a_loss_that_does_not_exist_is_refused_by_every_method(model):
    for method in ("encoder", "hybrid"):
        with pytest.raises(UserError, match=r"^loss: must be one of perceptual, .*, got 'foo'"):
            model.invert(tiny_images(1), method=method, loss="foo")


def test_a_device_that_is_not_there_is_refused(exported):
    for name in ("cuda:99", "abacus", "meta"):
        with pytest.raises(UserError, match=f"^device: torch cannot use '{name}' here"):
            iglo.load(exported, device=name)
