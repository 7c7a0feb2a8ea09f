"""Priors draw new codes. They are fitted to the learned codes, and every draw is projected by the geometry."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional

from iglo.errors import UserError
from iglo.files.io import read_json, write_json
from iglo.models.geometry import Euclidean
from iglo.progress import bar
from iglo.randomness import sklearn_seed, torch_generator
from iglo.runtime.process import building
from iglo.runtime.threads import exact_threads

JITTER = 1e-6  # added to variances; the variances of codes are about 1
MIXTURES = (1, 2, 4, 8, 16, 32)  # numbers of components that are tried
MIXTURE_CODES = 10_000  # largest number of codes to fit a mixture to
MIXTURE_FLOOR = 1e-4  # added to a component's variances; unit: the mean variance of the codes
# Dimensions of the noise and of the hidden layers. With more noise dimensions, the nearest noise is hardly nearer.
IMLE_NOISE, IMLE_WIDTH = 8, 256
# A round has as many passes over its codes as fit into IMLE_STEPS steps, and at least one.
IMLE_ROUNDS, IMLE_STEPS, IMLE_BATCH, IMLE_RATE = 150, 12, 128, 1e-3
IMLE_CODES, IMLE_POOL = 4096, 8  # largest number of codes in a round, and noises for each code

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Prior:
    """A distribution of codes. It consists of a name and arrays, so that it can be saved without pickle.

    Attributes:
        name: one of PRIORS.
        arrays: the fitted arrays, contiguous, because the last bits of a draw can depend on the layout in memory.
        geometry: the geometry of the codes.
    """

    name: str
    arrays: Arrays
    geometry: Euclidean

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draws (count, d) float32 codes, projected by the geometry."""
        return self.geometry.project(DRAW[self.name](self.arrays, count, rng).float())

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file of the arrays; the name is in its metadata."""
        save_file(dict(self.arrays), path, {"prior": self.name})

    @classmethod
    def load(cls, path: str | Path, geometry: Euclidean) -> "Prior":
        """Reads what `save` has written; UserError if it has no prior, or if codes drawn from it are not finite."""
        try:
            with safe_open(path, "pt") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                prior = cls(file.metadata()["prior"], arrays, geometry)
            usable = bool(prior.draw(2, torch_generator(0, "samplers/load")).isfinite().all())
        except (OSError, SafetensorError, LookupError, TypeError, RuntimeError):
            usable = False
        if not usable:
            raise UserError(f"{path}: this file has no usable prior; run the stage that writes it again.")
        return prior


def fit_prior(name: str, codes: Tensor, geometry: Euclidean, seed: int) -> Prior:
    """Fits a prior to (N, d) learned codes.

    Args:
        name: one of PRIORS.
        codes: (N, d), already projected by the geometry.

    Raises:
        UserError: a code is not finite.
    """
    if not codes.isfinite().all():
        raise UserError(f"codes: must be finite to fit the prior {name}, got NaN or infinity; train the model again.")
    arrays = FIT[name](codes.detach().cpu().double(), geometry, seed)
    return Prior(name, {key: array.contiguous() for key, array in arrays.items()}, geometry)


@dataclass(frozen=True)
class PriorChoice:
    """All priors of a model, and the chosen one.

    Attributes:
        priors: the priors by name.
        chosen: the name of the chosen prior.
        kernel_distance: for each prior, the kernel distance between its samples and the validation images; empty if
            there are too few images.
        standard_error: the standard errors of these distances, for each prior; empty if they are not known.
        about: `model`, the digest of the model; and `feature_network`, the network and weights that measured.
    """

    priors: Mapping[str, Prior]
    chosen: str
    kernel_distance: Mapping[str, float]
    standard_error: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        for name, prior in self.priors.items():
            prior.save(folder / f"{name}.safetensors")
        numbers = {"kernel_distance": dict(self.kernel_distance), "standard_error": dict(self.standard_error)}
        write_json(folder / "priors.json", {"chosen": self.chosen, **numbers, "of": dict(self.about)})

    @classmethod
    def load(cls, folder: str | Path, geometry: Euclidean) -> "PriorChoice":
        """Reads what `save` has written; UserError if it is damaged."""
        path = Path(folder) / "priors.json"
        record = read_json(path)
        try:
            chosen, distances, about = record["chosen"], record["kernel_distance"], dict(record.get("of", {}))
            distance, error = (
                {name: float(numbers[name]) for name in PRIORS} if numbers != {} else {}
                for numbers in (distances, record.get("standard_error", {}))
            )
        except (LookupError, TypeError, ValueError, AttributeError):
            chosen = None
        if chosen not in PRIORS:
            raise UserError(f"{path}: this file has no choice of priors; run the stage that writes it again.")
        priors = {name: Prior.load(path.with_name(f"{name}.safetensors"), geometry) for name in PRIORS}
        return cls(priors, chosen, distance, error, about)


# --- Gaussians and mixtures: weights (K,), means (K, d), and roots R (K, d, d) of the covariances, RRᵀ = Σ ---


def _fit_normal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Returns the normal distribution whose root mean square length is the geometry's radius; ignores the codes."""
    dimension = codes.shape[1]
    root = geometry.radius / dimension**0.5 * torch.eye(dimension, dtype=torch.float32)
    return _gaussian(codes.new_zeros(dimension), root)


def _fit_diagonal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    return _gaussian(codes.mean(0), _covariance(codes).diagonal().sqrt().diag())


def _fit_full(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    return _gaussian(codes.mean(0), torch.linalg.cholesky(_covariance(codes)))


def _gaussian(mean: Tensor, root: Tensor) -> Arrays:
    return {"weights": torch.ones(1, dtype=torch.float64), "means": mean[None], "roots": root[None].double()}


def _covariance(codes: Tensor) -> Tensor:
    """Returns the covariance of the codes (d, d) plus JITTER; for a single code only JITTER."""
    spread = torch.cov(codes.T, correction=min(1, len(codes) - 1)).reshape(codes.shape[1], -1)
    return spread + JITTER * torch.eye(codes.shape[1], dtype=torch.float32)


@exact_threads()
def _fit_mixture(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Fits mixtures of different sizes and kinds of covariance; the best Bayesian information criterion wins.

    The criterion is of Schwarz 1978. Each component has at least two different codes.
    """
    codes = codes[torch.linspace(0, len(codes) - 1, min(len(codes), MIXTURE_CODES), dtype=torch.float32).long()]
    different = len(codes.unique(dim=0))
    if different < 2:
        return _fit_full(codes, geometry, seed)
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


def _draw_gaussians(arrays: Arrays, count: int, rng: torch.Generator) -> Tensor:
    weights, means, roots = arrays["weights"], arrays["means"], arrays["roots"]
    picked = torch.zeros(count, dtype=torch.int64)
    if len(weights) > 1:
        picked = torch.multinomial(weights, count, replacement=True, generator=rng)
    codes = torch.randn(count, means.shape[1], generator=rng, dtype=means.dtype)
    for index, (mean, root) in enumerate(zip(means, roots, strict=True)):
        of_component = picked == index
        codes[of_component] = mean + codes[of_component] @ root.T
    return codes


# --- IMLE: a network that maps noise to codes ---


def _fit_imle(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Fits a mapping by implicit maximum likelihood (Li & Malik 2018), as GLANN does (Hoshen, Li & Malik 2019).

    For each code, the mapping is trained to move the nearest of many mapped noises to the code. So no code is left out.
    """
    rng = torch_generator(seed, "imle")
    scale = codes.square().mean().sqrt().clamp_min(JITTER**0.5).float()
    points = codes.float() / scale
    network = imle_mapping(codes.shape[1], rng)
    adam = torch.optim.Adam(network.parameters(), IMLE_RATE)
    for _ in bar(range(IMLE_ROUNDS), desc="imle", unit="round"):
        some = points[torch.randperm(len(points), generator=rng)[:IMLE_CODES]]
        pool = torch.randn(IMLE_POOL * len(some), IMLE_NOISE, generator=rng, dtype=torch.float32)
        noises = pool[nearest_noises(network, pool, some)]
        batches = list(zip(noises.split(IMLE_BATCH), some.split(IMLE_BATCH), strict=True))
        for batch in batches * max(1, IMLE_STEPS // len(batches)):
            adam.zero_grad()
            imle_loss(network, *batch).backward()
            adam.step()
    return {"scale": scale.reshape(1), **{name: weights.clone() for name, weights in network.state_dict().items()}}


@building()
def imle_mapping(dimension: int, rng: torch.Generator) -> nn.Sequential:
    """Returns a network from noise (N, 8) to codes (N, dimension): two hidden layers, initialised by He et al. 2015."""
    widths = (IMLE_NOISE, IMLE_WIDTH, IMLE_WIDTH, dimension)
    layers = [nn.Linear(*widths[index : index + 2]) for index in range(3)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=rng)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


@torch.no_grad()
def nearest_noises(network: nn.Module, pool: Tensor, codes: Tensor, chunk: int = 1024) -> Tensor:
    """Returns, for each of the codes (N, d), the row of the noise (M, e) that is mapped nearest to it: (N,)."""
    mapped = network(pool)
    return torch.cat([torch.cdist(piece, mapped).argmin(1) for piece in codes.split(chunk)])


def imle_loss(network: nn.Module, noises: Tensor, codes: Tensor) -> Tensor:
    """Returns the mean squared difference of codes (N, d) and their mapped nearest noises (N, e)."""
    return functional.mse_loss(network(noises), codes)


def _draw_imle(arrays: Arrays, count: int, rng: torch.Generator) -> Tensor:
    weights = dict(arrays)
    scale = weights.pop("scale")
    network = imle_mapping(len(weights["4.bias"]), torch.Generator())
    network.load_state_dict(weights)
    with torch.no_grad():
        return scale * network(torch.randn(count, IMLE_NOISE, generator=rng, dtype=torch.float32))


FIT: dict[str, Callable[[Tensor, Euclidean, int], Arrays]] = {
    "normal": _fit_normal,
    "gaussian_diag": _fit_diagonal,
    "gaussian": _fit_full,
    "gmm": _fit_mixture,
    "imle": _fit_imle,
}
DRAW: dict[str, Callable[[Arrays, int, torch.Generator], Tensor]] = dict.fromkeys(FIT, _draw_gaussians)
DRAW["imle"] = _draw_imle
PRIORS = tuple(FIT)
