"""Renders against their targets, image by image and in blocks."""

import numpy as np
import pytest

from iglo.data.store import UnitImages
from iglo.evaluation import fidelity, metrics
from iglo.evaluation.fidelity import Fidelity, Renders, Targets
from tests.evaluation.stand_ins import features_of, network, squared_distance
from tests.tiny import tiny_images

IMAGES = tiny_images(20)


def darker(factor: float, images: np.ndarray = IMAGES) -> Renders:
    return Renders(lambda rows: UnitImages(images)[rows] * np.float32(factor), len(images))


def measured(factor: float, images: np.ndarray = IMAGES) -> Fidelity:
    return Fidelity.measure(darker(factor, images), Targets.real(images, network(), 0, "train"))


def test_numbers_by_hand():
    real, renders = UnitImages(IMAGES)[:], darker(0.9)[:]
    values = measured(0.9).values()
    errors = values.pop("se")
    distance, error = metrics.paired_kernel_distance(features_of(renders), features_of(real))
    assert values == pytest.approx(
        {
            "psnr": metrics.psnr(renders, real),
            "lpips_squares": squared_distance(renders, real).mean(),
            "kd_squares": distance,
        }
    )
    assert errors.keys() == values.keys() and errors["kd_squares"] == pytest.approx(error)
    each = [metrics.psnr(renders[i : i + 1], real[i : i + 1]) for i in range(20)]
    assert errors["psnr"] == pytest.approx(metrics.mean_error(each))


def test_darker_images_are_worse():
    targets = Targets.real(IMAGES, network(), 0, "train")
    near, far = (Fidelity.measure(darker(factor), targets) for factor in (0.9, 0.5))
    worse, better = far.worse_than(near), near.worse_than(far)
    ours, theirs = far.values(), near.values()
    assert worse["psnr"] == pytest.approx(theirs["psnr"] - ours["psnr"])
    for key in ("lpips_squares", "kd_squares"):
        assert worse[key] == pytest.approx(ours[key] - theirs[key]) and worse[key] > 0
    assert worse["psnr"] > 0 and better == {**{key: -worse[key] for key in worse if key != "se"}, "se": worse["se"]}
    assert worse["se"]["psnr"] < ours["se"]["psnr"] / 2  # the same images are dark in both


def test_blocks_and_a_part_for_the_kernel_distance(monkeypatch):
    whole = measured(0.9).values()
    monkeypatch.setattr(fidelity, "BLOCK", 7 * IMAGES[:1].size)
    assert measured(0.9).values() == whole
    monkeypatch.setattr(fidelity, "MOST_FOR_KERNEL", 9)
    few = measured(0.9)
    chosen = few.targets.chosen
    assert len(few.features) == len(set(chosen)) == 9 and len(few.psnr) == 20
    np.testing.assert_array_equal(few.features, features_of(darker(0.9)[:])[chosen])
    np.testing.assert_array_equal(few.targets.features, features_of(UnitImages(IMAGES))[chosen])


@pytest.mark.parametrize(("count", "numbers", "errors"), [(1, 2, 0), (2, 3, 2), (3, 3, 2), (4, 3, 3)])
def test_few_images_have_fewer_numbers(count, numbers, errors):
    values = measured(0.9, IMAGES[:count]).values()
    assert len(values) == numbers + 1 and len(values["se"]) == errors


def test_some_rows_have_their_own_numbers():
    some = measured(0.9).rows(slice(3, 8)).values()
    alone = measured(0.9, IMAGES[3:8]).values()
    assert [*some] == ["psnr", "lpips_squares", "se"] and some["psnr"] == alone["psnr"]
    again = Fidelity.measure(darker(0.9, IMAGES[3:8]), measured(0.9).rows(slice(3, 8)).targets)
    np.testing.assert_array_equal(again.psnr, measured(0.9).psnr[3:8])
