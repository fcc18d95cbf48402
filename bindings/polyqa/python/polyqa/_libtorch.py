"""Finds torch, whose libtorch the extension uses, and checks its version."""

import importlib.util
import os
import re
import sys
import warnings
from typing import Optional

# The release of torch whose libtorch the extension is linked to, as in pyproject.toml.
RELEASE = "2.11"

_HOW_TO_FIX = (
    f"To use torch {RELEASE} in this environment: pip install 'torch=={RELEASE}.*'. To keep the environment as it "
    "is, install polyqa into another one (python3 -m venv polyqa-env)"
)


def provide() -> None:
    """Checks torch's version, and loads torch unless the extension finds libtorch without it.

    Raises ImportError, with one line, for another version.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        _check(str(torch.__version__))
        return
    folder = _torch_folder()
    version = _version(folder)
    if version is not None:
        _check(version)
    here = os.path.dirname(os.path.abspath(__file__))
    sibling = os.path.join(os.path.dirname(here), "torch")
    if version is not None and os.path.realpath(sibling) == os.path.realpath(folder):
        # The extension's run path leads to torch/lib. Without torch's Python code, the program starts
        # several times faster. torch can still be imported later.
        return
    with warnings.catch_warnings():
        # torch warns if numpy is not installed; this package does not need it.
        warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
        import torch
    _check(str(torch.__version__))


def _torch_folder() -> str:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(f"polyqa needs torch {RELEASE}, which is not installed. {_HOW_TO_FIX}")
    return os.path.dirname(spec.origin)


def _version(folder: str) -> Optional[str]:
    """Returns the version in torch/version.py, or None if it is not there."""
    try:
        with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return None
    found = re.search(r"^__version__\s*(?::\s*\w+\s*)?=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found and found.group(1)


def _check(version: str) -> None:
    if version.split(".")[:2] != RELEASE.split("."):
        raise ImportError(
            f"polyqa needs torch {RELEASE} and found {version}: its compiled code uses libtorch's C++ interface, which "
            f"changes with every release of torch. {_HOW_TO_FIX}"
        )
