#!/usr/bin/env bash
# Runs every check of docs/gpu.md and writes the dated table gpu-report.md.
#
#     ./run.sh            on a GPU; needs python3 with torch 2.11.0
#     ./run.sh --cpu      the same checks at a few steps each, without a GPU
#
# LD_LIBRARY_PATH, where it is set, wins over the libtorch that python3 has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ -z "${LD_LIBRARY_PATH:-}" ]]; then
    torch=$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))') || {
        echo "error: python3 has no torch; install torch==2.11.0, or set LD_LIBRARY_PATH" >&2
        exit 2
    }
    export LD_LIBRARY_PATH="$torch"
fi
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
exec python3 checks.py "$@"
