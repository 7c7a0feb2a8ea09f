"""Standard errors: how much a metric would change with other images."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Statistic = Callable[..., float | Sequence[float]]


def mean_error(values: np.ndarray) -> float:
    """Returns the standard error of the mean of independent values `(N,)`; 0 for a single value."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def ratio_error(numerator: float, numerator_error: float, denominator: float, denominator_error: float) -> float:
    """Returns the standard error of a ratio of two measured numbers, to first order.

    The two are taken as independent. If they share images, this is a little too large.

    Args:
        numerator, denominator: the numbers; the denominator is not 0.
        numerator_error, denominator_error: their standard errors.
    """
    of_denominator = numerator / denominator * denominator_error
    return float(np.hypot(numerator_error, of_denominator) / abs(denominator))


def bootstrap_error(
    statistic: Statistic, arrays: Sequence[np.ndarray], rng: np.random.Generator, repeats: int = 200
) -> float | tuple[float, ...]:
    """Returns the standard error of a statistic: its standard deviation over arrays of rows drawn with replacement.

    Rows that are drawn twice are their own neighbours, so take `half_sample_error` for metrics of nearest neighbours.

    Args:
        statistic: takes as many arrays as `arrays` has, and returns a number or several.
        arrays: each is drawn from by itself. If rows of two arrays belong together, pass an array of row numbers.
        rng: draws the rows.
        repeats: at least 2.

    Returns:
        A number, or a tuple with one for each number that `statistic` returns.
    """
    return _deviation(statistic, ([x[rng.integers(len(x), size=len(x))] for x in arrays] for _ in range(repeats)))


def half_sample_error(
    statistic: Statistic, arrays: Sequence[np.ndarray], rng: np.random.Generator, repeats: int = 100
) -> float | tuple[float, ...]:
    """Returns the standard error of a statistic: its standard deviation over random halves of the rows.

    A half without replacement varies as a mean over all rows does: σ² (2/N − 1/N) = σ²/N. No row is there twice.

    Args:
        statistic, arrays, rng, repeats: as for `bootstrap_error`; half of an array is rounded up.

    Returns:
        As `bootstrap_error`.
    """
    halves = ([x[rng.permutation(len(x))[: (len(x) + 1) // 2]] for x in arrays] for _ in range(repeats))
    return _deviation(statistic, halves)


def _deviation(statistic: Statistic, draws: Iterator[list[np.ndarray]]) -> float | tuple[float, ...]:
    deviation = np.std(np.array([statistic(*drawn) for drawn in draws], dtype=np.float64), axis=0, ddof=1)
    return tuple(deviation.tolist()) if deviation.ndim else float(deviation)
