"""The settings of `neighbours`: near to the validation images, but no copies."""

from types import SimpleNamespace

import numpy as np
import pytest

from iglo.evaluation.neighbour_choice import COUNTS, NOISES, best_settings, choose_neighbours, few_copies


def copied(copies: int, count: int) -> np.ndarray:
    return np.arange(count) < copies


@pytest.mark.parametrize(
    ("samples", "real", "allowed"),
    [
        ((0, 100), (0, 50), True),
        ((1, 100), (0, 50), True),  # 0.01 ± 0.01
        ((3, 100), (0, 50), False),
        ((20, 100), (5, 50), True),  # twice 0.1
        ((28, 100), (5, 50), True),  # the error of 0.2 is 0.086, of 0.28 is 0.045: together 0.097
        ((31, 100), (5, 50), False),
        ((0, 0), (0, 0), True),  # with a single training image
    ],
)
def test_twice_the_copies_of_real_images_are_few(samples, real, allowed):
    assert few_copies(copied(*samples), copied(*real)) is allowed


def test_the_nearest_of_the_allowed_else_the_fewest_copies():
    tried = [
        {"kernel_distance": distance, "copy_rate": rate}
        for distance, rate in [(0.1, 0.5), (0.3, 0.1), (0.2, 0.2), (0.4, 0.1)]
    ]
    assert best_settings(tried, [False, True, True, True]) == 2
    assert best_settings(tried, [False] * 4) == 1


def chosen(train_count: int = 40):
    """Samples are training features plus the prior's noise, so that without noise all are copies."""
    rng = np.random.default_rng(0)
    train, validation = rng.normal(size=(train_count, 4)), rng.normal(size=(20, 4))

    def features_of(prior):
        return np.resize(train, (20, 4)) + 3 * prior.noise * np.random.default_rng(1).normal(size=(20, 4))

    return choose_neighbours(lambda k, noise: SimpleNamespace(k=k, noise=noise), features_of, train, validation)


def test_copies_are_not_chosen_although_they_are_near():
    prior, settings = chosen()
    assert [(each["k"], each["noise"]) for each in settings["tried"]] == [(k, s) for k in COUNTS for s in NOISES]
    assert settings["tried"][0]["copy_rate"] == 1 and settings["noise"] > 0
    assert (prior.k, prior.noise) == (settings["k"], settings["noise"])
    row = next(each for each in settings["tried"] if (each["k"], each["noise"]) == (prior.k, prior.noise))
    assert row["copy_rate"] == settings["copy_rate"] <= 2 * settings["copy_rate_real"] + 0.1


def test_without_copy_rates_the_kernel_distance_chooses():
    prior, settings = chosen(1)
    assert "copy_rate" not in settings and "copy_rate_real" not in settings
    distances = [each["kernel_distance"] for each in settings["tried"]]
    assert prior.noise == settings["noise"] == settings["tried"][int(np.argmin(distances))]["noise"]
