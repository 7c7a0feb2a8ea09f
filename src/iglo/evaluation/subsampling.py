"""Standard errors of numbers that compare two sets of images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

REPEATS = 24  # subsamples; the standard error is then known to about 15 %
MOST = 1000  # images of the larger set in a subsample, so that the cost does not grow with the images

Statistics = Callable[..., Mapping[str, float]]


def subsampling_errors(
    statistics: Statistics, counts: Sequence[int], rng: np.random.Generator, repeats: int = REPEATS
) -> dict[str, float]:
    """Returns the standard errors of several statistics of some sets, by the jackknife that leaves out many images.

    They are computed again on subsamples of a share f of each set, drawn without replacement. The variance of a mean
    over such a subsample is (1 - f) / f times the variance of the mean of the whole set, so standard deviations are
    multiplied by √(f / (1 - f)); f is 1/2, or less for large sets. A bootstrap would draw images twice, and a measure
    that looks for the nearest images would find their copies.

    Args:
        statistics: takes the chosen rows of each set, (M,) each, and returns numbers by name. A number that is missing
            for a subsample has no standard error.
        counts: the number of images of each set.
    """
    share = min(0.5, MOST / max(*counts, 1))
    sizes = [int(share * count) for count in counts]
    if not all(sizes):
        return {}
    drawn = [
        statistics(*(rng.permutation(count)[:size] for count, size in zip(counts, sizes, strict=True)))
        for _ in range(repeats)
    ]
    scale = (share / (1 - share)) ** 0.5
    return {name: scale * float(np.std([each[name] for each in drawn], ddof=1)) for name in drawn[0]}
