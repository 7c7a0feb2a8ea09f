"""Draws lines from the centre of the image to its border: images with one known factor, the angle.

The task is that of David Berthelot, Colin Raffel, Aurko Roy and Ian Goodfellow: *Understanding and Improving
Interpolation in Autoencoders via an Adversarial Regularizer*, 2018. The true path between two lines turns the angle.
"""

import numpy as np

from iglo.randomness import numpy_generator

COUNT = 10_000  # lines of the data source
WIDTH = 2.0  # of a line, in pixels
_CHUNK = 256  # lines that are drawn at a time


def draw_lines(angles: np.ndarray, size: int) -> np.ndarray:
    """Draws a white line on black for each angle: (N,) in radians → (N, size, size) uint8.

    A line starts in the centre of the image and is `size / 2 - 1` pixels long (15 of 32), as in the code of Berthelot
    et al. Angle 0 points to the right, and π / 2 points up. A pixel at the distance r from the line has the brightness
    WIDTH / 2 + 0.5 - r, within 0 and 1, so the image changes continuously with the angle.
    """
    places = np.arange(size, dtype=np.float32) - (size - 1) / 2
    x, y = places[None, None, :], -places[None, :, None]
    images = np.empty((len(angles), size, size), np.uint8)
    for start in range(0, len(angles), _CHUNK):
        chunk = np.asarray(angles[start : start + _CHUNK], np.float32)[:, None, None]
        cosine, sine = np.cos(chunk), np.sin(chunk)
        along = np.clip(x * cosine + y * sine, 0, size / 2 - 1)  # from the centre to the nearest point of the line
        distance = np.hypot(x - along * cosine, y - along * sine)
        images[start : start + _CHUNK] = np.rint(255 * np.clip(WIDTH / 2 + 0.5 - distance, 0, 1))
    return images


def random_angles(count: int, seed: int) -> np.ndarray:
    """Draws `count` angles uniformly in [0, 2π) with `seed`: (count,) float64 in radians."""
    return numpy_generator(seed, "lines").uniform(0, 2 * np.pi, count)
