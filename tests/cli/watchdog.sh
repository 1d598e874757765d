#!/usr/bin/env bash
# A rank that is stopped, or goes away, ends the job in time and with its name; a slow job goes on.
# PROCESSORS 4
# TIMEOUT 200
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOF'
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
[moe]
preset = switch
experts = 5
[train]
steps = 1000000
batch_sequences = 8
eval_every = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 50
[parallel]
stall_seconds = 3
EOF

pids_of() { ps -o pid= --ppid "$1" | tr -d ' '; } # processes that a launcher started, in the order of their ranks
# disturbed NAME RANK SIGNAL: training on 4 ranks, one of which gets the signal once there is a checkpoint; writes NAME.log, NAME.code and NAME.seconds
disturbed() {
    local name=$1 rank=$2 signal=$3 launcher waited=0 pid begin
    "$MPIRUN" -n 4 "$PLEIAD" train --config tiny.ini --out "$name" >"$name.log" 2>&1 &
    launcher=$!
    while [[ ! -e $name/checkpoints/step-0000000050.h5 ]]; do
        sleep 0.1
        ((++waited < 600)) || { kill -9 "$launcher"; cat "$name.log"; return 1; }
    done
    pid=$(pids_of "$launcher" | sort -n | sed -n "$((rank + 1))p")
    sleep 0.5 # the others are to have heard of its first step
    begin=$(date +%s)
    kill "-$signal" "$pid"
    wait "$launcher"
    echo $? >"$name.code"
    echo $(($(date +%s) - begin)) >"$name.seconds"
    for waited in 1 2 3 4 5; do
        [[ $(ps -o stat= -p "$pid") == [!Z]* ]] || return 0 # gone, or only its exit code is left
        sleep 1
    done
    kill -9 "$pid"
    echo "rank $rank is still there"
    return 1
}
in_time() { (($(cat "$1.seconds") <= 3 + 5)) || { echo "took $(cat "$1.seconds") s"; return 1; }; }
once() { [[ $(grep -c "^pleiad: " "$1.log") == 1 ]] || { cat "$1.log"; return 1; }; }
code_is() { [[ $(cat "$1.code") == "$2" ]] || { echo "exit code $(cat "$1.code")"; tail -5 "$1.log"; return 1; }; }

for rank in 2 0; do
    check "rank $rank is stopped" disturbed "stopped-$rank" "$rank" STOP
    check "... the job ends within the configured time and 5 seconds" in_time "stopped-$rank"
    check "... with exit code 76" code_is "stopped-$rank" 76
    check "... and a message that names it and says where it and others were" says "stopped-$rank.log" "^pleiad: rank $rank \(host .*\) was last heard of .* s ago, last in step [0-9]+, (block [01], )?phase [a-z_]+" 'parallel.stall_seconds = 3'
    check "... once" once "stopped-$rank"
done
# stopped_when_watched NAME ARGUMENTS...: rank 1 of two is stopped as soon as it is watched; writes NAME.log and NAME.code
stopped_when_watched() {
    local name=$1 launcher pid=
    timeout -k 5 60 "$MPIRUN" -n 2 "$PLEIAD" "${@:2}" --set parallel.stall_seconds=3 >"$name.log" 2>&1 &
    launcher=$!
    until pid=$(pgrep -P "$(pids_of "$launcher")" | tail -n 1) && [[ -n $pid ]] && grep -qs pleiad-watchdog "/proc/$pid"/task/*/comm; do
        kill -0 "$launcher" 2>/dev/null || { cat "$name.log"; return 1; }
        sleep 0.01
    done
    local begin=$SECONDS
    kill -STOP "$pid"
    wait "$launcher"
    echo $? >"$name.code"
    kill -9 "$pid" 2>/dev/null
    ((SECONDS - begin <= 3 + 5)) || { echo "took $((SECONDS - begin)) s"; return 1; }
}
# While the memory of a step is tried.
check "a rank is stopped before the first step" stopped_when_watched early train --config tiny.ini --out early --set model.width=512 --set model.seq_len=256 --set train.batch_sequences=512
check "... with exit code 76" code_is early 76
check "... and is named" says early.log '^pleiad: rank 1 \(host .*\) was last heard of .* s ago, last in its start, before any step, phase [a-z_]+'
check "... and nothing was written" test ! -e early/run.h5
loops() {
    local begin=$SECONDS
    exits 76 timeout -k 5 30 "$MPIRUN" -n 4 "${PLEIAD%/bin/*}/tests/bin/test_comm_mpi" --gtest_filter='*ARankThatLoopsForEver' --gtest_also_run_disabled_tests >loops.log 2>&1 || { cat loops.log; return 1; }
    ((SECONDS - begin <= 3 + 5)) || { echo "took $((SECONDS - begin)) s"; return 1; }
}
check "a rank that computes for ever ends the job in time" loops
check "... and is named, with who waits for it" says loops.log '^pleiad: .*rank 1 \(host .*\) .*step 7, block 1, phase expert' 'MPI_Barrier' 'parallel.stall_seconds = 3'
check "a rank of an evaluation is stopped" stopped_when_watched eval eval stopped-2 --sweep "train.seed=$(seq -s , 1 300)"
check "... with exit code 76" code_is eval 76
check "... and is named" says eval.log '^pleiad: rank 1 \(host .*\) was last heard of .* The job ends here$'
check "the run can go on" pleiad_on 2 train --resume stopped-2 --stop-at 120 --set parallel.stall_seconds=0
for rank in 2 0; do
    check "rank $rank is killed" disturbed "killed-$rank" "$rank" KILL
    check "... the job ends, not well" test "$(cat "killed-$rank.code")" -ne 0
    check "... in time" in_time "killed-$rank"
    check "... and is named, with what to do" says "killed-$rank.log" "^pleiad: rank $rank \(host .*\) has died, last in step [0-9]+, .*waiting: rank [0-9] in .* The job ends here; .*--resume"
    check "... once" once "killed-$rank"
done

# A job that is stopped as a whole and goes on has lost nothing but time.
suspended() {
    local launcher pids waited=0
    "$MPIRUN" -n 2 "$PLEIAD" train --config tiny.ini --out suspended --set train.steps=1000 >suspended.log 2>&1 &
    launcher=$!
    while [[ ! -e suspended/checkpoints/step-0000000050.h5 ]]; do
        sleep 0.1
        ((++waited < 600)) || { kill -9 "$launcher"; return 1; }
    done
    pids=$(pids_of "$launcher")
    # shellcheck disable=SC2086
    kill -STOP $pids
    sleep 6
    # shellcheck disable=SC2086
    kill -CONT $pids
    wait "$launcher" || { cat suspended.log; return 1; }
}
check "a job that is stopped as a whole for twice that time goes on" suspended
refused() {
    exits 2 pleiad_on 1 train --config tiny.ini --out bad --set parallel.stall_seconds=-1 >bad.log 2>&1 && says bad.log "parallel.stall_seconds = -1"
}
check "bad seconds are refused" refused
finish
