#!/usr/bin/env bash
# pleiad simulate calibrate --quick on 1 and 2 ranks: a file that predictions read; bad arguments. Never how fast anything is.
# PROCESSORS 2
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"

cat >model.ini <<'END'
[model]
width = 32
layers = 2
heads = 2
seq_len = 16
[moe]
preset = gshard
experts = 4
expert_width = 16
[train]
batch_sequences = 8
lanes = 4
END

cores=$(getconf _NPROCESSORS_ONLN)
for ranks in 1 2; do
    if ((ranks > cores)); then
        echo "skipped: $ranks ranks want as many cores, here are $cores"
        continue
    fi
    check "$ranks ranks" pleiad_on $ranks simulate calibrate --quick --out "$ranks.ini" --name "here $ranks"
    cp last_check.log said.txt
    check "... says what was made" says said.txt "^$ranks.ini: 1 nodes of $ranks ranks, $ranks cores; measured 20[0-9T:Z-]+ by pleiad "
    check "... every section, and where it is from" says "$ranks.ini" '^\[cluster\]' "^name = here $ranks$" '^origin = measured 20.* with --quick.* load average before [0-9.]+' \
        '^gemm_gflops = [0-9.e+-]+(,[0-9.e+-]+){3}$' '^gradient_gflops = [0-9]' '^element_rate = [0-9]' '^route_ns = [0-9]' '^plan_ns = [0-9]' '^key_ns = [0-9]' '^claim_ns = [0-9]' '^expert_us = [0-9]' \
        '^stream_gbs = [0-9]' '^cached_gbs = [0-9.e+-]+,[0-9]' '^copy_gbs = [0-9]' '^random_gbs = [0-9.e+-]+(,[0-9.e+-]+){5}$' '^message_us = [0-9]' '^\[phases\]' '^attention = [0-9]' '^expert = [0-9]' '^grad_sync = [0-9]'
    check "... and steps beside what its rates say" says said.txt '^step of model tiny on 1 rank: measured [0-9.]+ ms, by the rates [0-9.]+ ms; measured over that: [0-9.]+, '
    check "... a prediction reads it" pleiad_on 1 simulate --config model.ini --cluster "$ranks.ini"
done
if ((cores > 1)); then
    check "... messages within the node" says 2.ini '^within_us = [0-9]' '^within_gbs = [0-9]' '^message_bytes = 8,4096$'
    check "... and what all do together beside what it predicts" says said.txt '^all-reduce of 8 bytes over 2 ranks: measured [0-9.]+ us, by the numbers of the file [0-9.]+ us$' \
        '^alltoallv of 256 bytes between any two of 2 ranks: measured [0-9.]+ us, by the numbers of the file [0-9.]+ us$' '^step of model tiny on 2 ranks: measured '
    check "a file for more ranks than cores" pleiad_on 2 simulate calibrate --quick --out more.ini --ranks-per-node 4
    check "... says so" says more.ini '^ranks_per_node = 4$' '^cores = 2$'
    check "... and predicts them" pleiad_on 1 simulate --config model.ini --cluster more.ini --ranks 1,2,4
    shared=$((2 * cores))
    check "more ranks than cores" pleiad_on $shared simulate calibrate --quick --out shared.ini
    cp last_check.log said.txt
    check "... measure what sharing costs" says said.txt "^step of model tiny on $shared ranks: measured " "^shared.ini: 1 nodes of $shared ranks, $cores cores; measured "
    check "... and say so" says shared.ini "^ranks_per_node = $shared$" "^cores = $cores$" '^sharing = [0-9.]+$'
    check "... for predictions" pleiad_on 1 simulate --config model.ini --cluster shared.ini --ranks 1,$shared
fi
check "its help" pleiad_on 1 simulate calibrate --help
check "help of simulate on two ranks" pleiad_on 2 simulate --help

bad() { # WHAT RANKS PATTERN ARGUMENTS...: one line on standard error and nothing else, exit code 2
    local what=$1 ranks=$2 pattern=$3
    shift 3
    pleiad_on "$ranks" simulate "$@" >bad.out 2>bad.txt
    check "$what: exit code 2" test $? == 2
    check "... one line" test "$(grep -c . bad.txt)" == 1 -a ! -s bad.out
    check "... that says" says bad.txt "$pattern"
}
bad "no name" 1 '^pleiad: simulate calibrate: --out is missing' calibrate --quick
bad "a file that is there" 2 '^pleiad: --out model.ini: exists already' calibrate --quick --out model.ini
bad "a folder that is not there" 1 '^pleiad: --out none/x.ini: there is no folder none' calibrate --quick --out none/x.ini
bad "no time" 1 '^pleiad: --seconds -1: must be from 0' calibrate --out x.ini --seconds -1
bad "no memory" 1 '^pleiad: --memory-mib 0: must be from 1' calibrate --out x.ini --memory-mib 0
bad "ranks below nothing" 1 '^pleiad: --ranks-per-node -1: must be from 0' calibrate --out x.ini --ranks-per-node -1
bad "messages that nobody measures" 1 '^pleiad: --ranks-per-node 4: with one rank and core on a node nobody measures' calibrate --out x.ini --ranks-per-node 4
bad "an unknown option" 1 "^pleiad: unrecognised option '--fast'" calibrate --out x.ini --fast
bad "a prediction on two ranks without a cluster" 2 '^pleiad: simulate: --cluster is missing' --config model.ini
check "nothing was left behind" test ! -e x.ini
finish
