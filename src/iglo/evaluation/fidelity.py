"""Measures how near renders are to their targets, image by image, so that two models can be compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.image_sets import Values, means_of
from iglo.evaluation.measure import BLOCK
from iglo.randomness import numpy_generator

MOST_FOR_KERNEL = 5000  # images of a part for the kernel distance, whose time grows with their square


class Renders:
    """N images that are rendered when they are read, so that memory need not hold them all.

    Args:
        render: gives the images of some rows, (M, H, W, C) float in [0, 1].
    """

    def __init__(self, render: Callable[[slice], np.ndarray], count: int):
        self.render, self.count = render, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.render(rows)


@dataclass(frozen=True, eq=False)
class Targets:
    """Images that renders are compared with.

    Attributes:
        images: N images; a slice of them is (M, H, W, C) float in [0, 1].
        network: the feature network.
        chosen: (K,) int64, the rows for which the kernel distance is measured, in ascending order.
        features: (K, D) of these rows.
    """

    images: UnitImages | Renders
    network: FeatureNetwork
    chosen: np.ndarray
    features: np.ndarray

    @classmethod
    def real(cls, images: np.ndarray, network: FeatureNetwork, seed: int, part: str) -> "Targets":
        """Returns real images (N, H, W, C) uint8 as targets.

        Args:
            seed: `evaluate.seed`. If there are more than MOST_FOR_KERNEL images, it draws that number of them.
            part: name of the part, for the stream of random numbers.
        """
        drawn = numpy_generator(seed, f"evaluation/{part}").permutation(len(images))[:MOST_FOR_KERNEL]
        chosen = np.sort(drawn)
        return cls(UnitImages(images), network, chosen, network.features(UnitImages(images[chosen])))

    @classmethod
    def rendered(cls, images: Renders, network: FeatureNetwork) -> "Targets":
        """Returns what another model renders as targets. The kernel distance to them is not measured."""
        return cls(images, network, np.empty(0, np.int64), np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Fidelity:
    """How near N renders are to their targets.

    Attributes:
        psnr: (N,) float64, in dB.
        distance: (N,) float64, LPIPS.
        features: (K, D), those of the renders for which the kernel distance is measured.
    """

    targets: Targets
    psnr: np.ndarray
    distance: np.ndarray
    features: np.ndarray

    @classmethod
    def measure(cls, renders: Renders, targets: Targets) -> "Fidelity":
        """Renders block by block, and compares each image with its target. There is at least one image."""
        network, size = targets.network, max(1, BLOCK // targets.images[:1].size)
        psnr, distance, features = [], [], []
        for start in range(0, len(targets), size):
            stop = min(start + size, len(targets))
            images, real = renders[start:stop], targets.images[start:stop]
            psnr.append(metrics.psnr_of_each(images, real))
            distance.append(np.asarray(network.distance(images, real), np.float64))
            first, last = np.searchsorted(targets.chosen, (start, stop))
            if last > first:
                features.append(network.features(images[targets.chosen[first:last] - start]))
        return cls(
            targets,
            np.concatenate(psnr),
            np.concatenate(distance),
            np.concatenate(features) if features else np.empty((0, 0)),
        )

    def rows(self, rows: slice) -> "Fidelity":
        """Returns the numbers of some rows. Targets must be real images. The kernel distance is not measured."""
        images = UnitImages(self.targets.images.pixels[rows])
        targets = replace(self.targets, images=images, chosen=self.targets.chosen[:0], features=self.features[:0])
        return Fidelity(targets, self.psnr[rows], self.distance[rows], self.features[:0])

    def values(self) -> Values:
        """Returns the means of PSNR and LPIPS, the kernel distance to the targets, and their standard errors in `se`.

        What needs more images is left out.
        """
        return self._means({"psnr": self.psnr, self.targets.network.distance_name: self.distance})

    def worse_than(self, other: "Fidelity") -> Values:
        """Returns how much worse these renders are than others of the same targets: a number above 0 is worse.

        The PSNR is that of the others minus that of these. LPIPS and kernel distance are those of these minus those of
        the others. The standard errors in `se` are those of paired differences.
        """
        differences = {
            "psnr": other.psnr - self.psnr,
            self.targets.network.distance_name: self.distance - other.distance,
        }
        return self._means(differences, other.features)

    def _means(self, per_image: dict[str, np.ndarray], others: np.ndarray | None = None) -> Values:
        """Returns means, the kernel distance (minus that of the features `others`), and standard errors."""
        values, errors = means_of(per_image)
        key = f"kd_{self.targets.network.feature_name}"
        if len(self.features) >= metrics.FEWEST_FOR_DISTANCE:
            values[key], error = metrics.paired_kernel_distance(self.features, self.targets.features, others)
            if len(self.features) >= metrics.FEWEST_FOR_DISTANCE_ERROR:
                errors[key] = error
        return {**values, "se": errors}
