"""Answers questions over your documents with any extractive reader, in any language."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyqa._polyqa import Collection, Reader, __version__

__all__ = ["Collection", "Reader", "__version__"]

if "GOMP_SPINCOUNT" not in os.environ:
    # With this setting, libtorch's waiting threads sleep instead of spinning, which is many times
    # faster if other programs use the cores. libgomp reads the setting when libtorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str):
    """Loads the extension when it is first used, so that the program can report errors in one line."""
    if name not in (*__all__, "_polyqa"):
        raise AttributeError(f"module 'polyqa' has no attribute {name!r}")
    from polyqa import _libtorch

    _libtorch.provide()
    import importlib

    extension = importlib.import_module("polyqa._polyqa")
    globals().update({name: getattr(extension, name) for name in __all__})
    return globals()[name]
