#!/usr/bin/env bash
# Creates .venv and installs what a level needs; what is already there is left alone.
#
#   tools/dev/setup_env.sh core    the package and its requirements
#   tools/dev/setup_env.sh dev     core, and the tools that check the code
#   tools/dev/setup_env.sh all     dev, mmcv with compiled operators, mmdet and mmseg
#
# PYTHON           interpreter that creates .venv (3.10 or newer; default: the first that fits)
# TORCH_INDEX_URL  another index for torch, such as https://download.pytorch.org/whl/cpu
# MMCV_CUDA        1 or 0: compile mmcv's CUDA operators or not (default: if a GPU and its nvcc are here)
# MAX_JOBS         compilers to run at once (default: by cores and memory)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=.venv
py=$venv/bin/python
log=$venv/install.log
stamps=$venv/.stamps
constraints=requirements/constraints.txt
ticker=
half_made=
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

# ---- steps ----

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

stop_ticker() {
    [ -z "$ticker" ] && return
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
}

clean_up() {
    stop_ticker
    [ -z "$half_made" ] || rm -rf "$half_made"
}

# run TITLE COMMAND...: one line of progress and the time it took; a dot every half minute.
run() {
    local title=$1 start=$SECONDS
    shift
    printf '[setup] %s ...' "$title"
    printf '\n== %s\n' "$title" >>"$log"
    (while sleep 30 >/dev/null 2>&1; do printf .; done) &
    ticker=$!
    if "$@" >>"$log" 2>&1; then
        stop_ticker
        printf ' %s s\n' $((SECONDS - start))
    else
        stop_ticker
        printf ' failed after %s s\n' $((SECONDS - start))
        printf -- '---- the last lines of %s:\n' "$log" >&2
        tail -n 30 "$log" >&2
        die "$title: failed. The same command, run again, goes on from here."
    fi
}

# key WORD... -- FILE...: what a step depends on, as one line.
key() {
    while [ "$1" != -- ]; do
        printf '%s ' "$1"
        shift
    done
    shift
    cat "$@" | cksum
}

stamped() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }

stamp() {
    mkdir -p "$stamps"
    printf '%s\n' "$2" >"$stamps/$1"
}

# step NAME KEY TITLE COMMAND...: runs once for each value of KEY.
step() {
    local name=$1 key=$2
    shift 2
    stamped "$name" "$key" && return
    run "$@"
    stamp "$name" "$key"
}

# ---- .venv ----

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10 python3.13}; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    candidate=${PYTHON:-python3}
    die "Python 3.10 or newer is needed, and $candidate is" \
        "$("$candidate" -V 2>/dev/null || echo missing); set PYTHON=/path/to/python3"
}

create_venv() {
    local python
    if [ -e "$venv" ]; then
        if new_enough "$py" && "$py" -c 'import pip' 2>/dev/null; then return; fi
        die "$venv holds no working Python 3.10 or newer with pip; 'make distclean' removes it"
    fi
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module; on Debian and Ubuntu: apt install python3-venv"
    half_made=$venv
    mkdir "$venv"
    run "creating $venv with $("$python" -V)" "$python" -m venv "$venv"
    half_made=
}

# ---- packages ----

pip_install() { "$py" -m pip install -c "$constraints" "$@"; }

torch_index() { pip_install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} "$@"; }

# The exact version of a package in the tested set.
pinned() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" "$constraints"; }

install_package() {
    pip_install setuptools wheel && pip_install --no-deps --no-build-isolation -e .
}

mmcv_wheel() { "$py" tools/dev/mmcv_wheel.py "$1" "$(pinned onedl-mmcv)"; }

install_mmcv() {
    local key=$1 version
    stamped mmcv "$key" && return
    version=$(pinned onedl-mmcv)
    if mmcv_wheel find >>"$log" 2>&1; then
        run "mmcv $version, compiled before" mmcv_wheel install
        if ! mmcv_wheel check >>"$log" 2>&1; then
            echo '[setup] the kept mmcv wheel does not work here; it is built again'
            run "compiling mmcv $version" mmcv_wheel build
            run "mmcv $version" mmcv_wheel install
        fi
    else
        run "compiling mmcv $version, once (20 minutes / cores)" mmcv_wheel build
        run "mmcv $version" mmcv_wheel install
    fi
    run "trying mmcv's operators" mmcv_wheel check
    stamp mmcv "$key"
}

# transfer.txt says why some come without their own requirements.
install_transfer() {
    pip_install -r <(grep -vE '^(onedl-|imaug)' requirements/transfer.txt) &&
        pip_install --no-deps --no-build-isolation onedl-mmdetection onedl-mmsegmentation imaug &&
        "$py" -c 'import mmdet.datasets, mmseg.datasets'
}

# ---- levels ----

install_core() {
    step torch "$(key "${TORCH_INDEX_URL:-}" -- "$constraints")" \
        "torch $(pinned torch)" torch_index torch torchvision
    step runtime "$(key "${TORCH_INDEX_URL:-}" -- "$constraints" requirements/runtime.txt)" \
        'what the core needs' torch_index -r requirements/runtime.txt
    step package "$(key "$PWD" -- setup.py mmssl/version.py requirements/*.txt)" \
        'mmssl, editable' install_package
}

install_dev() {
    step tests "$(key -- "$constraints" requirements/tests.txt)" \
        'tools that check the code' pip_install -r requirements/tests.txt
}

install_all() {
    step ninja "$(key -- "$constraints")" 'ninja' pip_install ninja
    install_mmcv "$(key "${TORCH_INDEX_URL:-}" "${MMCV_CUDA:-}" -- "$constraints")"
    step transfer "$(key -- "$constraints" requirements/transfer.txt)" \
        'mmdet and mmseg' install_transfer
}

level=${1:-core}
case $level in
    core | dev | all) ;;
    *) die "level '$level' is not one of core, dev, all" ;;
esac
trap clean_up EXIT
trap 'exit 130' INT TERM
create_venv
install_core
[ "$level" = core ] || install_dev
[ "$level" != all ] || install_all
