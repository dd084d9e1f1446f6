#!/usr/bin/env bash
# Queue a training that outlives time limits: slurm_submit.sh PARTITION JOB CONFIG WORK_DIR [options of train.py]
# Slurm signals the job GRACE seconds (300) before its limit; it saves, goes back into the queue and
# continues from there. Environment: as slurm_train.sh, and SBATCH_ARGS (such as --time=24:00:00).
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG WORK_DIR [options of train.py]" >&2
    exit 2
fi
# Slurm runs a copy of this file, so the first start tells the second where the tools are
here=${MMSSL_TOOLS:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
# shellcheck source=tools/slurm_place.sh
source "$here/slurm_place.sh"

if [ -z "${MMSSL_TOOLS:-}" ]; then
    mkdir -p "$4"
    read -ra extra <<<"${SBATCH_ARGS:-}"
    MMSSL_TOOLS=$here exec sbatch --partition="$1" --job-name="$2" "${place[@]}" \
        --requeue --open-mode=append --output="$4/slurm-%j.out" --signal="B:USR1@${GRACE:-300}" \
        "${extra[@]}" "$here/slurm_submit.sh" "$@"
fi

# inside the job ---------------------------------------------------------------------------------
asked='' again='' step=''
# shellcheck disable=SC2329  # trap calls it
forward() {
    asked=yes again=yes
    echo "job $SLURM_JOB_ID: the time limit is near, asking the training to save"
    [ -z "$step" ] || kill -USR1 "$step"
}
trap forward USR1
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
read -ra extra <<<"${SRUN_ARGS:-}"
srun --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 "${extra[@]}" \
    python -u "$here/train.py" "$3" --work-dir "$4" --launcher slurm --resume "${@:5}" &
step=$!
[ -z "$asked" ] || kill -USR1 "$step" # it came in between
while true; do # a signal ends `wait` before the training does
    again=''
    status=0
    wait "$step" || status=$?
    [ -n "$again" ] || break
done
if [ -n "$asked" ] && [ "$status" -ne 0 ]; then
    echo "job $SLURM_JOB_ID: back into the queue"
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
