"""What users of scikit-learn expect: kinds of X, random states, errors, and that a failed fit changes nothing."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from iglo.data.user_images import in_one_array
from iglo.errors import UserError

DTYPES = (np.float64, np.float32, np.uint8)  # accepted types of X; anything else is converted to the first


def as_rows(X: Any) -> tuple[Any, tuple[int, ...] | None, Any]:
    """Returns X with a row per sample, the shape of an image if X has images, and the types that X may have."""
    X = in_one_array(X)
    images = getattr(X, "ndim", None) in (3, 4)
    item_shape = tuple(X.shape[1:]) if images else None
    X = X.reshape(len(X), math.prod(item_shape)) if images else X
    dtype = np.uint8 if np.asarray(X).dtype == np.uint8 else DTYPES  # sklearn may not find a data frame's type
    return X, item_shape, dtype


def seed_of(random_state: Any) -> int:
    """Returns the seed of the pipeline: an int as it is, else the next number of the generator, as in scikit-learn."""
    generator = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, Integral) else int(generator.randint(2**31 - 1))


def mean_square(images: np.ndarray, rows: np.ndarray) -> float:
    """Computes the mean squared error of images (n, ...), as many values as the rows (n, F) have."""
    return float(np.mean((images.reshape(rows.shape).astype(np.float64) - rows) ** 2))


@contextmanager
def value_errors() -> Iterator[None]:
    """Raises the library's errors as ValueError, which users of scikit-learn expect."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from None


@contextmanager
def unchanged_if_failed(estimator: Any) -> Iterator[None]:
    """Restores the attributes of an estimator if the block ends with an error or is interrupted."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise
