"""Reconstruction against loops, scikit-image, and values computed by hand."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from iglo.evaluation import metrics


def images(rng, count=3, side=12, channels=3):
    return rng.random((count, side, side, channels)).astype(np.float32)


def test_l1_by_hand():
    a = np.zeros((2, 1, 2, 1), np.float32)
    b = np.array([0.0, 0.5, 1.0, 0.5], np.float32).reshape(2, 1, 2, 1)
    assert metrics.l1(a, b) == pytest.approx(0.5)
    assert metrics.l1(b, a) == metrics.l1(a, b)


def test_psnr_is_the_mean_over_images_of_scikit_images(rng):
    a, b = images(rng), images(rng)
    b[0] = a[0] + 0.01  # so that the mean of the dB and the dB of the mean error differ
    each = [peak_signal_noise_ratio(x.astype(float), y.astype(float), data_range=1) for x, y in zip(a, b, strict=True)]
    assert metrics.psnr(a, b) == pytest.approx(np.mean(each))


def test_psnr_of_identical_images_is_100_db(rng):
    a = images(rng)
    assert metrics.psnr(a, a) == pytest.approx(100)


def test_ssim_by_loops_over_windows(rng):
    """Wang et al. 2004, equation 13, on every whole 7×7 window, with the sample covariance as in scikit-image."""
    a, b = images(rng, count=2, side=9), images(rng, count=2, side=9)
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for x, y in zip(a.astype(float), b.astype(float), strict=True):
        for channel in range(3):
            for i in range(3):
                for j in range(3):
                    p = x[i : i + 7, j : j + 7, channel].ravel()
                    q = y[i : i + 7, j : j + 7, channel].ravel()
                    (var_p, cov), (_, var_q) = np.cov(p, q)
                    mean_p, mean_q = p.mean(), q.mean()
                    top = (2 * mean_p * mean_q + c1) * (2 * cov + c2)
                    values.append(top / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2)))
    assert metrics.ssim(a, b) == pytest.approx(np.mean(values))
    assert metrics.ssim(a, a) == pytest.approx(1)


def test_reconstruction_metrics_take_grey_images(rng):
    a, b = images(rng, channels=1), images(rng, channels=1)
    colour = metrics.ssim(a.repeat(3, -1), b.repeat(3, -1))
    assert metrics.ssim(a, b) == pytest.approx(colour)
    assert metrics.psnr(a, b) == pytest.approx(metrics.psnr(a.repeat(3, -1), b.repeat(3, -1)))
