# Sourced by the scripts of this folder: temporary Python environments with pinned packages.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# install NAME PACKAGE==VERSION…: creates a Python environment with the packages.
install() {
    local name=$1
    shift
    python3 -m venv "$folder/$name"
    "$folder/$name/bin/python3" -m pip install --quiet "$@"
}

# with NAME ARGUMENT…: runs the Python of an environment.
with() {
    local name=$1
    shift
    "$folder/$name/bin/python3" "$@"
}
