"""Random streams are the same on every machine, differ from one another, and are apart from global ones."""

import random

import numpy as np
import torch

from iglo.randomness import derived_seed, numpy_generator, sklearn_seed, torch_generator


def test_seeds_are_the_same_on_every_machine():
    assert derived_seed(0, "generator") == 4442192553140575738
    assert derived_seed(7, "staged 1/noise", 12) == 4413513215117706025


def test_seeds_depend_on_every_argument_and_fit_their_type():
    places = [(seed, name, step) for seed in (0, 1, 11) for name in ("a", "b", "a/1") for step in (0, 1, 11)]
    seeds = [derived_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert all(0 <= sklearn_seed(*place) < 2**32 for place in places)


def test_streams_restart_and_do_not_change_global_generators():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    draws = [(torch.rand(3, generator=torch_generator(1, "a", 2)), numpy_generator(1, "a", 2).random(3)) for _ in "ab"]
    assert torch.equal(draws[0][0], draws[1][0])
    np.testing.assert_array_equal(draws[0][1], draws[1][1])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
