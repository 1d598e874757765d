# Shared by the studies (sourced): arguments, program, data, sweeps. A study sets `study`, says its options in the comment at its head, and calls study_begin "$@".
# shellcheck shell=bash

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; }
wrong() { echo "$study: $*" >&2; exit 2; }

# study_begin ARGS...: sets quick and tables (or empty: the latter trains nothing), data, out, seeds, only (or empty), cores; makes $out. PLEIAD is the program to use; without it one is built.
study_begin() {
    data="" out="" seeds="" only="" cores=$(env -u OMP_NUM_THREADS nproc) quick="" tables=""
    while (($# > 0)); do
        case $1 in
            -h | --help) usage; exit 0 ;;
            --quick) quick=1 ;;
            --tables) tables=1 ;;
            --data | --out | --seeds | --cores | --only)
                [[ -n ${2:-} ]] || wrong "$1 needs a value"
                declare -g "${1#--}=$2"
                shift ;;
            *) wrong "unknown argument $1; see --help" ;;
        esac
        shift
    done
    [[ -z $seeds || $seeds =~ ^[1-9][0-9]*$ ]] || wrong "--seeds needs a whole number"
    [[ -n $data ]] || wrong "--data is missing; see --help"
    data=$(realpath -m -- "$data")
    # shellcheck source=experiments/lib.sh
    source "$here/../../lib.sh"
    # shellcheck source=experiments/env.sh
    source "$here/../../env.sh"
    out=$(realpath -m -- "${out:-$pleiad_root/runs/studies/$study${quick:+-quick}}")
}

# study_needs FILE...: each below the data folder; without one the study is skipped.
study_needs() {
    local file
    for file in "$@"; do
        [[ -f $data/$file ]] || { echo "skipped: $data/$file is not there"; exit 0; }
    done
}

# study_program: sets pleiad, and goes to $out.
study_program() {
    pleiad=${PLEIAD:-}
    if [[ -z $pleiad ]]; then
        "$here/../../setup"
        "$here/../../build" release --target pleiad -DPLEIAD_TESTS=AUTO
        pleiad=$pleiad_root/build/release/bin/pleiad
    fi
    mkdir -p "$out/logs"
    cd "$out" || exit 1
}

# wanted NAME: is it to be trained? --only names a part of a study by the beginning of its name.
wanted() {
    local word
    [[ -z $tables ]] || return 1
    [[ -n $only ]] || return 0
    for word in ${only//,/ }; do if [[ $1 == "$word"* ]]; then return 0; fi; done
    return 1
}

# make FILE ARGS...: a data file, unless it is there.
make() { [[ -f $1 || -n $tables ]] || make_corpus "$1" "${@:2}"; }

# sweep NAME FILE [SED]: runs experiments/studies/STUDY/FILE.sweep.ini, changed by SED, on corpus.h5 (or $corpus) in $out/NAME; what is finished is left alone.
# $overrides are words section.key=value that all sweeps set.
sweep() {
    if ! wanted "$1"; then
        if [[ -d $1 ]]; then "$pleiad" sweep collect "$1" >"logs/collect-$1.txt"; fi
        return 0
    fi
    local word settings=() text="s|^base *=.*|base = $here/base.ini|"
    if [[ -n $seeds ]]; then text+=";s/^repeats *=.*/repeats = $seeds/"; fi
    for word in ${overrides:-}; do settings+=(--set "$word"); done
    sed -E "$text;${3:-}" "$here/$2.sweep.ini" >"$1.sweep.ini"
    "$pleiad" sweep run "$1.sweep.ini" --out "$1" --cores "$cores" --set "data.corpus=$out/${corpus:-corpus.h5}" "${settings[@]}" >"$1.log" 2>&1 || {
        local code=$?
        echo "$study: $1: exit code $code; the end of $out/$1.log:" >&2
        tail -n 5 "$1.log" >&2
        exit $code
    }
    echo "$1: done"
}

# with_h5py SCRIPT ARGS...: by a python3 that has h5py.
with_h5py() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import h5py, numpy' 2>/dev/null; then
            "$python" "$@"
            return
        fi
    done
    echo "skipped: no python3 with h5py and numpy (Debian package python3-h5py)"
}

points() { "$here/../points" "$@"; }

# many COMMAND WORD...: the exported function COMMAND with each word, as many at once as there are cores. What fails ends them all.
many() { [[ -n $tables ]] || (($# == 1)) || printf '%s\n' "${@:2}" | xargs -P "$cores" -n 1 bash -c 'set -euo pipefail; "$0" "$1" || exit 255' "$1"; }

# logged NAME COMMAND...: its output to logs/NAME.txt.
logged() { "${@:2}" >>"logs/$1.txt" 2>&1 || { echo "$1: exit code $?; $out/logs/$1.txt says why" >&2; return 1; }; }

# table NAME [RUN...]: a table of a sweep, or of these runs, and NAME.csv.
table() {
    printf '\n== %s ==\n' "$1"
    "$pleiad" report "${@:2}" $( (($# > 1)) || echo "$1") --csv "$1.csv" --force 2>"logs/table-$1.txt" || echo "not run yet"
}

# averages TITLE ARGUMENTS OF means...: a table of means, if its files are there.
averages() {
    printf '\n== %s ==\n' "$1"
    "$here/../means" "${@:2}" 2>"logs/averages.txt" || echo "not run yet"
}

# compare TITLE A B: the lines of a paired comparison that speak of quality and load.
compare() {
    printf '\n== %s ==\n' "$1"
    { "$pleiad" report --compare "$2" "$3" 2>logs/compare.txt || echo "metric: not run yet"; } | grep -E '^(metric|loss|accuracy|Matthews|perplexity|expert|mean K)'
}

# figures NAME RUN|SWEEP...: the page NAME.html, and of its plots those that compare: script, numbers and picture in results/NAME ("gnuplot F.gp" there draws F.svg again).
figures() {
    local plot kept=figures-$1
    if ! command -v gnuplot >/dev/null; then
        echo "no figures: gnuplot is not there"
        return
    fi
    rm -rf "$kept"
    "$pleiad" report "${@:2}" --html "$1.html" --keep "$kept" --force >"logs/$kept.txt" 2>&1 || { echo "no figures: logs/$kept.txt says why"; return; }
    mkdir -p "results/$1"
    for plot in final-quality pareto loss-flops; do
        if [[ -f $kept/$plot.gp ]]; then cp "$kept/$plot".{gp,dat,svg} "results/$1"; fi
    done
}

# gather NAME...: results.txt (of a part: results-PART.txt), tables and the points of these sweeps to results/, small enough to be kept.
gather() {
    local name
    mkdir -p results
    for name in "$@"; do
        if [[ -f $name/collected.csv ]]; then cp "$name/collected.csv" "results/$name-points.csv"; fi
    done
    cp results.txt "results/results${only:+-${only//,/-}}.txt"
    cp ./*.csv results 2>/dev/null || true
}
