#!/usr/bin/env bash
# Evaluate with one process per GPU: dist_test.sh CONFIG CHECKPOINT NGPU [options of test.py]
# Without GPUs NGPU counts processes on the CPU. Several machines: as dist_train.sh.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT NGPU [options of test.py]" >&2
    exit 2
fi
if ! [[ $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "error: NGPU is a number of processes, got '$3'" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck source=tools/nodes.sh
source "$here/nodes.sh"

exec python "$here/torchrun.py" "${nodes[@]}" --nproc_per_node="$3" \
    "$here/test.py" "$1" "$2" --launcher pytorch "${@:4}"
