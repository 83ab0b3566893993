#!/bin/sh
# Makes .venv with everything that the targets need, at pinned versions.
# PyTorch comes first and only as a CPU build: a bare `torch` on Linux brings gigabytes of CUDA packages.
# Where no CPU build is on offer the rest is installed without it, and what needs it says so.
set -eu

PYTHON=${PYTHON:-python3}
TORCH=2.13.0
TORCH_INDEX=https://download.pytorch.org/whl/cpu
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "layerpeel needs Python >= 3.11, got $("$PYTHON" --version 2>&1); name another one: make PYTHON=python3.12" >&2
    exit 2
}
pip() { .venv/bin/python -m pip -qq --disable-pip-version-check "$@"; }

echo "setting up .venv (once, about two minutes) ..."
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv

case $(uname -s) in
    Linux) wheel="torch==$TORCH+cpu" ;;
    *) wheel="torch==$TORCH" ;; # elsewhere the plain build is the CPU build
esac
extras=theory,convex,data,dev
if .venv/bin/python -c 'import torch' 2>/dev/null || pip install "$wheel" 2>/dev/null ||
    pip install "$wheel" --index-url "$TORCH_INDEX" 2>/dev/null; then
    extras=$extras,torch,frameworks
else
    echo "no CPU build of PyTorch $TORCH on offer here: going on without (tensors of PyTorch cannot be measured)." >&2
    echo "to add it: .venv/bin/pip install torch==$TORCH --index-url $TORCH_INDEX" >&2
fi
pip install -c constraints.txt -e ".[$extras]"
echo "set-up done."
