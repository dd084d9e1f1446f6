#!/usr/bin/env bash
# Runs tools/gpu.py with an interpreter that is there, without installing anything.
#
#   PYTHON=python3 WHEELS=wheels tools/dev/gpu.sh --budget 360
#
# PYTHON  interpreter that has torch, torchvision and timm (default: python3)
# WHEELS  folder of pure-Python wheels of what it lacks, such as onedl-mmengine, addict, yapf
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
path=$root
if [ -n "${WHEELS:-}" ]; then
    # unpacked, because packages read data files of their own
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    found=
    for wheel in "$WHEELS"/*.whl; do
        [ -f "$wheel" ] || continue
        "$python" -m zipfile -e "$wheel" "$unpacked"
        found=1
    done
    [ -n "$found" ] || {
        echo "error: WHEELS=$WHEELS: no .whl file there" >&2
        exit 2
    }
    path=$path:$unpacked
fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH}
"$python" "$root/tools/gpu.py" "$@"
