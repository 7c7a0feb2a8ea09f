"""A network that maps noise to codes, learned by IMLE, as a prior of codes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.latent.arrays import JITTER, Arrays
from iglo.models.geometry import Euclidean
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.eager import Adam
from iglo.runtime.process import building

# Dimensions of the noise and of the hidden layers. With more noise dimensions, the nearest noise is hardly nearer.
IMLE_NOISE, IMLE_WIDTH = 8, 256
# A round has as many passes over its codes as fit into IMLE_STEPS steps, and at least one.
IMLE_ROUNDS, IMLE_STEPS, IMLE_BATCH, IMLE_RATE = 50, 24, 128, 1e-3
IMLE_CODES, IMLE_POOL = 4096, 4  # largest number of codes in a round, and noises for each code


def fit_imle(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Fits a mapping by implicit maximum likelihood (Li & Malik 2018), as GLANN does (Hoshen, Li & Malik 2019).

    For each code, the mapping is trained to move the nearest of many mapped noises to the code. So no code is left out.
    """
    rng = torch_generator(seed, "imle")
    scale = codes.square().mean().sqrt().clamp_min(JITTER**0.5).float()
    points = codes.float() / scale
    network = imle_mapping(codes.shape[1], rng)
    adam = Adam(network.parameters(), IMLE_RATE, fused=True)
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
    lengths = mapped.square().sum(1) / 2  # ‖m − c‖²/2 without ‖c‖²/2, which is the same for all noises
    return torch.cat([torch.addmm(lengths, piece, mapped.T, alpha=-1).argmin(1) for piece in codes.split(chunk)])


def imle_loss(network: nn.Module, noises: Tensor, codes: Tensor) -> Tensor:
    """Returns the mean squared difference of codes (N, d) and their mapped nearest noises (N, e)."""
    return functional.mse_loss(network(noises), codes)


def draw_imle(arrays: Arrays, geometry: Euclidean, count: int, rng: torch.Generator) -> Tensor:
    weights = dict(arrays)
    scale = weights.pop("scale")
    network = imle_mapping(len(weights["4.bias"]), torch.Generator())
    network.load_state_dict(weights)
    with torch.no_grad():
        return scale * network(torch.randn(count, IMLE_NOISE, generator=rng, dtype=torch.float32))
