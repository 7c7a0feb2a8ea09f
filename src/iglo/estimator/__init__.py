"""The scikit-learn estimator, imported when first asked for, because torch takes seconds to import."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "IncrementalGLO":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from iglo.estimator.estimator import IncrementalGLO

    return IncrementalGLO
