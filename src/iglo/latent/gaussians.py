"""Gaussians and mixtures of Gaussians, as priors of codes.

Their arrays are weights (K,), means (K, d), and roots R (K, d, d) of the covariances, RRᵀ = Σ.
"""

import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from iglo.latent.arrays import JITTER, Arrays, evenly_spaced
from iglo.models.geometry import Euclidean
from iglo.randomness import sklearn_seed
from iglo.runtime.threads import exact_threads

MIXTURES = (1, 2, 4, 8, 16, 32)  # numbers of components that are tried
MIXTURE_CODES = 10_000  # largest number of codes to fit a mixture to
MIXTURE_FLOOR = 1e-4  # added to a component's variances; unit: the mean variance of the codes


def fit_normal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Returns the normal distribution whose root mean square length is the geometry's radius; ignores the codes."""
    dimension = codes.shape[1]
    root = geometry.radius / dimension**0.5 * torch.eye(dimension, dtype=torch.float32)
    return _gaussian(codes.new_zeros(dimension), root)


def fit_diagonal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    return _gaussian(codes.mean(0), _covariance(codes).diagonal().sqrt().diag())


def fit_full(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    return _gaussian(codes.mean(0), torch.linalg.cholesky(_covariance(codes)))


def _gaussian(mean: Tensor, root: Tensor) -> Arrays:
    return {"weights": torch.ones(1, dtype=torch.float64), "means": mean[None], "roots": root[None].double()}


def _covariance(codes: Tensor) -> Tensor:
    """Returns the covariance of the codes (d, d) plus JITTER; for a single code only JITTER."""
    spread = torch.cov(codes.T, correction=min(1, len(codes) - 1)).reshape(codes.shape[1], -1)
    return spread + JITTER * torch.eye(codes.shape[1], dtype=torch.float32)


@exact_threads(1)  # several threads take three times as long for matrices of 100 rows
def fit_mixture(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Fits mixtures of different sizes and kinds of covariance; the best Bayesian information criterion wins.

    The criterion is of Schwarz 1978. Each component has at least two different codes.
    """
    codes = evenly_spaced(codes, MIXTURE_CODES)
    different = len(codes.unique(dim=0))
    if different < 2:
        return fit_full(codes, geometry, seed)
    floor = MIXTURE_FLOOR * codes.var(0).mean().item()
    random_state = sklearn_seed(seed, "gmm")
    mixtures = (  # a generator, because all of them together need much memory if d is large
        GaussianMixture(components, covariance_type=kind, reg_covar=floor, random_state=random_state)
        for kind in ("full", "diag")
        for components in MIXTURES
        if 2 * components <= max(different, 2)
    )
    points = codes.numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that has not converged may still be the best
        best = min((mixture.fit(points) for mixture in mixtures), key=lambda mixture: mixture.bic(points))
    means, covariances = (torch.from_numpy(array) for array in (best.means_, best.covariances_))
    roots = covariances.sqrt().diag_embed() if best.covariance_type == "diag" else torch.linalg.cholesky(covariances)
    return {"weights": torch.from_numpy(best.weights_), "means": means, "roots": roots}


def draw_gaussians(arrays: Arrays, geometry: Euclidean, count: int, rng: torch.Generator) -> Tensor:
    weights, means, roots = arrays["weights"], arrays["means"], arrays["roots"]
    picked = torch.zeros(count, dtype=torch.int64)
    if len(weights) > 1:
        picked = torch.multinomial(weights, count, replacement=True, generator=rng)
    codes = torch.randn(count, means.shape[1], generator=rng, dtype=means.dtype)
    for index, (mean, root) in enumerate(zip(means, roots, strict=True)):
        of_component = picked == index
        codes[of_component] = mean + codes[of_component] @ root.T
    return codes
