"""The power spectrum of images: how much of it lies at the highest frequencies, where checkerboards are."""

import numpy as np

from iglo.evaluation.metrics.arrays import chunks

CHUNK = 256  # images
POWER_FLOOR = 1e-12  # mean square of a pixel; a flat image has rounding errors only


def nyquist_share(images: np.ndarray) -> np.ndarray:
    """Returns the share of each image's power that alternates from pixel to pixel: `(N,)`, in [0, 1].

    Layers that upsample can leave such patterns, checkerboards (Odena, Dumoulin & Olah 2016). A row of the image is a
    sum of waves; the shortest wave that pixels can show, that of the Nyquist frequency, has a period of two pixels. The
    share counts all waves that have it in one direction at least, whatever they do in the other.

    The mean of the image is subtracted, and a Hann window takes away its borders, where a spectrum would see jumps.
    The window widens each wave by one step of the grid of frequencies to each side, so frequencies one step from 0, or
    one step from Nyquist's, count with it. Frequency 0 is left out.

    1: nothing but stripes or a checkerboard of period two. 0: a flat image, or one without such waves. White noise has
    (1 − (1 − 3/W)(1 − 3/H)) · HW / (HW − 9): 0.18 at 32×32, 0.09 at 64×64.

    Args:
        images: `(N, H, W, C)` floats; H and W are even.
    """
    return np.concatenate([_shares(images[rows]) for rows in chunks(len(images), CHUNK)] or [np.empty(0)])


def _shares(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images, dtype=np.float64)
    _, height, width, _ = images.shape
    window = (_hann(height)[:, None] * _hann(width))[..., None]
    images = images - np.sum(images * window, axis=(1, 2), keepdims=True) / window.sum()
    power = np.square(np.abs(np.fft.fft2(images * window, axes=(1, 2)))).sum(axis=3)
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in (height, width))  # waves per image
    near_zero = (rows <= 1)[:, None] & (columns <= 1)
    near_nyquist = (rows >= height // 2 - 1)[:, None] | (columns >= width // 2 - 1)
    total = np.where(near_zero, 0, power).sum(axis=(1, 2))
    visible = total > POWER_FLOOR * (height * width) ** 2
    return np.divide((power * near_nyquist).sum(axis=(1, 2)), total, out=np.zeros_like(total), where=visible)


def _hann(side: int) -> np.ndarray:
    """Returns a periodic Hann window, (side,)."""
    return np.hanning(side + 1)[:-1]
