#!/usr/bin/env bash
# Train with one process per GPU: dist_train.sh CONFIG NGPU [options of train.py]
# Without GPUs NGPU counts processes on the CPU. Several machines: run it on each with NNODES,
# NODE_RANK, MASTER_ADDR (of the first) and PORT set; started by srun with one task per node it
# takes them from Slurm. NNODES=1:4 is elastic: machines come and go; add --resume.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG NGPU [options of train.py]" >&2
    exit 2
fi
if ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "error: NGPU is a number of processes, got '$2'" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck source=tools/nodes.sh
source "$here/nodes.sh"

exec python "$here/torchrun.py" "${nodes[@]}" --nproc_per_node="$2" \
    "$here/train.py" "$1" --launcher pytorch "${@:3}"
