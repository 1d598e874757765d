# Shared by the scripts of experiments/ and tests/ (sourced): one line per stage with the seconds it took, full output in a log.
# shellcheck shell=bash

pleiad_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pleiad_logs=$pleiad_root/build/logs
pleiad_child=""
trap 'if [[ -n $pleiad_child ]]; then kill -- "-$pleiad_child" 2>/dev/null || true; fi; exit 130' INT TERM

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# Last progress mark of a build log: "[12/345]" (ninja) or "[ 12%]" (make), as a percentage.
build_progress() {
    tail -c 4000 "$1" 2>/dev/null | tr '\r' '\n' | awk '
        match($0, /^\[[0-9]+\/[0-9]+\]/) { split(substr($0, 2, RLENGTH - 2), p, "/"); if (p[2] > 0) v = int(100 * p[1] / p[2]) }
        match($0, /^\[ *[0-9]+%\]/)      { v = substr($0, 2, RLENGTH - 3) + 0 }
        END { if (v != "") print v "%" }'
}

# stage NAME TITLE COMMAND...: runs the command with its output in build/logs/NAME.log and reports progress; on failure it
# shows the end of the log and returns the command's exit code.
stage() {
    local log=$pleiad_logs/$1.log title=$2 start=$SECONDS status=0 tick=0 every=10 mark
    shift 2
    mkdir -p "$pleiad_logs"
    if [[ -t 1 ]]; then every=1; fi
    set -m # a process group of its own, so that an interrupt reaches all of it
    "$@" >"$log" 2>&1 </dev/null &
    pleiad_child=$!
    set +m
    while kill -0 "$pleiad_child" 2>/dev/null; do
        sleep 0.2
        tick=$((tick + 1))
        if ((tick % (every * 5) == 0)); then
            mark=$(build_progress "$log")
            if [[ -t 1 ]]; then
                printf '\r\033[K%s ... %s %ds' "$title" "$mark" $((SECONDS - start))
            else
                printf '%s ... %s %ds\n' "$title" "$mark" $((SECONDS - start))
            fi
        fi
    done
    wait "$pleiad_child" || status=$?
    pleiad_child=""
    if [[ -t 1 ]]; then printf '\r\033[K'; fi
    if ((status == 0)); then
        printf '%s: done, %ds\n' "$title" $((SECONDS - start))
    else
        printf '%s: FAILED after %ds, exit code %d; the end of %s:\n' "$title" $((SECONDS - start)) "$status" "$log" >&2
        tail -n 30 "$log" >&2
    fi
    return "$status"
}

# configure PRESET [CMAKE ARGS...]: ninja where there is one, make otherwise; an existing build directory keeps its generator,
# unless the source tree has moved.
configure() {
    local cache=$pleiad_root/build/$1/CMakeCache.txt preset=$1 extra=() generator=""
    shift
    if [[ -f $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$pleiad_root" "$cache"; then
        extra=(--fresh)
    elif [[ -f $cache ]]; then
        generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$cache")
    fi
    if [[ -z $generator ]] && ! command -v ninja >/dev/null; then generator="Unix Makefiles"; fi
    if [[ -n $generator ]]; then extra+=(-G "$generator"); fi
    (cd "$pleiad_root" && cmake --preset "$preset" "${extra[@]}" "$@")
}

# How many compilers at once: one per core, and about a gigabyte of memory for each. PLEIAD_JOBS decides otherwise.
build_jobs() {
    local cores memory
    cores=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1000000) }' /proc/meminfo 2>/dev/null || true)
    if [[ -n $memory ]] && ((memory < cores)); then cores=$((memory < 1 ? 1 : memory)); fi
    echo "${PLEIAD_JOBS:-$cores}"
}

# Written under another name first: an interrupted run leaves no half corpus behind.
make_corpus() {
    local target=$1 partial=${1%.h5}.partial.h5
    rm -f "$partial"
    # shellcheck disable=SC2154  # of the script that sources this
    "$pleiad" data "$2" --out "$partial" "${@:3}" && mv "$partial" "$target"
}

# prepare_corpus [TEXT FILE...]: sets `corpus` to that of the texts, or to the synthetic one, under runs/data; made if it is not there.
# Uses $pleiad; the working directory is that of the source tree.
prepare_corpus() {
    local made_of=(synth)
    corpus=runs/data/synth.h5
    if (($# > 0)); then
        corpus=runs/data/text-$(cat -- "$@" | sha256sum | cut -c 1-12).h5
        made_of=(build "$@")
    fi
    mkdir -p runs/data
    if [[ -f $corpus ]]; then
        echo "corpus: $corpus is there"
    else
        stage corpus "corpus ($corpus)" make_corpus "$corpus" "${made_of[@]}"
    fi
}
