"""Sets of images compared with test images: copies, equal distributions, noise, few images, classes, errors."""

import dataclasses
import math

import numpy as np
import pytest

from iglo.data.store import UnitImages
from iglo.evaluation.image_sets import ImageSet, Reference, measure_set, off_code
from iglo.evaluation.subsampling import half_sample_errors
from tests.evaluation.stand_ins import networks
from tests.tiny import tiny_images

ALL = ["kd", "fd", "precision", "recall", "density", "coverage", "novelty", "copy_rate"]


def normal(count: int, seed: int, shift: float = 0) -> ImageSet:
    return ImageSet(np.random.default_rng(seed).normal(shift, 1, (count, 6)))


def reference(train: int = 200, test: int = 80, **changes) -> Reference:
    made = Reference.make("net", normal(train, 1).features, normal(50, 2), normal(test, 3), 0)
    return dataclasses.replace(made, **changes)


def test_real_images_are_at_the_floor_and_other_images_above_it():
    real, other = (measure_set(normal(80, 4, shift), reference()) for shift in (0, 1))
    assert abs(real["kd_net"]) < 3 * real["se"]["kd_net"] and other["kd_net"] > 4 * other["se"]["kd_net"]
    assert real["fd_net"] < other["fd_net"] and real["density_net"] > other["density_net"]
    assert real["novelty_net"] == pytest.approx(1, abs=3 * real["se"]["novelty_net"]) and real["copy_rate_net"] < 0.1
    assert list(real) == [f"{key}_net" for key in ALL] + ["se"] and real["se"].keys() == {*real} - {"se"}


def test_copies_of_training_images_are_found():
    known = reference()
    copies = measure_set(ImageSet(known.train[:40]), known)
    assert copies["copy_rate_net"] == 1 and copies["novelty_net"] < 1e-6
    assert measure_set(known.test, known)["copy_rate_net"] < 0.1


@pytest.mark.parametrize(
    ("fakes", "reals", "measured", "errors"),
    [
        (1, 9, ["novelty", "copy_rate"], []),
        (9, 1, ["novelty", "copy_rate"], ["copy_rate"]),
        (3, 2, ["kd", "fd", "novelty", "copy_rate"], ["novelty", "copy_rate"]),
        (4, 4, ["kd", "fd", "precision", "recall", "novelty", "copy_rate"], ["kd", "fd", "novelty", "copy_rate"]),
        (12, 12, ALL, ALL),
    ],
)
def test_a_measure_that_needs_more_images_is_left_out(fakes, reals, measured, errors):
    values = measure_set(normal(fakes, 4), reference(test=reals))
    found = values.pop("se")
    assert [*values] == [f"{name}_net" for name in measured] and {*found} == {f"{name}_net" for name in errors}
    assert all(map(math.isfinite, [*values.values(), *found.values()]))


def test_one_training_image_has_no_copy_rate():
    assert "copy_rate_net" not in measure_set(normal(12, 4), reference(train=1))


def test_standard_errors_are_those_of_new_images():
    """Of all measures: the mean standard error is about the deviation over independent sets."""
    train = normal(200, 1).features
    runs = [
        measure_set(normal(60, 100 + seed, 0.3), Reference.make("net", train, None, normal(60, 1000 + seed), 0))
        for seed in range(40)
    ]
    for key in [f"{name}_net" for name in ALL[:7]]:
        deviation = np.std([each[key] for each in runs], ddof=1)
        error = np.mean([each["se"][key] for each in runs])
        assert 0.5 * deviation < error < 2 * deviation, key


def test_errors_of_large_sets_are_scaled():
    """The standard error of a mean of 8,000 numbers, measured on halves of 2,000 of them."""
    values = np.random.default_rng(0).normal(size=8000)
    errors = half_sample_errors(lambda rows: {"mean": values[rows].mean()}, (8000,), np.random.default_rng(1))
    assert errors["mean"] == pytest.approx(1 / 8000**0.5, rel=0.4)
    assert half_sample_errors(lambda rows: {"mean": values[rows].mean()}, (1,), np.random.default_rng(1)) == {}


def test_recognised_is_the_probability_of_the_classes_of_validation_images():
    dark, bright = (UnitImages(np.full((30, 16, 16, 1), value, np.uint8)) for value in (20, 230))
    seeing = networks(20)
    known = Reference.make("squares", np.zeros((3, 16)), seeing.see(dark), seeing.see(dark), 0)
    like, unlike = (measure_set(seeing.see(images), known) for images in (dark, bright))
    assert like["recognised_squares"] > 0.5 and unlike["recognised_squares"] < 0.01
    assert like["confidence_squares"] == pytest.approx(unlike["confidence_squares"], abs=0.1)


@pytest.mark.parametrize("validation", [True, False])
def test_a_network_whose_classes_are_all_those_of_the_images_recognises_nothing(validation):
    """Then only the confidence is left; so it is without validation images."""
    images, seeing = UnitImages(tiny_images(40)), networks(2 if validation else 20)
    known = Reference.make(
        "squares", np.zeros((3, 16)), seeing.see(images) if validation else None, seeing.see(images), 0
    )
    values = measure_set(seeing.see(images), known)
    assert "recognised_squares" not in values and 0 < values["confidence_squares"] <= 1


def test_off_code_is_the_ratio_of_kernel_distances():
    sets = {
        name: {"kd_net": kd, "se": {"kd_net": 0.1}}
        for name, kd in (("samples", 6), ("midpoints", 4), ("graph_midpoints", 3), ("reconstructions", 2))
    }
    values = off_code(sets, "net")
    assert [values[f"{name}_net"] for name in ("samples", "midpoints", "graph_midpoints")] == [3, 2, 1.5]
    assert values["se"]["samples_net"] == pytest.approx((0.05**2 + 0.15**2) ** 0.5)
    sets["reconstructions"]["kd_net"] = 0.1
    assert off_code(sets, "net") == {}  # not above its standard error
    assert off_code({"samples": sets["samples"], "midpoints": {}}, "net") == {}


def test_inception_measures_as_well_where_its_weights_are():
    known = reference()
    rng = np.random.default_rng(5)
    fake, real = (ImageSet(each.features, None, rng.normal(size=(80, 20))) for each in (normal(80, 4), known.test))
    values = measure_set(fake, dataclasses.replace(known, test=real))
    assert abs(values["kid_inception"]) < 4 * values["se"]["kid_inception"]
    assert values["fid_inception"] > 0 and values["se"]["fid_inception"] > 0


def test_checkerboards_are_relative_to_those_of_test_images():
    rng = np.random.default_rng(0)

    def seen(shares: np.ndarray) -> ImageSet:
        return dataclasses.replace(normal(len(shares), 4), nyquist=shares)

    known = dataclasses.replace(reference(), test=seen(rng.uniform(0.1, 0.3, 80)))
    values = measure_set(seen(rng.uniform(0.3, 0.9, 60)), known)
    assert values["checkerboard"] == pytest.approx(3, abs=3 * values["se"]["checkerboard"])
    assert 0.05 < values["se"]["checkerboard"] < 0.3 and "checkerboard" not in measure_set(normal(60, 4), known)
    flat = dataclasses.replace(known, test=seen(np.zeros(80)))
    assert "checkerboard" not in measure_set(seen(np.ones(60)), flat)
