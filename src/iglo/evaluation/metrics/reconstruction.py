"""Reconstruction: images compared with their targets."""

import numpy as np
from skimage.metrics import structural_similarity

MSE_FLOOR = 1e-10  # gives 100 dB


def l1(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean absolute difference, in [0, 1]."""
    return float(np.abs(np.subtract(images, targets, dtype=np.float64)).mean())


def psnr(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB, at most 100: the mean over images of -10 log10(MSE).

    The data range is 1. Identical images have 100 dB.
    """
    return float(np.mean(psnr_of_each(images, targets)))


def psnr_of_each(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the `psnr` of each image, `(N,)` in dB."""
    squares = np.subtract(images, targets, dtype=np.float64) ** 2
    mse = squares.reshape(len(squares), -1).mean(axis=1)
    return -10 * np.log10(np.maximum(mse, MSE_FLOOR))


def ssim(images: np.ndarray, targets: np.ndarray) -> float:
    """Returns the structural similarity, at most 1 (Wang et al. 2004, equation 13).

    It is the mean over images, channels and 7×7 uniform windows, computed by scikit-image.
    """
    return float(
        np.mean(
            [
                structural_similarity(
                    image.astype(np.float64), target.astype(np.float64), win_size=7, channel_axis=-1, data_range=1.0
                )
                for image, target in zip(images, targets, strict=True)
            ]
        )
    )
