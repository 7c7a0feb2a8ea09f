"""iglo: image generators by incremental generative latent optimization."""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when torch is imported
