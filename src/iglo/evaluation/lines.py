"""Measures interpolations between drawn lines, where the true interpolation is known.

Source: David Berthelot, Colin Raffel, Aurko Roy, Ian Goodfellow: *Understanding and Improving Interpolation in
Autoencoders via an Adversarial Regularizer*, 2018; the formulas are those of the released code (`lib/eval.py`).
"""

import numpy as np

from iglo.data.lines import draw_lines
from iglo.runtime.threads import exact_threads

ANGLES = 10_000  # true lines that an image is compared with
SMALLEST_TURN = 1e-4  # radians between the ends of a path; a smaller turn has no smoothness
_CHUNK = 512  # images that are compared at a time


def line_values(images: np.ndarray) -> dict[str, float]:
    """Returns `mean_distance` and `smoothness` of paths; a value that is not defined is left out.

    `mean_distance` is the mean of the distances of all images to their nearest true lines. 0 is best for both values.
    The true interpolation has 0 and 0.

    Args:
        images: (P, T, H, H, C) in [0, 1]: P paths of T images.
    """
    return {name: float(each.mean()) for name, each in values_of_paths(images).items()}


def values_of_paths(images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the values of each path, of which those of `line_values` are the means; for standard errors.

    Args:
        images: as for `line_values`.

    Returns:
        `mean_distance` (P,), and `smoothness` (at most P,): a path whose ends have the same angle has none.
    """
    paths, points = images.shape[:2]
    if not paths:
        return {}
    distances, angles = nearest_lines(images.reshape(-1, *images.shape[2:]))
    uneven = np.array([smoothness(path[None]) for path in angles.reshape(paths, points)])
    values = {"mean_distance": distances.reshape(paths, points).mean(1), "smoothness": uneven[np.isfinite(uneven)]}
    return {name: each for name, each in values.items() if len(each)}


def nearest_lines(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the true line that is nearest to each image, among ANGLES lines at equal steps of the angle.

    The distance is the cosine distance of the pixel values in [-1, 1], in which the paper computes. So the black pixels
    count too.

    Args:
        images: (N, H, H, C) in [0, 1]; several channels are averaged.

    Returns:
        (N,) cosine distances in [0, 2], and (N,) angles of the nearest lines in radians, in [0, 2π).
    """
    angles = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    true = _directions(np.asarray(draw_lines(angles, images.shape[1]), np.float32) / 255)
    distances, nearest = np.empty(len(images), np.float32), np.empty(len(images), np.int64)
    with exact_threads():
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            similarity = _directions(np.asarray(images[rows], np.float32).mean(-1)) @ true.T
            nearest[rows] = similarity.argmax(1)
            distances[rows] = 1 - similarity.max(1)
    return np.clip(distances, 0, 2), angles[nearest]


def smoothness(angles: np.ndarray) -> float:
    """Returns the mean over the paths of max_t |θ_{t+1} - θ_t| / |θ_T - θ_1| - 1 / (T - 1).

    θ are the angles along a path, unwrapped so that no step is larger than π. 0 is best: all steps are equal. A path
    that does all of its turn in one step has 1 - 1 / (T - 1), and one that turns forth and back has more. A path whose
    ends have the same angle has no value and is left out. (The released code adds such a path as 0.) If no path has a
    value, the mean is nan.

    Args:
        angles: (P, T) in radians.
    """
    angles = np.unwrap(angles, axis=1)
    turns = np.abs(angles[:, -1] - angles[:, 0])
    turning = turns >= SMALLEST_TURN
    if not turning.any():
        return float("nan")
    largest = np.abs(np.diff(angles[turning], axis=1)).max(1)
    return float((largest / turns[turning]).mean() - 1 / (angles.shape[1] - 1))


def _directions(images: np.ndarray) -> np.ndarray:
    """Returns images (N, H, H) in [0, 1] as vectors (N, H²) of length 1, after the change of range to [-1, 1]."""
    vectors = images.reshape(len(images), -1) * 2 - 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
