"""maturin's build backend, which first checks that pip would not replace another release of torch.

pip prints a backend's output only if it fails, or with `-v`, so notes are written to the terminal.
"""

import os
import re
import sys
import sysconfig

import maturin
from maturin import build_editable, build_sdist, build_wheel  # noqa: F401
from maturin import get_requires_for_build_editable, get_requires_for_build_sdist  # noqa: F401
from maturin import get_requires_for_build_wheel  # noqa: F401

# maturin warns about a build backend of another name.
os.environ.setdefault("MATURIN_NO_MISSING_BUILD_BACKEND_WARNING", "1")

RELEASE = "2.11"
VARIABLE = "POLYQA_REPLACE_TORCH"


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Runs before pip downloads the dependencies."""
    check_torch()
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    check_torch()
    return maturin.prepare_metadata_for_build_editable(metadata_directory, config_settings)


def check_torch():
    """Ends the process if the environment has another release of torch, which pip would replace."""
    version = installed_torch(sysconfig.get_paths())
    if version is None:
        notify(
            f"polyqa: this environment has no torch, so pip will download torch {RELEASE} with CUDA after the build: 2.7 GB, and "
            "4.6 GB on disk, which takes minutes. For the build without CUDA (0.5 GB), stop here and first run: "
            f"pip install torch=={RELEASE}.0 --index-url https://download.pytorch.org/whl/cpu"
        )
    elif version.split(".")[:2] != RELEASE.split(".") and not os.environ.get(VARIABLE):
        sys.exit(
            f"error: this environment has torch {version}, and polyqa needs torch {RELEASE}, because its compiled code uses "
            f"libtorch's C++ interface, which changes with every release. pip would replace torch {version} and download 2.7 GB. "
            f"Install polyqa into a new environment, as in its README, or set {VARIABLE}=1 to replace torch."
        )


def notify(message):
    """Writes a line to the terminal or, without a terminal, to standard error."""
    try:
        with open("/dev/tty", "w", encoding="utf-8") as terminal:
            print(message, file=terminal)
    except OSError:
        print(message, file=sys.stderr)


def installed_torch(paths):
    """Returns the version of the torch in the environment's folders; None if there is no torch."""
    for name in ("purelib", "platlib"):
        try:
            with open(os.path.join(paths[name], "torch", "version.py"), encoding="utf-8") as file:
                text = file.read()
        except OSError:
            continue
        found = re.search(r"^__version__\s*(?::\s*\w+\s*)?=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            return found.group(1)
    return None
