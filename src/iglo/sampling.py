"""Where new codes are drawn from: priors fitted to the learned codes; every draw goes through the geometry.

A sampler is its name and its arrays, so that it can be kept without a pickle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from iglo.errors import UserError
from iglo.geometry import Euclidean
from iglo.randomness import sklearn_seed, torch_generator

JITTER = 1e-6  # added to variances, in units of the codes' mean variance
MIXTURES = (1, 2, 4, 8, 16, 32)  # components that are tried
IMLE_NOISE, IMLE_WIDTH = 64, 256  # dimensions
IMLE_EPOCHS, IMLE_POOL, IMLE_BATCH, IMLE_RATE = 150, 8, 128, 1e-3  # the pool in noises per code

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sampler:
    """Draws codes.

    Attributes:
        name: one of SAMPLERS.
        arrays: what was fitted, float32.
        geometry: where codes may lie.
    """

    name: str
    arrays: Arrays
    geometry: Euclidean

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, d) float32 codes, where codes may lie."""
        return self.geometry.project(DRAW[self.name](self.arrays, count, rng).float())

    def save(self, path: Path) -> None:
        """A safetensors file of the arrays, with the name as its metadata."""
        arrays = {name: array.contiguous() for name, array in self.arrays.items()}
        save_file(arrays, path, {"sampler": self.name})

    @classmethod
    def load(cls, path: str | Path, geometry: Euclidean) -> "Sampler":
        """What `save` wrote; UserError when it is no sampler."""
        try:
            with safe_open(path, "pt") as file:
                name = file.metadata()["sampler"]
                return cls(name, {key: file.get_tensor(key) for key in file.keys() if FIT[name]}, geometry)
        except (OSError, SafetensorError, KeyError, TypeError):
            raise UserError(f"{path}: holds no sampler; run the stage that makes it again.") from None


def fit_sampler(name: str, codes: Tensor, geometry: Euclidean, seed: int) -> Sampler:
    """The sampler of this name for (N, d) learned codes."""
    return Sampler(name, FIT[name](codes.detach().cpu().double(), geometry, seed), geometry)


# --- Gaussians ---


def _fit_normal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """The geometry's own prior: normal, with the radius as root mean square length."""
    scale = geometry.radius / codes.shape[1] ** 0.5
    return {"mean": torch.zeros(1, codes.shape[1]), "root": torch.full((1, codes.shape[1]), scale)}


def _fit_diagonal(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    return {"mean": codes.mean(0, keepdim=True).float(), "root": codes.std(0, keepdim=True).float()}


def _fit_full(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    covariance = torch.cov(codes.T).reshape(codes.shape[1], -1)
    jitter = JITTER * covariance.diagonal().mean().clamp_min(1e-12)
    root = torch.linalg.cholesky(covariance + jitter * torch.eye(len(covariance)))
    return {"mean": codes.mean(0, keepdim=True).float(), "root": root[None].float()}


def _draw_diagonal(arrays: Arrays, count: int, rng: torch.Generator) -> Tensor:
    mean, root = arrays["mean"], arrays["root"]
    return mean + root * torch.randn(count, mean.shape[1], generator=rng)


# --- A mixture of Gaussians ---


def _fit_mixture(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """As many components as the Bayesian information criterion likes best (Schwarz 1978), of MIXTURES, each with a full
    or a diagonal covariance."""
    points, scale = codes.numpy(), codes.var(0).mean().item()
    tried = []
    for kind in ("full", "diag"):
        for components in MIXTURES:
            if components * 2 > len(points):
                break
            mixture = GaussianMixture(
                components, covariance_type=kind, reg_covar=1e-4 * scale, random_state=sklearn_seed(seed, "gmm")
            ).fit(points)
            tried.append((mixture.bic(points), kind, mixture))
    _, kind, best = min(tried, key=lambda one: one[0])
    roots = np.linalg.cholesky(best.covariances_) if kind == "full" else np.sqrt(best.covariances_)
    arrays = {"weights": best.weights_, "mean": best.means_, "root": roots}
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


def _draw_mixture(arrays: Arrays, count: int, rng: torch.Generator) -> Tensor:
    weights = arrays.get("weights", torch.ones(1))
    picked = torch.multinomial(weights, count, replacement=True, generator=rng)
    mean, root = arrays["mean"][picked], arrays["root"][picked]
    normal = torch.randn(mean.shape, generator=rng)
    return mean + (root * normal if root.dim() == 2 else (root @ normal[:, :, None])[:, :, 0])


# --- IMLE: a mapping from noise to codes ---


def _mapping(noise: int, width: int, dimension: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(noise, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dimension)
    )


def _fit_imle(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Implicit maximum likelihood (Li & Malik 2018) as in GLANN (Hoshen, Li & Malik 2019, equation 5): for every code,
    the nearest of a pool of mapped noises is pulled to it. Every code is reached, so no mode is left out."""
    scale = codes.std().clamp_min(1e-12).float()
    points = codes.float() / scale
    rng = torch_generator(seed, "imle")
    network = _mapping(IMLE_NOISE, IMLE_WIDTH, codes.shape[1])
    with torch.no_grad():
        for layer in network[::2]:
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            layer.bias.zero_()
    adam = torch.optim.Adam(network.parameters(), IMLE_RATE)
    for _ in tqdm(range(IMLE_EPOCHS), desc="imle", disable=None):
        pool = torch.randn(IMLE_POOL * len(points), IMLE_NOISE, generator=rng)
        noises = pool[nearest(points, network, pool)]
        for ids in torch.randperm(len(points), generator=rng).split(IMLE_BATCH):
            loss = functional.mse_loss(network(noises[ids]), points[ids])
            adam.zero_grad()
            loss.backward()
            adam.step()
    weights = {f"{index}.{name}": value for index, layer in enumerate(network[::2]) for name, value in _named(layer)}
    return {"scale": scale.reshape(1), **weights}


def _named(layer: nn.Linear) -> list[tuple[str, Tensor]]:
    return [("weight", layer.weight.detach().clone()), ("bias", layer.bias.detach().clone())]


@torch.no_grad()
def nearest(points: Tensor, network: Callable[[Tensor], Tensor], pool: Tensor, chunk: int = 1024) -> Tensor:
    """(N,) for each of (N, d) points, which of (M, e) noises is mapped nearest to it."""
    mapped = network(pool)
    return torch.cat([torch.cdist(piece, mapped).argmin(1) for piece in points.split(chunk)])


def _draw_imle(arrays: Arrays, count: int, rng: torch.Generator) -> Tensor:
    layers = len([name for name in arrays if name.endswith("weight")])
    values = torch.randn(count, arrays["0.weight"].shape[1], generator=rng)
    for index in range(layers):
        values = functional.linear(values, arrays[f"{index}.weight"], arrays[f"{index}.bias"])
        values = values if index == layers - 1 else values.relu()
    return values * arrays["scale"]


FIT: dict[str, Callable[[Tensor, Euclidean, int], Arrays]] = {
    "normal": _fit_normal,
    "gaussian_diag": _fit_diagonal,
    "gaussian": _fit_full,
    "gmm": _fit_mixture,
    "imle": _fit_imle,
}
DRAW: dict[str, Callable[[Arrays, int, torch.Generator], Tensor]] = {
    "normal": _draw_diagonal,
    "gaussian_diag": _draw_diagonal,
    "gaussian": _draw_mixture,
    "gmm": _draw_mixture,
    "imle": _draw_imle,
}
SAMPLERS = tuple(FIT)
