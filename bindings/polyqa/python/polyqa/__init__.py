"""Answers questions over your documents with any extractive reader, in any language."""

import os
import warnings

if "GOMP_SPINCOUNT" not in os.environ:
    # With this setting, libtorch's waiting threads sleep instead of spinning, which is many times
    # faster if other programs use the cores. libgomp reads the setting when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# torch is imported first, because the extension uses the libraries that torch loads.
with warnings.catch_warnings():
    # torch warns if numpy is not installed; this package does not need it.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    import torch

if str(torch.__version__).split(".")[:2] != ["2", "11"]:
    raise ImportError(
        f"polyqa needs torch 2.11 and found {torch.__version__}: pip install 'torch==2.11.*'"
    )

from polyqa._polyqa import Reader, __version__

__all__ = ["Reader", "__version__"]
