# shellcheck shell=bash disable=SC2034
# Sourced by dist_train.sh and dist_test.sh: torchrun's options for the machines, in `nodes`.
# What is set by hand wins; else one task per node of an srun knows the nodes, this one's number
# and the first one's address; else there is this machine alone.
if [ -n "${SLURM_STEP_NODELIST:-}" ] && [ -z "${NNODES:-}" ] && [ "${SLURM_STEP_NUM_NODES:-1}" = "${SLURM_STEP_NUM_TASKS:-0}" ]; then
    NNODES=$SLURM_STEP_NUM_NODES
    NODE_RANK=$SLURM_NODEID
    MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1)}
    PORT=${PORT:-$((20000 + (SLURM_JOB_ID * 7 + SLURM_STEP_ID) % 20000))}
fi
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
case ${NNODES:-1} in
*:*) # elastic: whoever comes gets a number; the machine of MASTER_ADDR keeps the list
    nodes=(--nnodes="$NNODES" --rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT"
        --rdzv_id="${RUN_ID:-mmssl}" --max_restarts="${MAX_RESTARTS:-100}")
    # torch 2.11: the store that agents share by default is announced to the first comers only, and
    # a machine that joins later waits for it in vain (pytorch issue 135712 is a relative)
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-1}
    ;;
*)
    nodes=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
        --master_addr="$MASTER_ADDR" --master_port="$PORT")
    ;;
esac
