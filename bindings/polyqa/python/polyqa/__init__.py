"""Answers questions over your documents with any extractive reader, in any language."""

import os
import warnings

if "GOMP_SPINCOUNT" not in os.environ:
    # libtorch's threads sleep while they wait, beside other work many times faster than spinning.
    # libgomp reads it when torch loads it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# First: the extension finds the libraries that it is linked to among those of the process.
with warnings.catch_warnings():
    # torch warns where numpy is not installed, which nothing here needs.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    import torch

if str(torch.__version__).split(".")[:2] != ["2", "11"]:
    raise ImportError(
        f"polyqa needs torch 2.11 and found {torch.__version__}: pip install 'torch==2.11.*'"
    )

from polyqa._polyqa import Reader, __version__

__all__ = ["Reader", "__version__"]
