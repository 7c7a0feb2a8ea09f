"""A flow from normal noise to codes, learned by flow matching (Lipman et al. 2023), as a prior of codes."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from iglo.latent.arrays import JITTER, Arrays
from iglo.models.geometry import Euclidean
from iglo.progress import bar
from iglo.randomness import torch_generator
from iglo.runtime.eager import Adam
from iglo.runtime.process import building

FLOW_WIDTH, FREQUENCIES = 512, 8  # of the two hidden layers, and of the sines and cosines of the time
FLOW_STEPS, FLOW_BATCH, FLOW_RATE = (400, 3000), 256, 4e-3  # fewest and most steps; in between, one for 5 codes
EVERY, PATIENCE = 20, 4  # steps between two looks at held-out codes, and looks without a gain before training stops
HELD_OUT, FIXED = 0.1, 1024  # share of the codes that is held out, and number of fixed times and noises for them
DRAW_STEPS = 12  # steps from noise to a code


class Velocity(nn.Module):
    """The velocity v(x, t) of the flow, (N, d) and (N,) → (N, d).

    It is the velocity that is right for normal codes, plus an MLP of x and of sines and cosines of t. The MLP begins
    at 0, so an untrained flow draws from a Gaussian with the mean and the variances of the codes.
    """

    def __init__(self, dimension: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(dimension + 2 * FREQUENCIES, FLOW_WIDTH), nn.SiLU()),
            *(nn.Linear(FLOW_WIDTH, FLOW_WIDTH), nn.SiLU()),
            nn.Linear(FLOW_WIDTH, dimension),
        )

    def forward(self, points: Tensor, times: Tensor) -> Tensor:
        times = times[:, None]
        angles = torch.pi * times * torch.arange(1, FREQUENCIES + 1, dtype=torch.float32)
        seen = torch.cat([points, angles.sin(), angles.cos()], dim=1)
        return normal_velocity(points, times) + self.layers(seen)


def normal_velocity(points: Tensor, times: Tensor) -> Tensor:
    """Returns the velocity E[x₁ − x₀ | x] of the paths x = (1 − t)·x₀ + t·x₁ if x₀ and x₁ are both from N(0, I).

    Args:
        points, times: x (N, d) and t (N, 1).
    """
    return (2 * times - 1) / ((1 - times) ** 2 + times**2) * points


def fit_flow(codes: Tensor, geometry: Euclidean, seed: int) -> Arrays:
    """Learns the velocity of straight paths from normal noise to standardised codes (Lipman et al. 2023).

    A tenth of the codes is held out. Training stops when their loss, with fixed times and noises, no longer falls, and
    the weights with the smallest loss are kept: otherwise the flow would lead to the training codes alone. A single
    code is trained on and held out.

    Args:
        codes: (N, d) float64.

    Returns:
        mean (d,) and scale (d,) of the codes, and the weights of `Velocity`.
    """
    rng = torch_generator(seed, "flow")
    mean, scale = codes.mean(0), codes.std(0, correction=0).clamp_min(JITTER**0.5)
    points = ((codes - mean) / scale).float()[torch.randperm(len(codes), generator=rng)]
    held_out = max(1, int(HELD_OUT * len(points)))
    training = points[held_out:] if len(points) > 1 else points
    fixed = _pairs(points[:held_out].repeat(-(-FIXED // held_out), 1), rng)
    network = flow_network(codes.shape[1], rng)
    weights = _train(network, training, fixed, rng)
    return {"mean": mean.float(), "scale": scale.float(), **weights}


@building()
def flow_network(dimension: int, rng: torch.Generator) -> Velocity:
    """Returns a network for codes of this dimension; the last layer is 0, the others are by He et al. 2015."""
    network = Velocity(dimension)
    for layer in (each for each in network.modules() if isinstance(each, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(network.layers[-1].weight)
    return network


def _train(
    network: Velocity, training: Tensor, fixed: tuple[Tensor, Tensor, Tensor], rng: torch.Generator
) -> dict[str, Tensor]:
    """Returns the weights with the smallest held-out loss.

    Args:
        training: (N, d) standardised codes.
        fixed: as `_pairs` returns them, of the held-out codes.
    """
    steps = min(max(len(training) // 5, FLOW_STEPS[0]), FLOW_STEPS[1])
    adam = Adam(network.parameters(), FLOW_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    best, weights, waited = float("inf"), {}, 0
    for step in bar(range(steps + 1), desc="flow", unit="step"):
        if step % EVERY == 0:
            with torch.no_grad():
                loss = flow_loss(network, *fixed).item()
            waited = 0 if loss < best else waited + 1
            if loss < best:
                best, weights = loss, copy.deepcopy(network.state_dict())
            if waited == PATIENCE:
                break
        some = training[torch.randint(len(training), (FLOW_BATCH,), generator=rng)]
        adam.zero_grad()
        flow_loss(network, *_pairs(some, rng)).backward()
        adam.step()
        schedule.step()
    return weights


def _pairs(codes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns codes (N, d) with noises (N, d) and times (N,) in [0, 1)."""
    noises = torch.randn(codes.shape, generator=rng, dtype=torch.float32)
    return codes, noises, torch.rand(len(codes), generator=rng, dtype=torch.float32)


def flow_loss(network: nn.Module, codes: Tensor, noises: Tensor, times: Tensor) -> Tensor:
    """Returns the mean squared difference of v((1 − t)·noise + t·code, t) and code − noise.

    It is the conditional loss of Lipman et al. 2023 for optimal transport paths, with σ_min = 0.
    """
    points = torch.lerp(noises, codes, times[:, None])
    return functional.mse_loss(network(points, times), codes - noises)


def draw_flow(arrays: Arrays, geometry: Euclidean, count: int, rng: torch.Generator) -> Tensor:
    weights = dict(arrays)
    mean, scale = weights.pop("mean"), weights.pop("scale")
    network = flow_network(len(mean), torch.Generator())
    network.load_state_dict(weights)
    noise = torch.randn(count, len(mean), generator=rng, dtype=torch.float32)
    return mean + scale * follow(network, noise)


@torch.no_grad()
def follow(network: nn.Module, points: Tensor) -> Tensor:
    """Moves points (N, d) with the velocity from time 0 to 1, in DRAW_STEPS steps of Heun's method."""
    length = 1 / DRAW_STEPS
    for step in range(DRAW_STEPS):
        times = points.new_full((len(points),), step * length)
        first = network(points, times)
        second = network(points + length * first, times + length)
        points = points + length / 2 * (first + second)
    return points
