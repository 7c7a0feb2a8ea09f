"""Points between a learned code and one of its nearest codes, as a prior of codes.

The generator was never trained far from all learned codes. Between two near codes its images are better.
"""

import torch
from torch import Tensor

from iglo.latent.arrays import Arrays, evenly_spaced
from iglo.models.geometry import Euclidean
from iglo.runtime.threads import exact_threads

NEIGHBOURS, NOISE = 5, 0.1  # if nothing is chosen on validation images
NEIGHBOUR_CODES = 10_000  # largest number of codes that are kept, so that the file stays small
SAME = 1e-6  # codes that are nearer to each other are the same code; unit: the root mean square length of the codes
CHUNK = 512  # codes that are compared with all codes at a time


@exact_threads()
def fit_neighbours(codes: Tensor, geometry: Euclidean, seed: int, k: int = NEIGHBOURS, noise: float = NOISE) -> Arrays:
    """Finds the k nearest other codes of every code.

    A copy of a code is not its neighbour. If a code has fewer than k neighbours, they take turns; if it has none, it is
    its own neighbour. If there are more than NEIGHBOUR_CODES codes, that number of them is kept, evenly spaced.

    Args:
        codes: (N, d) float64.
        k: how many neighbours a code has, at least 1.
        noise: standard deviation of the noise that is added to a drawn code; 1 is the root mean square of a coordinate,
            which is radius / √d for codes on a sphere.

    Returns:
        codes (M, d) float32, neighbours (M, K) int32 with K ≤ k, noise (1,), and scale (1,), the unit of the noise.
    """
    codes = evenly_spaced(codes, NEIGHBOUR_CODES)
    scale = codes.square().mean().sqrt()
    k = min(k, max(len(codes) - 1, 1))
    same = SAME * scale * codes.shape[1] ** 0.5
    rows = torch.arange(len(codes)).split(CHUNK)
    nearest = torch.cat([_nearest(codes[some], codes, some, k, same) for some in rows])
    return {
        "codes": codes.float(),
        "neighbours": nearest.int(),
        "noise": codes.new_full((1,), noise).float(),
        "scale": scale.reshape(1).float(),
    }


def _nearest(some: Tensor, codes: Tensor, own: Tensor, k: int, same: Tensor) -> Tensor:
    """Returns the rows of the k codes that are nearest to some of the codes, without copies of these: (M, k).

    Args:
        own: (M,) the rows of these codes.
        same: the distance up to which two codes are copies.
    """
    distances = torch.cdist(some, codes)
    distances[distances <= same] = torch.inf
    distances[torch.arange(len(some)), own] = torch.inf
    found = distances.topk(k, largest=False, sorted=True)
    count = found.values.isfinite().sum(1, keepdim=True)
    turns = torch.arange(k)[None] % count.clamp_min(1)
    return torch.where(count > 0, found.indices.gather(1, turns), own[:, None])


def draw_neighbours(arrays: Arrays, geometry: Euclidean, count: int, rng: torch.Generator) -> Tensor:
    """Draws points at uniform times on the geometry's paths from random codes to random neighbours, plus noise."""
    codes, neighbours = arrays["codes"], arrays["neighbours"].long()
    if not 0 <= neighbours.min() <= neighbours.max() < len(codes):
        raise IndexError("a neighbour is not among the codes")
    starts = torch.randint(len(codes), (count,), generator=rng)
    columns = torch.randint(neighbours.shape[1], (count,), generator=rng)
    times = torch.rand(count, 1, generator=rng, dtype=torch.float32)
    noise = torch.randn(count, codes.shape[1], generator=rng, dtype=torch.float32)
    points = geometry.interpolate(codes[starts], codes[neighbours[starts, columns]], times)[:, 0]
    return points + arrays["noise"] * arrays["scale"] * noise
