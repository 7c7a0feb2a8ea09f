"""iglo: image generators by incremental generative latent optimization."""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when torch is imported

# public names and their modules, which are imported at first use, because importing torch takes seconds
_HOMES = {"IncrementalGLO": "iglo.estimator.estimator", "load": "iglo.export.api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
