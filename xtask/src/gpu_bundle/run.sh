#!/usr/bin/env bash
# Runs every check of docs/results/gpu.md and writes the dated table gpu-report.md.
#
#     ./run.sh            on a GPU; requires python3 with torch 2.11.0
#     ./run.sh --cpu      most of the checks at a few steps each, without a GPU
#
# Uses python3's torch, or the libtorch in LIBTORCH if this variable is set. The folder of its
# libraries is prepended to LD_LIBRARY_PATH, because GPU machines often set this variable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ -n "${LIBTORCH:-}" ]]; then
    torch="$LIBTORCH/lib"
else
    torch=$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))') || {
        echo "error: python3 has no torch; install torch==2.11.0, or set LIBTORCH to its folder" >&2
        exit 2
    }
fi
if [[ ! -e "$torch/libtorch.so" ]]; then
    echo "error: $torch contains no libtorch.so; set LIBTORCH to the folder of libtorch 2.11.0" >&2
    exit 2
fi
export LD_LIBRARY_PATH="$torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
exec python3 checks.py "$@"
