"""The subsets of an arrival: those of the rounds of the first run if it is large enough, else one."""

import dataclasses

import numpy as np
import pytest

from iglo.subsets import rounds
from iglo.subsets.rounds import subset_ids, subsets_of
from tests.tiny import RUNTIME, tiny_images, tiny_params

PARAMS = tiny_params()  # two rounds of two clusters with two images each, then the rest, in two clusters


@pytest.mark.parametrize(("count", "subsets"), [(1, 1), (9, 1), (10, 3), (25, 3)])
def test_an_arrival_has_several_subsets_if_all_rounds_get_enough(count, subsets):
    ids = subset_ids(tiny_images(count), PARAMS, RUNTIME)
    assert ids.dtype == np.int32 and ids.shape == (count,) and set(ids.tolist()) == set(range(1, subsets + 1))


def test_the_subsets_are_those_of_the_rounds_in_their_order():
    images = tiny_images(25)
    ids = subset_ids(images, PARAMS, RUNTIME)
    chosen = list(subsets_of(images, PARAMS, RUNTIME))
    assert [np.flatnonzero(ids == number).tolist() for number in (1, 2, 3)] == [each.tolist() for each in chosen]
    np.testing.assert_array_equal(ids, subset_ids(images, PARAMS, RUNTIME))


def test_one_subset_needs_no_features(monkeypatch):
    monkeypatch.delattr(rounds, "extract_features")
    assert subset_ids(tiny_images(9), PARAMS, RUNTIME).tolist() == [1] * 9
    single = tiny_params(rounds=(dataclasses.replace(PARAMS.rounds[2], id=1, after=0),))
    assert subset_ids(tiny_images(9), single, RUNTIME).tolist() == [1] * 9
    with pytest.raises(NameError):
        subset_ids(tiny_images(10), PARAMS, RUNTIME)
