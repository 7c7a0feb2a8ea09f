"""What a classifier recognises in images, from its probabilities."""

import numpy as np


def top_classes(probabilities: np.ndarray, mass: float = 0.5) -> np.ndarray:
    """Returns the classes that a set of real images gets: the fewest that hold `mass` of their mean probability.

    Args:
        probabilities: `(N, K)` of each image for each class; rows sum to 1. Validation images, so that no image that
            is measured has a part in the choice.
        mass: in (0, 1].

    Returns:
        Ids of at least one class, the most probable first. Equally probable classes come in the order of their ids.
    """
    mean = np.mean(probabilities, axis=0, dtype=np.float64)
    order = np.argsort(-mean, kind="stable")
    count = np.searchsorted(np.cumsum(mean[order]), mass * mean.sum()) + 1
    return order[:count]


def recognised(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the probability that each image belongs to one of the classes `(N,)`, in [0, 1].

    Args:
        probabilities: `(N, K)`
        classes: ids, as `top_classes` returns them.
    """
    return np.sum(np.asarray(probabilities)[:, classes], axis=1, dtype=np.float64)


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """Returns the largest probability of each image `(N,)`, in [1 / K, 1], whatever class it is.

    Args:
        probabilities: `(N, K)`
    """
    return np.max(probabilities, axis=1).astype(np.float64)
