#!/usr/bin/env bash
# `import torch` of PyPI's Linux wheel needs NVIDIA's libraries on machines without a GPU, while the
# library with all CPU kernels needs two small ones.
#
# `libtorch_cpu.so` of the CUDA build links only the CUDA runtime and CUPTI (13 MB of wheels), so
# programs that link libtorch, not Python, run on a CPU with 544 MB of downloads. `import torch`
# fails there: `libtorch_python.so` links cuDNN, NCCL, cuBLAS, cuFFT, cuSPARSE, cuRAND, cuFile and
# NVSHMEM, which together have over 2 GB.
# Versions: torch 2.11.0 (PyPI, CUDA 13.0), nvidia-cuda-runtime 13.0.96, nvidia-cuda-cupti 13.0.85.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install cpu --no-deps torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 \
    typing_extensions==4.15.0

with cpu - <<'PY'
import ctypes, pathlib, subprocess, sys, sysconfig

libraries = pathlib.Path(sysconfig.get_path("purelib")) / "torch/lib"

def missing(name):
    listing = subprocess.run(["ldd", libraries / name], capture_output=True, text=True, check=True).stdout
    return sorted({line.split()[0] for line in listing.splitlines() if "not found" in line})

ctypes.CDLL(str(libraries / "libtorch_cpu.so"))
print("libtorch_cpu.so is loaded; missing:", missing("libtorch_cpu.so"))
python = missing("libtorch_python.so")
print("libtorch_python.so, missing:", *python)
result = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, text=True)
print("import torch:", result.stderr.strip().splitlines()[-1])

assert missing("libtorch_cpu.so") == [], "libtorch_cpu.so needs more libraries"
names = {name.split(".")[0] for name in python}
expected = {"libcudnn", "libnccl", "libcublas", "libcufft", "libcusparse", "libcurand", "libcufile", "libnvshmem_host"}
assert expected <= names, expected - names
assert result.returncode != 0 and "libcudnn" in result.stderr, result.stderr
PY
