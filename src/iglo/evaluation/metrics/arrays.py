"""What several metrics share: chunks of rows, flat rows, and a ratio that stays finite."""

from collections.abc import Iterator

import numpy as np

RATIO_FLOOR = 1e-12


def flat(points: np.ndarray) -> np.ndarray:
    """Returns points `(M, …)` as rows `(M, D)` float64."""
    return np.asarray(points, dtype=np.float64).reshape(len(points), -1)


def chunks(length: int, chunk: int) -> Iterator[slice]:
    """Yields slices of at most `chunk` rows that cover all `length` rows."""
    return (slice(start, min(start + chunk, length)) for start in range(0, length, chunk))


def ratio(numerator: float, denominator: float) -> float:
    """Returns a quotient of two distances, which is finite, and 1 if both are 0."""
    return float(max(numerator, RATIO_FLOOR) / max(denominator, RATIO_FLOOR))
