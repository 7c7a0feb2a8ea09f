"""The numbers of an arrival: by hand, with the same model twice, and with images that are gone."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from iglo.evaluation import metrics
from iglo.evaluation.arrivals import ArrivedRun, MeasuredArrival, images_seen, measure_arrival
from iglo.evaluation.measure import through_encoder
from iglo.evaluation.prior_choice import draw_samples
from iglo.models.glo import GLOModel, render
from iglo.params.sections import Parts
from tests.evaluation.arrived import FIRST, NEW, OLD, PARAMS, arrived
from tests.evaluation.stand_ins import features_of, networks, squared_distance
from tests.tiny import RUNTIME

KEYS = ["psnr", "lpips_squares", "kd_squares"]


def measured(run: ArrivedRun, classes: int | None = None) -> MeasuredArrival:
    return measure_arrival(run, networks(classes), RUNTIME)


def leaves(value: Any) -> list[float]:
    return [leaf for each in value.values() for leaf in leaves(each)] if isinstance(value, dict) else [value]


def from_codes(model: GLOModel, rows: Any) -> np.ndarray:
    return render(model.generator, model.codes.values[torch.as_tensor(rows)], RUNTIME)


def by_hand(renders: np.ndarray, images: np.ndarray) -> dict[str, float]:
    real = images.astype(np.float32) / 255
    kernel = metrics.paired_kernel_distance(features_of(renders), features_of(real))[0]
    distance = squared_distance(renders, real).mean(dtype=np.float64)
    return dict(zip(KEYS, (metrics.psnr(renders, real), distance, kernel), strict=True))


def numbers(values: dict) -> dict[str, float]:
    return {key: value for key, value in values.items() if key != "se"}


def test_the_same_model_twice_forgets_nothing():
    values = measured(arrived(same=True)).values
    for part in ("train", "test"):
        forgetting, errors = dict(values["forgetting"][part]), values["forgetting"][part]["se"]
        assert forgetting == {**dict.fromkeys(KEYS, 0.0), "se": errors} and {*errors.values()} == {0.0}
        assert values["earlier"][part]["before"] == values["earlier"][part]["after"]
    assert values["new"]["train"]["before"] == values["new"]["train"]["encoder"] != values["new"]["train"]["after"]
    assert numbers(values["learning"]["test"]) == dict.fromkeys(KEYS, 0.0)
    assert min(values["earlier"]["train"]["before"]["se"].values()) > 0


def test_numbers_by_hand():
    run = arrived()
    values = measured(run).values
    earlier = {
        part: np.concatenate([getattr(store, part) for store in run.earlier.stores]) for part in ("train", "test")
    }
    models = {"before": run.before, "after": run.after}
    count = FIRST.train + OLD.train
    for when, model in models.items():
        expected = {
            "earlier.train": by_hand(from_codes(model, range(count)), earlier["train"]),
            "earlier.test": by_hand(through_encoder(model, earlier["test"], RUNTIME), earlier["test"]),
            "new.test": by_hand(through_encoder(model, run.new.test, RUNTIME), run.new.test),
        }
        for key, each in expected.items():
            section, part = key.split(".")
            assert numbers(values[section][part][when]) == pytest.approx(each, rel=1e-5), (key, when)
    of_new = values["new"]["train"]
    assert [*of_new] == ["before", "encoder", "after"]
    for key, model in (("before", run.before), ("encoder", run.after)):
        expected = by_hand(through_encoder(model, run.new.train, RUNTIME), run.new.train)
        assert numbers(of_new[key]) == pytest.approx(expected, rel=1e-5)
    learned = by_hand(from_codes(run.after, range(count, count + NEW.train)), run.new.train)
    assert numbers(of_new["after"]) == pytest.approx(learned, rel=1e-5)
    assert values["transfer"] == values["new"]["test"]["before"]
    assert all(map(math.isfinite, leaves(values)))


def test_differences_have_the_sign_of_their_name():
    values = measured(arrived()).values
    pairs = {
        ("forgetting", part): (values["earlier"][part]["before"], values["earlier"][part]["after"])
        for part in ("train", "test")
    }
    for part in ("train", "test"):
        pairs["learning", part] = values["new"][part]["after"], values["new"][part]["before"]
    for (section, part), (one, other) in pairs.items():
        found = values[section][part]
        assert found["psnr"] == pytest.approx(one["psnr"] - other["psnr"]) and found["psnr"] != 0
        for key in KEYS[1:]:
            assert found[key] == pytest.approx(other[key] - one[key], abs=1e-9), (section, part, key)


def test_the_first_run_is_compared_with_its_own_model():
    run = arrived()
    found = measured(run).values["first_run"]
    images, rows = run.earlier.stores[0].train, range(FIRST.train)
    for key, model in (("first", run.first), ("after", run.after)):
        expected = by_hand(from_codes(model, rows), images)
        assert numbers(found[key]) == pytest.approx({name: expected[name] for name in KEYS[:2]}, rel=1e-5)
    assert found["forgetting"]["psnr"] == pytest.approx(found["first"]["psnr"] - found["after"]["psnr"])
    alone = measured(dataclasses.replace(run, first=None)).values["first_run"]
    assert alone == {"after": found["after"]}


def test_after_one_arrival_the_first_model_is_the_one_before():
    values = measured(arrived(arrivals=1)).values
    assert numbers(values["first_run"]["first"]).items() < values["earlier"]["train"]["before"].items()
    assert values["first_run"]["forgetting"]["psnr"] == values["forgetting"]["train"]["psnr"]
    assert values["counts"]["earlier_arrivals"] == 0


def test_groups_have_their_own_psnr():
    run = arrived()
    groups = measured(run).groups
    rows = {"first run": range(12), "old": range(12, 18)}
    assert [*groups] == [*rows, "new"]
    for (name, some), store in zip(rows.items(), run.earlier.stores, strict=True):
        expected = [by_hand(from_codes(model, some), store.train)["psnr"] for model in (run.before, run.after)]
        assert groups[name] == pytest.approx(expected, rel=1e-5)


def test_images_that_are_gone_are_compared_with_renders():
    run = arrived(gone=(0, 1))
    there, values = measured(arrived()).values, measured(run).values
    assert there["earlier"]["images"] is True and "against_renders" not in there["earlier"]["train"]
    assert values["earlier"]["images"] is False and [*values["earlier"]["train"]] == ["against_renders"]
    before, after = (from_codes(model, range(18)) for model in (run.before, run.after))
    expected = {"psnr": metrics.psnr(after, before), "lpips_squares": squared_distance(after, before).mean()}
    assert numbers(values["earlier"]["train"]["against_renders"]) == pytest.approx(expected, rel=1e-5)
    assert values["earlier"]["test"] == values["forgetting"] == {}
    first = metrics.psnr(from_codes(run.after, range(12)), from_codes(run.first, range(12)))
    assert values["first_run"]["against_renders"]["psnr"] == pytest.approx(first, rel=1e-5)
    for key in ("new", "learning", "transfer", "cost"):
        assert values[key] == there[key]
    assert not {"novelty_squares", "copy_rate_squares"} & values["samples"]["after"].keys()
    assert {"novelty_squares", "copy_rate_squares"} < there["samples"]["after"].keys()
    assert values["counts"]["earlier_train"] == 0 and all(map(math.isfinite, leaves(values)))


def test_the_same_model_renders_the_same():
    same = measured(arrived(same=True, gone=(0, 1))).values["earlier"]["train"]["against_renders"]
    assert numbers(same) == {"psnr": 100.0, "lpips_squares": 0.0}


def test_some_images_are_gone():
    """The rows of those that are there are theirs, not the first ones."""
    run = arrived(gone=(0,))
    found = measured(run)
    values, old = found.values, run.earlier.stores[1]
    expected = by_hand(from_codes(run.after, range(12, 18)), old.train)
    assert numbers(values["earlier"]["train"]["after"]) == pytest.approx(expected, rel=1e-5)
    assert "against_renders" in values["earlier"]["train"] and [*found.groups] == ["old", "new"]
    assert (values["counts"]["earlier_train"], values["counts"]["earlier_test"]) == (OLD.train, OLD.test)


@pytest.mark.parametrize("gone", [(), (0, 1)])
def test_one_new_image(gone):
    values = measured(arrived(new=Parts(1, 0, 0), gone=gone)).values
    assert values["new"]["test"] == {} and [*values["learning"]] == ["train"]
    assert values["transfer"] == values["new"]["train"]["before"]
    assert [*values["transfer"]] == ["psnr", "lpips_squares", "se"] and values["transfer"]["se"] == {}
    assert bool(values["samples"]) is not bool(gone) and all(map(math.isfinite, leaves(values)))


def test_samples_before_and_after_are_compared_with_all_test_images():
    run = arrived()
    found = measured(run, classes=20)
    test = [store.test for store in (*run.earlier.stores, run.new)]
    real = features_of(np.concatenate(test).astype(np.float32) / 255)
    drawn = draw_samples(run.after, run.choice.priors["gaussian"], 8, PARAMS.evaluate.seed, RUNTIME)
    np.testing.assert_array_equal(found.samples, drawn)
    before, after = found.values["samples"]["before"], found.values["samples"]["after"]
    assert after["kd_squares"] == pytest.approx(metrics.kernel_distance(features_of(drawn), real), rel=1e-5)
    assert before.keys() == after.keys() and before["kd_squares"] != after["kd_squares"]
    assert {"kd_squares", "recognised_squares"} < after.keys() and after["se"]["kd_squares"] > 0


def test_cost_and_counts():
    run = arrived()
    anew = 1000 * (12 + 6 + 8) / 12
    assert images_seen(run) == {"images_seen": 90 + 40, "anew": anew, "share": 130 / anew}
    values = measured(run).values
    assert values["cost"] == images_seen(run)
    assert values["counts"] == {
        "first_run": 12,
        "earlier_arrivals": 6,
        "earlier_train": 18,
        "earlier_test": 8,
        "new": {"train": 8, "validation": 2, "test": 4},
        "known": 3,
        "samples": 8,
    }
    run.history.log.clear()
    assert images_seen(run) == {"images_seen": 90, "anew": 0.0}
