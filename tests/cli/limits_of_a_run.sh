#!/usr/bin/env bash
# What ends a run before its last step: its time budget (exit code 75, goes on in the same bits), and numbers that are not finite (exit code 4): where they
# are, what is done about them, that no such state is saved; for every variant.
# PROCESSORS 2
# TIMEOUT 480
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
tiny_config 4000
train() { pleiad_on "$1" train --config tiny.ini "${@:2}" >last.txt 2>&1; }

# ---- time ----
check "a run without a limit" train 2 --out whole
budget() { exits 75 train "$1" --out "$2" --set checkpoint.time_budget=0:01 && says last.txt 'stopped by its time budget \(checkpoint.time_budget = 0:01\) after step [0-9]+ of 4000 and saved'; }
check "a budget of one second ends it with 75" budget 1 short
slurm() { SLURM_JOB_END_TIME=$(($(date +%s) + 3)) exits 75 train 2 --out slurm && says last.txt 'stopped by its time budget \(the end of the SLURM job\)'; }
check "the end of a SLURM job does, too" slurm
for run in short slurm; do
    goes_on() { pleiad_on 2 train --resume "$1" --set checkpoint.time_budget=none >last.txt 2>&1; }
    check "$run goes on" goes_on "$run"
    check "... to the same bits" runs continued whole "$run"
done
over() { SLURM_JOB_END_TIME=1000 exits 75 train 1 --out over && says last.txt 'after step 1 of 4000'; }
check "a budget that is over lets one step be made" over
refused() { exits 2 train 2 --out none --set "checkpoint.time_budget=$1" && says last.txt "checkpoint.time_budget = $1: must be auto, none, or a time"; }
for bad in soon -5 1:2:3:4 0; do check "time_budget = $bad is refused" refused "$bad"; done

# ---- numbers that are not finite ----
# Each step multiplies weights by nearly -100000.
spoil=(--set train.learning_rate=1000 --set train.weight_decay=100 --set train.warmup_steps=0 --set train.schedule=constant)
blow_up() { train "$1" --out "$2" "${spoil[@]}" --set checkpoint.every=2 --set train.steps=40 "${@:3}"; }
stops() {
    exits 4 blow_up "$1" "$2" && says last.txt 'step [0-9]+: .* is not finite, on rank [0-9]+; the run ends' 'train.bad_numbers=skip' "--init $2 starts" || return 1
    [[ $(grep -c 'is not finite' last.txt) -le 2 ]] || return 1
}
check "a run that blows up ends with 4 and says where" stops 2 blown
skips() { exits 4 blow_up 2 skipped --set train.bad_numbers=skip && says last.txt 'no update is made, on with the next batch' 'the run ends: bad step 10 \(train.bad_steps_most\)' && ! grep -q 'train.bad_numbers=' last.txt; }
check "skipping ends after ten such steps, and no policy is advised" skips
keeps_good() {
    local first file
    first=$(sed -n 's/^step \([0-9]*\): .* is not finite.*/\1/p' last.txt | head -n 1)
    for file in skipped/checkpoints/step-*.h5; do
        file=${file##*-}
        if ((10#${file%.h5} < first - 1)); then return 0; fi
    done
    ls skipped/checkpoints
    return 1
}
check "... steps without an update push out no checkpoint" keeps_good
rolls() {
    exits 4 blow_up 2 rolled --set train.bad_numbers=roll_back --set train.bad_steps_most=3 || return 1
    [[ $(grep -c 'back to the newest checkpoint, and on from there' last.txt) == 2 ]] || return 1
    says last.txt 'continuing .* [24] to 40 of 40 steps' 'back at rolled/checkpoints/step-[0-9]+.h5: on with batch [0-9]+' 'the run ends: bad step 3' || return 1
    [[ $(grep -c 'run record: ' last.txt) == 1 ]]
}
check "rolling back goes back, and ends when that does not help" rolls
loads() { for file in "$1"/checkpoints/step-*.h5; do [[ ! -e $file ]] || pleiad_on 1 inspect "$file" || return 1; done; }
for run in blown skipped rolled; do
    check "what $run saved is whole" loads "$run"
    check "... and finite" runs finite "$run"
done
# Routers, exchanges and statistics live through steps of such numbers, whatever the variant.
on_quickstart() { # NAME WHAT_IT_SETS MORE_ARGUMENTS...: a line of variants.txt
    local word words=()
    for word in $2; do
        if [[ $word == @* ]]; then words+=(--match "good_${word#@}"); else words+=(--set "$word"); fi
    done
    pleiad_on 2 train --config "$PLEIAD_SOURCE/experiments/quickstart.ini" "${words[@]}" --set data.corpus=corpus.h5 --set train.batch_sequences=8 --set train.eval_windows=4 \
        --out "$1" "${@:3}" >last.txt 2>&1
}
lives() { exits 4 on_quickstart "bad_$1" "$2" "${spoil[@]}" --set train.steps=40 --set train.bad_numbers=skip --set train.bad_steps_most=3 --set metrics.record_routing=full && says last.txt 'bad step 3'; }
while read -r -u 3 name what; do
    [[ -n $name && $name != \#* ]] || continue
    if [[ $name == damoe ]]; then check "a good run to match" on_quickstart good_damoe "$what" --set train.steps=2; fi
    check "$name lives through bad steps" lives "$name" "$what"
done 3<"$PLEIAD_SOURCE/experiments/variants.txt"
# Single processes share a folder of Open MPI's, which goes with the first of them that ends, unless each has its own.
many() {
    local which i pids=()
    mkdir many
    for which in a b c; do
        for i in $(seq 15); do
            TMPDIR=$PWD/many pleiad_on 1 train --config tiny.ini --out "many-$which-$i" --set train.steps=3 --set train.eval_every=0 --set checkpoint.every=1 --set parallel.memory_check=none >"many-$which.txt" 2>&1 || exit 1
        done &
        pids+=($!)
    done
    for which in "${pids[@]}"; do wait "$which" || { cat many-?.txt; return 1; }; done
}
check "many single processes at the same time" many
check "... leave nothing behind" rmdir many
finish
