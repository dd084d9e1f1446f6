# shellcheck shell=bash disable=SC2034
# Sourced by slurm_*.sh: what a job asks Slurm for, in `place`, and the threads of its processes.
per_node=${GPUS_PER_NODE:-8}
place=(--ntasks="${GPUS:-8}")
if [ "$per_node" -gt 0 ]; then
    read -ra gpus <<<"${GPU_ARGS:---gres=gpu:$per_node}"
    place+=("${gpus[@]}" --ntasks-per-node="$per_node")
fi
place+=(--cpus-per-task="${CPUS_PER_TASK:-5}")
# as torchrun has it: the cores are for the workers of the loaders
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
