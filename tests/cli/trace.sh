#!/usr/bin/env bash
# trace.json: loads at any time, tells what run.h5 tells, over resumes and kills.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
traced() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_trace.py" "$@"; }
loads() { "$PYTHON" -c 'import json, sys; print(len(json.load(open(sys.argv[1] + "/trace.json"))))' "$1"; }
absent() { [[ ! -e $1 ]]; }

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOI'
[model]
width = 16
layers = 3
heads = 2
seq_len = 16
[moe]
preset = mixtral
experts = 5
expert_width = 8
layers = 0,2
[train]
steps = 30
batch_sequences = 8
lanes = 8
warmup_steps = 5
eval_every = 10
eval_windows = 10
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 10
[metrics]
trace_every = 10
EOI
train() { pleiad_on "$2" train --config tiny.ini --out "$1" "${@:3}"; } # NAME RANKS OPTIONS...

check "three ranks" train three 3
check "... traced" traced three 2 10 20 30
check "every step, peer" train every 2 --set metrics.trace_every=1 --set moe.router=dense --set moe.experts=1 --set moe.layers=1
# shellcheck disable=SC2046
check "... traced" traced every $(seq 30)
check "by default" train default 1 --set metrics.trace_every=100
check "... the second step" traced default 2
check "dense" train dense 2 --set moe.layers=none
check "... traced" traced dense 2 10 20 30
check "none" train none 3 --set metrics.trace=none
check "... none" absent none/trace.json
check "... the same bits" runs same none three

check "stop at step 17 on 2 ranks" train cut 2 --stop-at 17
rm cut/checkpoints/step-0000000017.h5
check "... from step 10 on 3 ranks" pleiad_on 3 train --resume cut --stop-at 25
check "... traced" traced cut 2 10 12 20
check "... without a trace to step 28" pleiad_on 1 train --resume cut --stop-at 28 --set metrics.trace=none
check "... on one" pleiad_on 1 train --resume cut --set metrics.trace=sampled --set metrics.trace_every=15
check "... traced" traced cut 2 10 12 20 30

"$MPIRUN" -n 2 "$PLEIAD" train --config tiny.ini --out killed --set train.steps=100000 --set metrics.trace_every=1 >killed.log 2>&1 &
run=$!
until [[ -e killed/checkpoints/step-0000000030.h5 ]]; do sleep 0.01; done
# At the moment of a write it may not be whole.
loads_soon() { loads killed || loads killed || loads killed; }
check "the trace of a run that goes on loads" loads_soon
mapfile -t ranks < <(pgrep -P "$run")
kill -9 "${ranks[@]}"
wait "$run" 2>/dev/null
check "after kill -9 the trace loads" loads killed
check "... resumed" pleiad_on 2 train --resume killed --stop-at 120
check "... loads" loads killed

check "a run" train blocked 2 --stop-at 5
rm blocked/trace.json && mkdir -p blocked/trace.json/in_the_way
pleiad_on 2 train --resume blocked >blocked.txt
check "one that cannot be written is told once" says blocked.txt '^note: blocked/trace.json: cannot be written'
check "... and the run goes on" runs continued three blocked
check "an unknown way of tracing is refused" exits 2 train bad 1 --set metrics.trace=all
cp last_check.log refused.txt
check "... by name" says refused.txt 'metrics.trace = all: .*none, sampled'
finish
