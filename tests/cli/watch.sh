#!/usr/bin/env bash
# pleiad watch: what it shows, what it refuses, and that a run that is watched is the same run.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
watched() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_watch.py" "$@"; }
export LC_ALL=C.UTF-8

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOI'
[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[moe]
preset = switch
experts = 5
expert_width = 8
[train]
steps = 150
batch_sequences = 8
lanes = 8
warmup_steps = 5
eval_every = 50
eval_windows = 10
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 40
EOI

# ---- watching changes nothing ----
check "a run that nobody watches" pleiad_on 2 train --config tiny.ini --out alone
pleiad_on 2 train --config tiny.ini --out seen >train.txt 2>&1 &
run=$!
until [[ -e seen/live.json ]]; do sleep 0.01; done
pids=()
for i in 1 2 3; do
    pleiad_on 1 watch seen --every 0.05 >"seen$i.txt" 2>&1 &
    pids+=($!)
done
check "a run that three watch" wait "$run"
for i in 0 1 2; do check "... watcher $i ends with it" wait "${pids[$i]}"; done
check "... is the same bits" runs same alone seen
check "... tells its end in one line" says seen1.txt '^finished step 150/150  loss [0-9.]+  held-out [0-9.]+  imbalance [0-9.]+  [0-9]+ tokens/s$'
check "the loss curve" watched curve seen
check "... is the same for everybody" watched same alone seen

# ---- what it shows ----
pleiad_on 1 watch --once seen >once.txt
check "--once shows the whole picture" says once.txt '^seen: finished   step 150/150 \(100.0 %\)   loss ' 'held-out [0-9.]+ at step 150' '[0-9.]+ above the floor' '2 ranks on ' '^loss, steps 1 to 150$' '█' \
    '^block +min +max' '^ +0 .* %  [▁▂▃▄▅▆▇█ ]+$' '^ +1 ' '^time +[a-z]' 'expert [0-9.]+ %'
LC_ALL=C pleiad_on 1 watch seen/ --once >plain.txt
check "... in plain ASCII where the locale is" says plain.txt '^loss, steps' '#'
only_ascii() { ! LC_ALL=C grep -nP '[^\x00-\x7f]' "$1"; }
check "... without anything else" only_ascii plain.txt
narrow() { [[ $(COLUMNS=50 pleiad_on 1 watch seen --once | wc -L) -le 50 ]]; }
check "... no wider than the terminal" narrow
watched terminal "$PLEIAD" watch seen >terminal.txt
check "on a terminal it draws on a screen of its own" says terminal.txt $'\033\\[\\?1049h' $'\033\\[\\?1049l' 'seen: finished' '█'
mkdir copy && cp seen/live.json copy/
check "it needs live.json and nothing else" pleiad_on 1 watch copy --once
if command -v strace >/dev/null; then
    only_live() { strace -f -e trace=open,openat,flock,fcntl -o trace.txt "$PLEIAD" watch seen --once && ! grep 'seen' trace.txt | grep -v 'seen/live.json.*O_RDONLY'; }
    check "... opens nothing else and locks nothing" only_live
fi

# ---- stopped, resumed, killed ----
check "stop at step 70" pleiad_on 2 train --config tiny.ini --out cut --stop-at 70
pleiad_on 1 watch cut >cut.txt
check "... the watcher ends and says so" says cut.txt '^stopped step 70/150 '
check "... resumed on 3 ranks" pleiad_on 3 train --resume cut
check "... its curve is that of the whole run" watched same alone cut
check "more steps" pleiad_on 2 train --resume cut --set train.steps=190
check "... the curve is of all of them" watched curve cut

"$MPIRUN" -n 2 "$PLEIAD" train --config tiny.ini --out killed --set train.steps=100000 >killed.log 2>&1 &
run=$!
until [[ -e killed/checkpoints/step-0000000040.h5 ]]; do sleep 0.01; done
mapfile -t ranks < <(pgrep -P "$run")
kill -9 "${ranks[@]}"
wait "$run" 2>/dev/null
check "after kill -9 the status can be read" pleiad_on 1 watch killed --once
check "... an old one" watched age killed 100
pleiad_on 1 watch killed --once >killed.txt
check "... shows no sign of life" says killed.txt '^killed: running' '^no sign of life for 1:4[0-9]$'
"$PLEIAD" watch killed --every 0.1 >silent.txt 2>&1 &
watcher=$!
sleep 1
kill -INT "$watcher"
check "... watching goes on until Ctrl-C" wait "$watcher"
check "... and says it once" says silent.txt '^running step .* no sign of life for 1:4'
one_line() { [[ $(wc -l <"$1") == 1 ]]; }
check "... in one line" one_line silent.txt
check "... resumed" pleiad_on 2 train --resume killed --stop-at 150
check "... the curve is that of run.h5" watched curve killed

# ---- other models ----
grep -v '^experts\|^expert_width\|^preset' tiny.ini >other.ini
check "dense" pleiad_on 1 train --config other.ini --out dense --set moe.layers=none --set train.steps=10
pleiad_on 1 watch dense >dense.txt
check "... has a line" says dense.txt '^finished step 10/10  loss [0-9.]+  held-out [0-9.]+  [0-9]+ tokens/s$'
check "peer with 1024 experts" pleiad_on 2 train --config other.ini --out peer --set moe.preset=peer --set moe.sub_keys=32 --set moe.k=3 --set moe.query_dim=8 --set train.steps=10
check "... groups them" watched curve peer
pleiad_on 1 watch peer --once >peer.txt
check "... and shows them" says peer.txt '^ +1 .* % '

# ---- readers of run.h5 ----
cat >hold.py <<'PY'
"""Holds run.h5 open, with all the locks that h5py and its library take, until a file is there."""
import fcntl, os, sys, time
import h5py

while not os.path.exists(sys.argv[1]):
    time.sleep(0.002)
held = h5py.File(sys.argv[1], "r", libver="latest", swmr=True)
lock = open(sys.argv[1])
fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
open("holding", "w").close()
while not os.path.exists("release"):
    time.sleep(0.01)
PY
HDF5_USE_FILE_LOCKING=TRUE "$PYTHON" hold.py held/run.h5 >hold.log 2>&1 &
holder=$!
check "a run whose record somebody holds from the start" env HDF5_USE_FILE_LOCKING=TRUE "$PLEIAD" train --config tiny.ini --out held --stop-at 100
check "... who really holds it" test -e holding
check "... is resumed" env HDF5_USE_FILE_LOCKING=TRUE "$PLEIAD" train --resume held
check "... to the same bits" runs continued alone held
touch release
check "... the reader saw no error" wait "$holder"

# ---- trouble ----
check "a new run" pleiad_on 1 train --config tiny.ini --out blocked --stop-at 1
rm blocked/live.json && mkdir -p blocked/live.json/in_the_way
pleiad_on 2 train --resume blocked >blocked.txt
check "a run that cannot write live.json says it once" says blocked.txt '^note: blocked/live.json: cannot be written \(.*\); the run goes on, but cannot be watched'
check "... and goes on" runs continued alone blocked
refused() { # PATTERN ARGS...
    exits 2 pleiad_on 1 watch "${@:2}" >refused.txt 2>&1 && says refused.txt "^pleiad: watch: $1" && one_line refused.txt
}
mkdir -p empty sweep && echo '{}' >sweep/sweep.json
check "no run" refused 'no run given'
full() { exits 2 "$PLEIAD" watch killed >/dev/full; }
if [[ -e /dev/full ]]; then
    watched age killed 0 && sed -i 's/"state": "stopped"/"state": "running"/' killed/live.json
    check "an output that is full ends it" full
fi
check "two runs" refused 'one run at a time' seen alone
check "no folder" refused 'nowhere: there is no such folder' nowhere
check "a file" refused 'tiny.ini: there is no such folder' tiny.ini
check "a folder without a run" refused 'empty: holds no live.json' empty
check "a sweep" refused "sweep: is a sweep; 'pleiad sweep status sweep'" sweep
check "no time between looks" refused '--every 0: must be between' seen --every 0
mkdir broken && echo '{"format": "pleiad-live/1", "state"' >broken/live.json
check "a damaged status" exits 2 pleiad_on 1 watch broken
cp last_check.log refused.txt
check "... is named" says refused.txt 'broken/live.json: is damaged or of another version'
finish
