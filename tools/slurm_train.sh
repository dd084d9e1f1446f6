#!/usr/bin/env bash
# Train on a Slurm cluster, waiting here: slurm_train.sh PARTITION JOB CONFIG WORK_DIR [options of train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8; 0 for nodes without GPUs), GPU_ARGS (--gres=gpu:8; or
# --gpus-per-task=1), CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG WORK_DIR [options of train.py]" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck source=tools/slurm_place.sh
source "$here/slurm_place.sh"
read -ra extra <<<"${SRUN_ARGS:-}"

exec srun --partition="$1" --job-name="$2" "${place[@]}" --kill-on-bad-exit=1 "${extra[@]}" \
    python -u "$here/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
