#!/usr/bin/env bash
# Runs a program of .venv, or of the environment that is active where there is no .venv.
#
#   tools/dev/with_env.sh ruff check .
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH=$repo/.venv/bin:$PATH
if ! command -v "$1" >/dev/null; then
    echo "error: $1 is not installed; make install-all, or pip install '${repo}[tests]'" >&2
    exit 1
fi
exec "$@"
