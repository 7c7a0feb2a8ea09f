"""Standard errors against closed forms and the spread over independent draws."""

import math

import numpy as np
import pytest

from iglo.evaluation import metrics


def test_mean_error_by_hand():
    assert metrics.mean_error(np.array([1.0, 3.0])) == pytest.approx(1)
    assert metrics.mean_error(np.array([True, True])) == metrics.mean_error(np.array([5.0])) == 0


def test_ratio_error_is_the_spread_of_ratios(rng):
    ratios = rng.normal(-3, 0.1, 20000) / rng.normal(2, 0.05, 20000)
    assert metrics.ratio_error(-3, 0.1, 2, 0.05) == pytest.approx(ratios.std(), rel=0.03)


@pytest.mark.parametrize("error", [metrics.bootstrap_error, metrics.half_sample_error])
def test_resampling_gives_the_error_of_a_mean(rng, error):
    a, b = rng.normal(size=200), 3 * rng.normal(size=100)
    found = error(lambda x, y: (x.mean() - y.mean(), x.mean()), (a, b), rng, repeats=1000)
    of_a, of_b = metrics.mean_error(a), metrics.mean_error(b)
    assert found == pytest.approx((math.hypot(of_a, of_b), of_a), rel=0.1)


def test_bootstrap_error_of_novelty_is_the_spread_over_draws(rng):
    draws = [(rng.gamma(4, size=256), rng.gamma(5, size=150)) for _ in range(300)]
    spread = np.std([metrics.novelty(*draw) for draw in draws])
    errors = [metrics.bootstrap_error(metrics.novelty, draw, rng, repeats=100) for draw in draws[:30]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)


def test_a_generator_decides_the_draws(rng):
    rows = rng.normal(size=(20, 3))
    once, again = (metrics.bootstrap_error(np.mean, [rows], np.random.default_rng(1), repeats=5) for _ in range(2))
    assert once == again and type(once) is float
