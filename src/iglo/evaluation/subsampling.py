"""Standard errors of several numbers of two sets of images at once, at a cost that does not grow with the images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from iglo.evaluation import metrics

REPEATS = 24  # halves; a standard error is then known to about 15 %
MOST = 2000  # images of the larger set that are halved

Statistics = Callable[..., Mapping[str, float]]


def half_sample_errors(statistics: Statistics, counts: Sequence[int], rng: np.random.Generator) -> dict[str, float]:
    """Returns the standard errors of several statistics of some sets, each by `metrics.half_sample_error`.

    If a set is larger than MOST, a random share of the rows is halved, and the deviation is multiplied by the root of
    the share.

    Args:
        statistics: takes the chosen rows of each set, (M,) each, and returns numbers by name. A number that needs more
            images than the halves have is missing, and has no standard error.
        counts: the number of images of each set.
    """
    if min(counts) < 2:
        return {}
    share = min(1.0, MOST / max(counts))
    rows = [rng.permutation(count)[: max(2, round(share * count))] for count in counts]
    names = list(statistics(*(some[: (len(some) + 1) // 2] for some in rows)))
    if not names:
        return {}
    deviations = metrics.half_sample_error(lambda *halves: [*statistics(*halves).values()], rows, rng, REPEATS)
    return {name: share**0.5 * deviation for name, deviation in zip(names, deviations, strict=True)}
