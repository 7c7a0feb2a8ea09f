"""iglo: image generators by incremental generative latent optimization."""

import os

# Read by torch when it is imported: deterministic cuBLAS, and huge pages for large tensors on a CPU, which would
# otherwise spend a third of a training step on page faults.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
