"""A replacement for torch, used if torch is not installed. It loads the libraries of `.libtorch`, which
torch's wheel also contains, in the order of `import torch`, and defines `__version__`. torch's Python
code is not tested with this replacement."""

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
