"""Where new codes are drawn from: priors fitted to the learned codes. Every draw goes through the geometry."""

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

JITTER = 1e-6  # added to variances; those of codes are about 1
MIXTURES = (1, 2, 4, 8, 16, 32)  # components that are tried
MIXTURE_CODES = 10_000  # that mixtures are fitted to, at most
MIXTURE_FLOOR = 1e-4  # added to a component's variances, in units of the codes' mean variance
IMLE_NOISE, IMLE_WIDTH = 8, 256  # dimensions; of more noise the nearest is hardly nearer than any
IMLE_ROUNDS, IMLE_STEPS, IMLE_BATCH, IMLE_RATE = 150, 12, 128, 1e-3  # steps of a round, at least
IMLE_CODES, IMLE_POOL = 4096, 8  # codes of a round, at most, and noises for each

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Prior:
    """Draws codes. It is its name and its arrays, so that no pickle is needed to keep it.

    Attributes:
        name: one of SAMPLERS.
        arrays: what was fitted, contiguous: another layout in memory could mean other last bits.
        geometry: where codes may lie.
    """

    name: str
    arrays: Arrays
    geometry: Euclidean

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, d) float32 codes, where codes may lie."""
        return self.geometry.project(DRAW[self.name](self.arrays, count, rng).float())

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file of the arrays, with the name as its metadata."""
        save_file(dict(self.arrays), path, {"prior": self.name})

    @classmethod
    def load(cls, path: str | Path, geometry: Euclidean) -> "Prior":
        """What `save` wrote; UserError when it is no prior, or one that draws what is not finite."""
        try:
            with safe_open(path, "pt") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                prior = cls(file.metadata()["prior"], arrays, geometry)
            whole = bool(prior.draw(2, torch_generator(0, "samplers/load")).isfinite().all())
        except (OSError, SafetensorError, LookupError, TypeError, RuntimeError):
            whole = False
        if not whole:
            raise UserError(f"{path}: holds no prior; run the stage that makes it again.")
        return prior


def fit_prior(name: str, codes: Tensor, geometry: Euclidean, seed: int) -> Prior:
    """The prior of this name for (N, d) learned codes, which lie where the geometry allows.

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
        chosen: name of the chosen prior.
        kernel_distance: by name, between images of the prior's codes and held-out images; empty if there are too
            few images.
        about: the digest of the `model` of these priors, and the `feature_network` (network, weights) of the distances.
    """

    priors: Mapping[str, Prior]
    chosen: str
    kernel_distance: Mapping[str, float]
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        for name, prior in self.priors.items():
            prior.save(folder / f"{name}.safetensors")
        record = {"chosen": self.chosen, "kernel_distance": dict(self.kernel_distance), "of": dict(self.about)}
        write_json(folder / "priors.json", record)

    @classmethod
    def load(cls, folder: str | Path, geometry: Euclidean) -> "PriorChoice":
        """What `save` wrote; UserError when it is not that."""
        path = Path(folder) / "priors.json"
        record = read_json(path)
        try:
            chosen, distances, about = record["chosen"], record["kernel_distance"], dict(record.get("of", {}))
            distance = {name: float(distances[name]) for name in SAMPLERS} if distances != {} else {}
        except (LookupError, TypeError, ValueError, AttributeError):
            chosen = None
        if chosen not in SAMPLERS:
            raise UserError(f"{path}: names no choice of priors; run the stage that makes it again.")
        priors = {name: Prior.load(path.with_name(f"{name}.safetensors"), geometry) for name in SAMPLERS}
        return cls(priors, chosen, distance, about)


# --- Gaussians: weights (K,), means (K, d), and roots (K, d, d) of the covariances, RRᵀ = Σ ---


def _fit_normal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """The geometry's prior: normal, with the radius as root mean square length."""
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
    """(d, d); of a single code JITTER alone."""
    spread = torch.cov(codes.T, correction=min(1, len(codes) - 1)).reshape(codes.shape[1], -1)
    return spread + JITTER * torch.eye(codes.shape[1], dtype=torch.float32)


@exact_threads()
def _fit_mixture(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """As many components as the Bayesian information criterion (Schwarz 1978) likes best, with full or with diagonal
    covariances; two different codes for each at least."""
    codes = codes[torch.linspace(0, len(codes) - 1, min(len(codes), MIXTURE_CODES), dtype=torch.float32).long()]
    different = len(codes.unique(dim=0))
    if different < 2:
        return _fit_full(codes, geometry, seed)
    floor = MIXTURE_FLOOR * codes.var(0).mean().item()
    random_state = sklearn_seed(seed, "gmm")
    mixtures = (  # one after another: in many dimensions all of them together fill the memory
        GaussianMixture(components, covariance_type=kind, reg_covar=floor, random_state=random_state)
        for kind in ("full", "diag")
        for components in MIXTURES
        if 2 * components <= max(different, 2)
    )
    points = codes.numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one that has not converged may still be the best
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


# --- IMLE: a mapping from noise to codes ---


def _fit_imle(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Implicit maximum likelihood (Li & Malik 2018), as GLANN draws codes (Hoshen, Li & Malik 2019, equation 5).

    For every code the nearest of a pool of mapped noises is pulled to it, so that no code is left out.
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
    """(N, 8) noise → (N, dimension) codes: two hidden layers, drawn as by He et al. (2015)."""
    widths = (IMLE_NOISE, IMLE_WIDTH, IMLE_WIDTH, dimension)
    layers = [nn.Linear(*widths[index : index + 2]) for index in range(3)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=rng)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


@torch.no_grad()
def nearest_noises(network: nn.Module, pool: Tensor, codes: Tensor, chunk: int = 1024) -> Tensor:
    """(N,) for each of (N, d) codes, which of the (M, e) noises is mapped nearest to it."""
    mapped = network(pool)
    return torch.cat([torch.cdist(piece, mapped).argmin(1) for piece in codes.split(chunk)])


def imle_loss(network: nn.Module, noises: Tensor, codes: Tensor) -> Tensor:
    """Mean squared difference of (N, d) codes and the mapped (N, e) noises that were found nearest to them."""
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
SAMPLERS = tuple(FIT)
