# Shared by the shell tests of this folder; source it first. One line per checked behaviour; `finish` at the end.
# shellcheck shell=bash
set -uo pipefail
: "${PLEIAD:?program}" "${PLEIAD_F64:?program in double precision}" "${PLEIAD_SOURCE:?source tree}" "${TEST_TMP:?empty folder}" "${MPIRUN:=mpirun}"
cd "$TEST_TMP" || exit 1
# shellcheck source=/dev/null
source "$PLEIAD_SOURCE/experiments/env.sh"
# Open MPI jobs that start and end at the same time in one folder remove each other's files.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export OMPI_MCA_odls_base_sigkill_timeout=0  # when a rank ends with an error mpirun otherwise waits a second
failures=0

# check WHAT COMMAND...: passes if the command does; its output is shown only if it fails.
check() {
    local what=$1
    shift
    if "$@" >last_check.log 2>&1; then
        echo "ok      $what"
    else
        echo "FAILED  $what   [$*]"
        tail -n 12 last_check.log | sed 's/^/        | /'
        failures=$((failures + 1))
    fi
}

# pleiad_on RANKS ARGS...: the program on so many ranks; one rank needs no mpirun.
pleiad_on() {
    local ranks=$1
    shift
    if [[ $ranks == 1 ]]; then
        timeout -k 5 60 "$PLEIAD" "$@"
    else
        timeout -k 5 60 "$MPIRUN" -n "$ranks" "$PLEIAD" "$@"
    fi
}

# exits CODE COMMAND...: true if the command ends with that code.
exits() {
    local expected=$1
    shift
    "$@"
    local code=$?
    [[ $code == "$expected" ]] || { echo "exit code $code, expected $expected"; return 1; }
}

# says FILE PATTERN...: true if every pattern occurs.
says() {
    local file=$1 pattern
    shift
    for pattern in "$@"; do
        grep -Eq -- "$pattern" "$file" || { echo "no '$pattern' in:"; cat "$file"; return 1; }
    done
}

# same_output FILE COMMAND...: true if the command prints what the file holds.
same_output() {
    "${@:2}" >again.txt 2>again.err || { cat again.txt again.err; return 1; }
    cmp "$1" again.txt
}

# tiny_config STEPS: writes tiny.ini, a run on corpus.h5 that saves every 700 steps.
tiny_config() {
    cat >tiny.ini <<INI
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
[moe]
preset = gshard
experts = 5
expert_width = 24
[train]
steps = $1
batch_sequences = 12
lanes = 8
eval_every = 400
eval_windows = 10
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 700
INI
}

# An interpreter with h5py, or nothing.
python_with_h5py() {
    local python
    for python in /usr/bin/python3 python3; do
        if command -v "$python" >/dev/null && "$python" -c 'import h5py, numpy' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

require_python() {
    PYTHON=$(python_with_h5py)
    if [[ -z $PYTHON ]]; then
        echo "skipped: no python3 with h5py and numpy (Debian package python3-h5py)"
        exit 77
    fi
    export PYTHONDONTWRITEBYTECODE=1
}

# runs WHAT ARGS...: compares runs, see _runs.py; after require_python.
runs() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_runs.py" "$@"; }

finish() {
    if [[ $failures -gt 0 ]]; then
        echo "$failures checks failed"
        exit 1
    fi
    exit 0
}
