"""Paths along the graph of nearest codes: from code to code, where the generator was trained, instead of straight on.

The shortest way in a graph of nearest neighbours stands for the shortest path on the surface near which points lie
(Tenenbaum, de Silva & Langford 2000, Isomap).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from iglo.errors import UserError
from iglo.latent.arrays import evenly_spaced
from iglo.models.geometry import Euclidean
from iglo.runtime.threads import exact_threads

PATHS = ("chord", "graph")  # straight on (on a sphere, a great circle), or along the graph of nearest codes
NEAREST = 5  # neighbours of a code
MOST_CODES = 20_000  # codes of a graph; the time to make it grows with their square
BLOCK = 2**24  # distances that are computed at a time
SOURCES = 64  # starts whose distances to all codes are computed at a time
SHORTEST = 1e-9  # length of an edge between equal codes, because sparse arrays may drop an edge of length 0


@dataclass(frozen=True)
class CodeGraph:
    """A connected graph of codes. `interpolate` takes the place of the geometry's.

    Attributes:
        codes: (N, d) float32, the nodes.
        edges: (N, N) symmetric, the lengths of the geometry's paths between neighbours.
        geometry: the geometry of the codes.
    """

    codes: Tensor
    edges: csr_array
    geometry: Euclidean

    @classmethod
    def of(cls, codes: Tensor, geometry: Euclidean) -> "CodeGraph":
        """Joins each of the codes (N, d) to its NEAREST nearest codes, and parts that are apart by shortest edges.

        If there are more than MOST_CODES codes, the graph has that number of them, evenly spaced. A path from another
        code goes to the nearest of them first.

        An edge has its true length as weight, and not the square of it. In high dimension all edges are about equally
        long, so both prefer few edges. With squares, more paths went through the same few codes.
        """
        codes = evenly_spaced(codes.detach().cpu().float(), MOST_CODES)
        edges = _nearest_edges(codes, geometry)
        while (parts := connected_components(edges, directed=False))[0] > 1:
            edges = _symmetric(np.concatenate([_edges_of(edges), _joining_edges(codes, parts[1])]), codes, geometry)
        return cls(codes, edges, geometry)

    def nearest(self, codes: Tensor) -> np.ndarray:
        """Finds the nearest node of each of the codes (P, d): (P,) int64."""
        blocks = codes.split(max(1, BLOCK // len(self.codes)))
        return np.concatenate([_distances(block, self.codes).argmin(1).numpy() for block in blocks])

    def ways(self, starts: Sequence[int], ends: Sequence[int]) -> list[np.ndarray]:
        """Finds the nodes on the shortest way from each of P nodes to its end, both included: P arrays of int64."""
        pairs, ways = np.stack([starts, ends], axis=1), []
        for block in np.split(pairs, range(SOURCES, len(pairs), SOURCES)):
            sources, rows = np.unique(block[:, 0], return_inverse=True)
            before = dijkstra(self.edges, directed=False, indices=sources, return_predecessors=True)[1]
            ways += [_traced(before[row], *pair) for row, pair in zip(rows, block, strict=True)]
        return ways

    def interpolate(self, start: Tensor, end: Tensor, times: Tensor) -> Tensor:
        """Computes points on the way from each start to its end: (P, d), (P, d), (T,) times in [0, 1] → (P, T, d).

        Times are shares of the whole length. A start or end that is no node goes to the nearest node first.
        """
        ways = self.ways(self.nearest(start), self.nearest(end))
        stops = [torch.cat([a[None], self.codes[way], b[None]]) for a, way, b in zip(start, ways, end, strict=True)]
        return torch.stack([self._points(each, times) for each in stops]) if stops else start[:, None] * times[:, None]

    def _points(self, stops: Tensor, times: Tensor) -> Tensor:
        """Returns points (T, d) on the geometry's path through stops (S, d), evenly in length."""
        lengths = self.geometry.distance(stops[:-1], stops[1:]).double()
        reached = lengths.cumsum(0)
        wanted = times.double() * reached[-1]
        leg = torch.searchsorted(reached, wanted).clamp_max(len(lengths) - 1)
        share = (wanted - reached[leg] + lengths[leg]) / lengths[leg].clamp_min(SHORTEST)
        share = share.clamp(0, 1).to(stops.dtype)
        points = self.geometry.interpolate(stops[leg], stops[leg + 1], share[:, None])[:, 0]
        ends = (times <= 0)[:, None], (times >= 1)[:, None]
        return torch.where(ends[0], stops[0], torch.where(ends[1], stops[-1], points))


@exact_threads()
def _nearest_edges(codes: Tensor, geometry: Euclidean) -> csr_array:
    count = min(NEAREST, len(codes) - 1)
    if not count:
        return csr_array((len(codes), len(codes)), dtype=np.float64)
    graph = kneighbors_graph(codes.numpy(), count, mode="connectivity")
    return _symmetric(_edges_of(graph), codes, geometry)


def _edges_of(graph: csr_array) -> np.ndarray:
    """Returns the ends (E, 2) of the edges of a graph."""
    return np.stack(graph.nonzero(), axis=1).astype(np.int64)


def _symmetric(ends: np.ndarray, codes: Tensor, geometry: Euclidean) -> csr_array:
    """Returns the graph with these edges (E, 2), each in both directions once, with its length."""
    ends = np.unique(np.sort(ends, axis=1), axis=0)
    first, second = ends.T
    lengths = geometry.distance(*(codes[torch.from_numpy(each.copy())] for each in (first, second)))
    lengths = np.maximum(lengths.double().numpy(), SHORTEST)
    both = np.concatenate([ends, ends[:, ::-1]]).T
    return coo_array((np.tile(lengths, 2), tuple(both)), shape=(len(codes), len(codes))).tocsr()


def _joining_edges(codes: Tensor, part: np.ndarray) -> np.ndarray:
    """Returns the shortest edge (2,) from each part, but the largest, to another part: (parts - 1, 2).

    This is a step of Borůvka's algorithm for the minimum spanning tree: the number of parts at least halves. Memory
    holds the distances of a block of codes.

    Args:
        part: (N,) the number of each code's part.
    """
    parts = torch.from_numpy(part)
    rows = torch.from_numpy(np.flatnonzero(part != np.bincount(part).argmax()))
    found = []
    for block in rows.split(max(1, BLOCK // len(codes))):
        away = _distances(codes[block], codes).masked_fill(parts[block][:, None] == parts, np.inf)
        found.append(away.min(1))
    distances, others = (torch.cat([each[i] for each in found]).numpy() for i in (0, 1))
    rows = rows.numpy()
    order = np.lexsort((rows, distances, part[rows]))
    _, first = np.unique(part[rows][order], return_index=True)
    return np.stack([rows, others], axis=1)[order[first]]


def _distances(codes: Tensor, others: Tensor) -> Tensor:
    """Returns Euclidean distances (P, N), computed by subtraction, so that equal codes are at exactly 0."""
    return torch.cdist(codes, others, compute_mode="donot_use_mm_for_euclid_dist")


def _traced(before: np.ndarray, start: int, end: int) -> np.ndarray:
    """Returns the way from start to end, given the node before each node (N,) on the shortest way from the start."""
    way = [end]
    while way[-1] != start:
        way.append(before[way[-1]])
    return np.array(way[::-1], dtype=np.int64)


def check_path(path: str) -> None:
    """Raises UserError unless `path` is one of PATHS."""
    if path not in PATHS:
        raise UserError(f"path: must be one of {', '.join(PATHS)}, got {path!r}.")
