"""Measures whether samples are copies: their distances to training images, compared with held-out images."""

from dataclasses import dataclass

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation import metrics

NEIGHBOURS = 2  # training images shown beside a sample, in each space
SPACES = {"pixels": "pixels", "features": "the feature network's features"}


@dataclass(frozen=True)
class Nearness:
    """Euclidean distances to the training images in one space.

    Attributes:
        samples: (S,) distance of each sample to its nearest training image.
        unseen: (T,) the same for held-out images.
        neighbours: (S, 2) ids of the training images nearest to each sample, the nearest first; (S, 1) if there is
            only one training image.
    """

    samples: np.ndarray
    unseen: np.ndarray
    neighbours: np.ndarray

    @classmethod
    def measure(
        cls, samples: np.ndarray, train: np.ndarray | UnitImages, unseen: np.ndarray | UnitImages
    ) -> "Nearness":
        """Of (S, …), (N, …) and (T, …) images or features, of one kind."""
        distances = [metrics.nearest_distances(points, train)[0] for points in (samples, unseen)]
        return cls(*distances, metrics.nearest_indices(samples, train, NEIGHBOURS))

    def values(self) -> dict[str, float]:
        """`novelty` and `share_closer`, as `metrics` defines them."""
        return {
            "novelty": metrics.novelty(self.samples, self.unseen),
            "share_closer": metrics.share_closer(self.samples, self.unseen),
        }
