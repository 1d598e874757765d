#!/usr/bin/env bash
# Training on 2 ranks under valgrind: a run saves, stops and is continued. A read or write of what is not there, or a decision on memory that
# nobody has set, is a failure; what Open MPI and PMIx do is forgiven by their own file and tests/support/valgrind.supp. The program
# is a build of its own (build/valgrind): valgrind does not know AVX-512. Skipped without valgrind or clang.
# PROCESSORS 2
# TIMEOUT 900
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_clang.sh
source "$PLEIAD_SOURCE/tests/cli/_clang.sh"
if ! command -v valgrind >/dev/null; then
    echo "skipped: no valgrind (Debian package valgrind)"
    exit 77
fi
require_clang ""
"$PLEIAD_SOURCE/experiments/build" valgrind --target pleiad || exit 1
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
PLEIAD=$PLEIAD_SOURCE/build/valgrind/bin/pleiad
export OPENBLAS_CORETYPE=Haswell ONEDNN_MAX_CPU_ISA=AVX2
suppressions=(--suppressions="$PLEIAD_SOURCE/tests/support/valgrind.supp")
theirs=${OPAL_PREFIX:-/usr}/share/openmpi/openmpi-valgrind.supp
if [[ -f $theirs ]]; then suppressions+=(--suppressions="$theirs"); fi

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 3000 --document 64 --seed 5
cat >tiny.ini <<'INI'
[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[moe]
preset = gshard
experts = 3
expert_width = 12
[train]
steps = 3
batch_sequences = 4
lanes = 4
eval_every = 3
eval_windows = 4
sample_every = 3
sample_tokens = 4
[data]
corpus = corpus.h5
[checkpoint]
every = 2
[metrics]
record_routing = sampled
INI
# checked NAME ARGS...: pleiad on 2 ranks under valgrind; what that found is in NAME.PID.txt and shown.
checked() {
    timeout -k 5 400 "$MPIRUN" -n 2 valgrind -q --error-exitcode=99 "${suppressions[@]}" --log-file="$1.%p.txt" "$PLEIAD" "${@:2}" && return
    cat "$1".*.txt | head -n 12  # as many as check shows
    return 1
}
check "training, saved and stopped at step 2" checked start train --config tiny.ini --out run --stop-at 2
check "... and continued" checked go_on train --resume run
check "... to its end" test -e run/finished.json
finish
