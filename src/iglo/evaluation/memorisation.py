"""Measures whether samples are copies of training images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.subsampling import half_sample_errors
from iglo.randomness import numpy_generator

NEIGHBOURS = 2  # training images that figures show with each sample, in each space
SPACES = {"pixels": "pixels", "features": "the feature network's features"}


@dataclass(frozen=True)
class Nearness:
    """Distances of samples and of test images to the training images, Euclidean, in one space.

    Attributes:
        samples: (S,) distance of each sample to its nearest training image.
        unseen: (T,) the same for test images.
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
        """Measures samples (S, …), training images (N, …) and test images (T, …), all pixels or all features."""
        distances, neighbours = metrics.nearest(samples, train, NEIGHBOURS)
        return cls(distances[:, 0], metrics.nearest(unseen, train)[0][:, 0], neighbours)

    def values(self, seed: int) -> dict[str, Any]:
        """Returns `novelty` and `share_closer`, as `metrics` defines them, and `se`, their standard errors.

        Args:
            seed: `evaluate.seed`, for standard errors.
        """

        def statistics(samples: slice | np.ndarray, unseen: slice | np.ndarray) -> dict[str, float]:
            near, known = self.samples[samples], self.unseen[unseen]
            return {"novelty": metrics.novelty(near, known), "share_closer": metrics.share_closer(near, known)}

        rng = numpy_generator(seed, "memorisation/errors")
        errors = half_sample_errors(statistics, (len(self.samples), len(self.unseen)), rng)
        return {**statistics(slice(None), slice(None)), "se": errors}
