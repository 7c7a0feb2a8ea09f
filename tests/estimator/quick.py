"""Estimators that are quick to fit, and bad."""

from sklearn.datasets import load_digits

from iglo.estimator import IncrementalGLO

DIGITS = load_digits().data  # (1797, 64), 0 to 16
LENGTH = 5  # of a code


def quick(**changes) -> IncrementalGLO:
    epochs = {"subset_epochs": 1, "epochs": 1, "encoder_epochs": 1, "joint_epochs": 1}
    small = {"n_components": LENGTH, "width": 4, "batch_size": 16, "random_state": 0}
    return IncrementalGLO(**epochs | small | changes)


def bits(model: IncrementalGLO) -> list[bytes]:
    """All that a fitted model gives, bit for bit."""
    return [each.tobytes() for each in (model.codes_, model.transform(DIGITS[:40]), model.sample(4, random_state=5))]
