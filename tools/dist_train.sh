#!/usr/bin/env bash
# Train with one process per GPU: dist_train.sh CONFIG NGPU [options of train.py]
# Without GPUs NGPU counts processes on the CPU. Several machines: run it on each with NNODES,
# NODE_RANK, MASTER_ADDR (of the first) and PORT set.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG NGPU [options of train.py]" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --nproc_per_node="$2" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    "$here/train.py" "$1" --launcher pytorch "${@:3}"
