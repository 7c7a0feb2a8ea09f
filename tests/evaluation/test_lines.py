"""Lines: the true interpolation, a crossfade and a jump are told apart."""

import numpy as np
import pytest

from iglo.data.lines import draw_lines
from iglo.evaluation.lines import line_values, nearest_lines, smoothness

POINTS = 17
STARTS, TURNS = np.array([0.1, 3.0, 6.0]), np.array([1.5, -2.0, 1.0])  # the third path crosses the angle 0
TIMES = np.linspace(0, 1, POINTS)


def lines_at(angles: np.ndarray) -> np.ndarray:
    """(P, T) angles → (P, T, 32, 32, 1) in [0, 1]."""
    return draw_lines(angles.reshape(-1) % (2 * np.pi), 32).reshape(*angles.shape, 32, 32, 1) / 255


@pytest.fixture(scope="module")
def true() -> np.ndarray:
    return lines_at(STARTS[:, None] + TURNS[:, None] * TIMES)


def test_the_true_interpolation_has_zero_and_zero(true):
    values = line_values(true)
    assert 0 <= values["mean_distance"] < 1e-5 and 0 <= values["smoothness"] < 2e-3


def test_a_crossfade_is_far_from_lines_and_jumps(true):
    times = TIMES[None, :, None, None, None]
    values = line_values((1 - times) * true[:, :1] + times * true[:, -1:])
    assert values["mean_distance"] > 5e-3 and values["smoothness"] > 0.5


def test_an_abrupt_switch_is_near_to_lines_and_not_smooth(true):
    switched = np.where(TIMES[None, :, None, None, None] < 0.5, true[:, :1], true[:, -1:])
    values = line_values(switched)
    # two neighbouring ones of the 10,000 lines can be as near in float32, so an angle is known to 6e-4 radians
    assert values["mean_distance"] < 1e-5 and values["smoothness"] == pytest.approx(1 - 1 / (POINTS - 1), abs=1e-3)


def test_the_nearest_line_is_that_of_a_slow_search():
    rng = np.random.default_rng(0)
    images = np.clip(lines_at(np.array([[1.0, 4.0]]))[0] + rng.normal(0, 0.1, (2, 32, 32, 1)), 0, 1)
    distances, angles = nearest_lines(images)
    for image, distance, angle in zip(images, distances, angles, strict=True):
        a = image.ravel() * 2 - 1
        others = draw_lines(np.append(np.linspace(0, 2 * np.pi, 99), angle), 32).reshape(100, -1) / 255 * 2 - 1
        slow = 1 - others @ a / np.linalg.norm(a) / np.linalg.norm(others, axis=1)
        assert slow.argmin() == 99 and slow[99] == pytest.approx(distance, abs=1e-6)


def test_smoothness_by_hand():
    assert smoothness(np.array([[0.0, 1.0, 2.0]])) == pytest.approx(0)
    assert smoothness(np.array([[6.0, 0.5, 1.0]])) == pytest.approx((0.5 + 2 * np.pi - 6) / (1 + 2 * np.pi - 6) - 0.5)
    assert smoothness(np.array([[0.0, 2.0, 1.0], [1.0, 2.0, 1.0]])) == pytest.approx(1.5)  # the second has no turn
    assert np.isnan(smoothness(np.array([[1.0, 2.0, 1.0]])))
