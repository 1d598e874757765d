#!/usr/bin/env bash
# Every line of experiments/variants.txt trains: the main job of experiments/quickstart, three steps of it. Every router of the program is there.
# PROCESSORS 2
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 60000 --document 128 --seed 5
routers=""
while read -r -u 3 name what; do
    [[ -n $name && $name != \#* ]] || continue
    options=()
    for word in $what; do
        if [[ $word == @* ]]; then options+=(--match "${word#@}"); else options+=(--set "$word"); fi
    done
    check "$name" pleiad_on 2 train --config "$PLEIAD_SOURCE/experiments/quickstart.ini" "${options[@]}" --set data.corpus=corpus.h5 \
        --set train.steps=3 --set train.batch_sequences=4 --set train.eval_windows=4 --out "$name"
    routers+=" $(h5dump -a /router "$name/run.h5" 2>/dev/null | sed -n 's/.*(0): "\(.*\)".*/\1/p')"
    trained+=("$name")
done 3<"$PLEIAD_SOURCE/experiments/variants.txt"
while read -r router; do
    check "a variant uses the router $router" grep -qw "$router" <<<"$routers"
done < <(sed -n 's/^PLEIAD_ROUTER(\(.*\))$/\1/p' "$PLEIAD_SOURCE/include/pleiad/routing/variants.def" | grep -vx dense)
check "report of all of them" pleiad_on 1 report "${trained[@]}"
finish
