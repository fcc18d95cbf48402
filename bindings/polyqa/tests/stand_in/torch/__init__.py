"""Stands in for torch where it is not installed: the libraries of `.libtorch`, which are those of
torch's own wheel, loaded as `import torch` loads them, and its version. The Python half, and what
that does at import, is not tested with it."""

import ctypes
import os
from pathlib import Path

_folder = Path(os.environ["LIBTORCH"])
if (_folder / "build-version").exists():
    __version__ = (_folder / "build-version").read_text().strip()
else:
    exec((_folder / "version.py").read_text())
ctypes.CDLL(str(_folder / "lib/libtorch_global_deps.so"), mode=ctypes.RTLD_GLOBAL)
_libraries = ctypes.CDLL(str(_folder / "lib/libtorch_cpu.so"))
