#!/usr/bin/env bash
# train --continue: starts, goes on, ends. Signals stop a run at a step edge with everything saved, exit code 75, and it continues in the same
# bits. A finished run is known by its verified marker. --scratch leaves nothing behind.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
tiny_config 1500
go_on() { pleiad_on "$1" train --continue --config tiny.ini --out "${@:2}"; }
check "--continue starts a run" go_on 2 whole
check "... and has nothing to do when it is finished" go_on 3 whole
says_done() { go_on 1 whole | grep -q 'whole: all 1500 steps are done'; }
check "... and says so" says_done

# stopped NAME RANKS SIGNAL: starts, waits for the first steps, sends the signal to the launcher or to the only rank; exit code 75.
stopped() {
    local run=$1 ranks=$2 signal=$3 launcher=() pid code
    if ((ranks > 1)); then launcher=("$MPIRUN" -n "$ranks"); fi
    rm -f "$run.txt" # what an earlier part said is no sign of life
    "${launcher[@]}" "$PLEIAD" train --continue --config tiny.ini --out "$run" >"$run.txt" 2>&1 &
    pid=$!
    for _ in $(seq 400); do grep -qs '^step ' "$run.txt" && break; sleep 0.01; done
    if [[ $signal == rank:* ]]; then  # one rank alone hears of it
        mapfile -t ranks_of < <(pgrep -P "$pid")
        kill -s "${signal#rank:}" "${ranks_of[-1]}"
    else
        kill -s "$signal" "$pid"
    fi
    wait "$pid"
    code=$?
    [[ $code == 75 ]] || { echo "exit code $code"; cat "$run.txt"; return 1; }
    says "$run.txt" 'stopped by a signal after step [0-9]+ of 1500 and saved'
    [[ ! -e $run/finished.json ]]
}
for how in "usr1 2 USR1" "usr2 3 USR2" "term 1 TERM" "int 1 INT" "hup 1 HUP" "one 2 rank:TERM"; do
    read -r run ranks signal <<<"$how"
    check "$signal stops $ranks ranks" stopped "$run" "$ranks" "$signal"
    check "... which then go on" go_on $((ranks + 1)) "$run"
    check "... to the same bits" runs same whole "$run"
done
# nohup: a run that is to outlive its terminal.
outlives() {
    rm -f outlives.txt
    (trap '' HUP && exec "$PLEIAD" train --continue --config tiny.ini --out outlives >outlives.txt 2>&1) &
    local pid=$! code
    for _ in $(seq 400); do grep -qs '^step ' outlives.txt && break; sleep 0.01; done
    kill -HUP "$pid"
    wait "$pid"
    code=$?
    [[ $code == 0 ]] || { echo "exit code $code"; cat outlives.txt; return 1; }
}
check "HUP that is ignored stops nothing" outlives
check "... to the same bits" runs same whole outlives
# Who reads the output may be gone before the run is.
left_alone() {
    (set +o pipefail; "$PLEIAD" train --continue --config tiny.ini --out left_alone; echo "$?" >left_alone.code) 2>left_alone.err | head -n 2 >/dev/null
    [[ $(cat left_alone.code) == 0 ]] || { cat left_alone.code left_alone.err; return 1; }
}
check "a run whose output nobody reads any more" left_alone
check "... to the same bits" runs same whole left_alone
check "a run stopped twice" stopped twice 2 USR1
check "... twice" stopped twice 1 USR1
check "... is the same" go_on 2 twice
check "... to the bit" runs same whole twice

# A signal may come while MPI is starting. Such a moment is hard to hit: several tries.
early() {
    local launcher pid code
    for _ in 1 2 3 4 5 6 7 8; do
        rm -rf early
        "$MPIRUN" -n 2 "$PLEIAD" train --continue --config tiny.ini --out early >early.txt 2>&1 &
        launcher=$!
        until pid=$(pgrep -P "$launcher" -x pleiad | tail -n 1) && [[ -n $pid ]] && ((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") & 0x200)); do # SIGUSR1 is caught
            kill -0 "$launcher" 2>/dev/null || { cat early.txt; return 1; }
        done
        kill -USR1 "$pid"
        grep -q mca_btl_ "/proc/$pid/maps" && pid=0 # too late: MPI had come as far as its messages
        wait "$launcher"
        code=$?
        [[ $code == 75 ]] || { echo "exit code $code"; cat early.txt; return 1; }
        ((pid == 0)) || return 0
    done
    echo "signals are caught only when MPI has started"
    return 1
}
check "a signal while MPI starts stops the run" early

# One rank's clock decides for all, and all know why.
out_of_time() {
    exits 75 "$MPIRUN" -n 2 bash -c 'export SLURM_JOB_END_TIME=$(($(date +%s) + (OMPI_COMM_WORLD_RANK == 0 ? 100000 : 0))); exec "$@"' clock "$PLEIAD" train --config tiny.ini --out late >late.txt 2>&1 &&
        says late.txt 'stopped by its time budget \(the end of the SLURM job\) after step [0-9]+ of 1500 and saved'
}
check "a time budget that one rank finds spent is no signal" out_of_time

# ---- what --continue refuses ----
sed 's/^expert_width = 24/expert_width = 25/' tiny.ini >other.ini
refused() { exits 2 pleiad_on "${@:2}" >refused.txt 2>&1 && says refused.txt "$1"; }
check "a changed configuration" refused 'expert_width = 25 differs' 2 train --continue --config other.ini --out twice
check "--continue with --resume" refused 'give one of the two' 1 train --continue --resume twice
check "--continue with --dry-run" refused 'does not go with' 1 train --continue --dry-run --config tiny.ini --out twice
check "--scratch that is not there" refused 'no such folder' 2 train --continue --config tiny.ini --out new --scratch nowhere
check "... makes no run" test ! -e new/run.h5

# ---- the marker ----
printf 'x' | dd of=whole/run.h5 bs=1 seek=20000 conv=notrunc status=none
check "a record that was changed after the end is no finished run" refused 'was changed or damaged' 2 train --continue --config tiny.ini --out whole
cp twice/finished.json kept.json
: >twice/finished.json
check "an empty marker is none: the end is marked again" go_on 1 twice
check "... and the run is the same" runs same usr1 twice
check "... with a marker" grep -q '"step": 1500' twice/finished.json
check "more steps remove the marker" pleiad_on 2 train --resume twice --set train.steps=1600 --stop-at 1550
check "... until they are done" test ! -e twice/finished.json

# ---- scratch ----
mkdir scratch
check "a corpus read from a copy on the node" go_on 3 copied --scratch scratch
check "... leaves nothing there" test -z "$(ls -A scratch)"
check "... and changes nothing" runs same usr1 copied
check "... not even the record of where the data are" grep -aq '^corpus = corpus.h5' <(h5dump -d /config copied/run.h5 | tr ';' '\n' | sed 's/^ *//')
finish
