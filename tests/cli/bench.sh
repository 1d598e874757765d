#!/usr/bin/env bash
# pleiad bench with tiny sizes on 1, 2 and 4 ranks: the records, the files, bad inputs. Never how fast anything is.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

cat >records.py <<'PY'
"""records.py FILE.json FILE.h5 BENCH RANKS CASES: lines of JSON and an HDF5 file with the same records, every check passed."""
import json
import math
import sys

import h5py
import numpy as np

lines, h5, bench, ranks, cases = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5].split(",")
records = [json.loads(line) for line in open(lines)]
bad = []
names = [r["case"] for r in records]
if sorted(set(names)) != sorted(cases):
    bad.append(f"cases {names}, expected {cases}")
for r in records:
    about = f"{r['case']} ({r['library']})"
    if r["format"] != "pleiad-bench/1" or r["bench"] != bench or r["ranks"] != ranks:
        bad.append(f"{about}: {r['format']}, {r['bench']}, {r['ranks']} ranks")
    for value in (r["ratio"]["median"], r["value"], r["roof"]["value"], r["seconds"]["median"]):
        if not (isinstance(value, float) and math.isfinite(value) and value > 0):
            bad.append(f"{about}: {value}")
    for spread in (r["ratio"], r["seconds"], r["roof"]["seconds"]):
        if not spread["least"] <= spread["lower_quartile"] <= spread["median"] <= spread["upper_quartile"]:
            bad.append(f"{about}: {spread}")
    if not r["passed"] or not r["checks"] or not all(c["passed"] and c["error"] <= c["allowed"] for c in r["checks"]):
        bad.append(f"{about}: checks {r['checks']}")
    if not math.isclose(r["value"], r["work"] / r["seconds"]["median"]):
        bad.append(f"{about}: value is not work over time")
    for key in ("what", "unit", "shape", "threads", "numbers", "pleiad_version", "git_commit", "seed"):
        if key not in r:
            bad.append(f"{about}: no {key}")
    for key in ("cpu", "started", "hosts", "mpi", "blas"):
        if key not in r["facts"]:
            bad.append(f"{about}: no fact {key}")
    if bench in ("layer", "step") and "[moe]" not in r["config"]:
        bad.append(f"{about}: no configuration")
    for name, figure in r["figures"].items():
        if not math.isfinite(figure["value"]) or not figure["unit"] or not figure["description"]:
            bad.append(f"{about}: figure {name} {figure}")
with h5py.File(h5, "r") as f:
    text = lambda values: [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    if text(f["cases/name"][()]) != names:
        bad.append(f"{h5}: cases {f['cases/name'][()]}")
    if not np.allclose(f["cases/ratio"][()], [r["ratio"]["median"] for r in records]):
        bad.append(f"{h5}: ratios differ from those of the JSON lines")
    if len(f["samples/seconds"]) != sum(r["ratio"]["samples"] for r in records):
        bad.append(f"{h5}: {len(f['samples/seconds'])} samples")
    if not f["cases/passed"][()].all() or not (f["checks/error"][()] <= f["checks/allowed"][()]).all():
        bad.append(f"{h5}: a check that did not pass")

    def look(name, item):
        if isinstance(item, h5py.Dataset) and ("description" not in item.attrs or (item.dtype.kind in "fiu" and "units" not in item.attrs)):
            bad.append(f"{h5}: {name} has no description or no units")

    f.visititems(look)
print("\n".join(bad))
sys.exit(len(bad) > 0)
PY

quick="--repeats 2 --warmup 1 --roof-size 48"
tiny="--set model.width=16 --set model.heads=2 --set model.seq_len=8 --set train.batch_sequences=8"
measured() { # RANKS NAME CASES ARGS...: bench ARGS with files NAME.json and NAME.h5; the records must be in order
    local ranks=$1 name=$2-$1 cases=$3
    shift 3
    check "bench $*, ranks: $ranks" pleiad_on "$ranks" bench "$@" --json "$name.json" --out "$name.h5"
    cp last_check.log "$name.txt"
    check "... records" "$PYTHON" records.py "$name.json" "$name.h5" "$1" "$ranks" "$cases"
    check "... one line for each case, once" test "$(grep -c "^$1 .*ratio .*check .*ok$" "$name.txt")" == "$(grep -c . "$name.json")"
}
# shellcheck disable=SC2086
for ranks in 1 2 4; do
    measured $ranks gemm 9x8x7,33x20x100 gemm --shape 9x8x7 --shape 33x20x100 $quick
    measured $ranks layer dense,8x1024,8x1024-swiglu,64x256-hmoe layer --case dense --case 8x1024 --case 8x1024-swiglu --case 64x256-hmoe $quick $tiny
    measured $ranks rows peer-million layer --case peer-million $quick $tiny --set moe.sub_keys=16 --table-mib 4
    measured $ranks step 8x1024,small step --case 8x1024 --case small $quick $tiny
    measured $ranks rowstep peer step --case peer $quick $tiny --set moe.sub_keys=16
done
for ranks in 2 3 4; do
    measured $ranks exchange 2-of-8-home,16-of-256-home,2-of-8-owner exchange --case 2-of-8-home --case 16-of-256-home --case 2-of-8-owner $quick $tiny
done
# shellcheck disable=SC2086
for ranks in 2 4; do
    measured $ranks overlap 2-of-16-home,8-of-64-owner overlap --case 2-of-16-home --case 8-of-64-owner $quick $tiny --set moe.expert_width=8 --set exchange.chunks=4
done
check "experts and exchange together are measured against each of them" says overlap-2.txt '^overlap 8-of-64-owner.*chunks 4.*tokens/s \((the experts|the exchange) by (themselves|itself), slower' \
    'exchange_ms' 'forward_over_slower' 'check numbers that differ from those of an exchange by itself: 0.0'
check "rows that travel are measured against MPI" says exchange-2.txt '^exchange 2-of-8-owner.*byte/s of .*byte/s \(MPI_Alltoallv of the same counts' 'backward_ratio' 'ratio_to_others'
check "the line says what, shape, ranks, threads, library, time, rate, roof, ratio, check" says layer-2.txt \
    '^layer dense: forward and backward .*tokens 64, width 16, .*2 ranks x 1 thread, (openblas|onednn)(, exchange [a-z_]+)?; median of 2: [0-9.]+ ms \(quartiles .*FLOP/s of .*FLOP/s \(one 48 x 48 x 48 product, openblas\): ratio [0-9.]+ \(quartiles .*; check .*, ok$'
check "unequal widths are measured against equal ones" says layer-1.txt '^layer 64x256-hmoe.*\(the layer of equal widths'
check "rows are measured against rows read at random" says rows-1.txt '^layer peer-million.*byte/s of .*byte/s \(rows of 16 numbers read at random from 4 MiB\)' 'triad'
check "a step says its phases and shares" says step-2.txt 'attention_ms' 'expert_ms' 'optimizer_ms' 'products_share' 'record_share' 'statistics_ms' 'tokens_per_second'
no_record_left() { ! compgen -G "$TMPDIR/pleiad-bench-*" >/dev/null; }
check "... and leaves no record behind" no_record_left
check "inspect reads the file" pleiad_on 1 inspect layer-2.h5
cp last_check.log inspect.txt
check "... its format and datasets" says inspect.txt 'format pleiad-bench/1' 'ratio \[4\] float64' 'cpu = ' 'roof_value' 'layer dense, .*FLOP/s of .*ratio .*checks ok'

# A layer of one's own.
cat >mine.ini <<'END'
[model]
width = 16
layers = 2
heads = 2
seq_len = 8
[moe]
preset = mixtral
experts = 3
expert_width = 12
layers = 1
[train]
batch_sequences = 6
lanes = 2
[data]
corpus = nowhere.h5
END
# shellcheck disable=SC2086
measured 2 mine config layer --config mine.ini --set moe.k=1 $quick
check "a configuration is measured with its settings" says mine-2.json '"experts":3' '\\nk = 1\\n' '"kept":48'
# shellcheck disable=SC2086
measured 1 minestep config step --config mine.ini --set model.vocab=50 $quick
# shellcheck disable=SC2086
measured 1 threads config layer --config mine.ini --set parallel.blas_threads=2 --set parallel.products=openblas $quick
check "... with threads and library" says threads-1.txt '1 rank x 2 threads, openblas'

for bench in gemm layer exchange overlap step; do
    pleiad_on 2 bench "$bench" --list >list.txt
    check "bench $bench --list" says list.txt '^(large|8x1024|2-of-8-home|2-of-16-home) +'
    check "... once on 2 ranks" test "$(sort list.txt | uniq -d | wc -l)" == 0
done

bad() { # WHAT "ARGS" PATTERN...: one line on standard error and nothing else, exit code 2, on 1 and 2 ranks
    local what=$1 arguments=$2 ranks
    shift 2
    for ranks in 1 2; do
        # shellcheck disable=SC2086
        pleiad_on $ranks bench $arguments >bad.out 2>bad.txt
        check "$what, ranks: $ranks: exit code 2" test $? == 2
        check "... one line" test "$(grep -c . bad.txt)" == 1 -a ! -s bad.out
        check "... that says" says bad.txt "$@"
    done
}
bad "nothing to measure" "" '^pleiad: bench \(nothing\): must be'
bad "an unknown benchmark" "speed" 'bench speed: must be gemm, layer'
bad "an unknown case" "layer --case 9x9" '--case 9x9: .*the cases are dense, 8x1024'
bad "an unknown case of products" "gemm --case 9x9" '--case 9x9: .*large'
bad "a shape that is none" "gemm --shape 9x9" '--shape 9x9: must be MxNxK'
bad "a shape of nothing" "gemm --shape 0x9x9" '--shape 0x9x9: must be MxNxK'
bad "a case and a shape" "gemm --case large --shape 9x9x9" '--case large: does not go with --shape'
bad "a case and a configuration" "layer --case dense --config mine.ini" '--case dense: does not go with --config'
bad "no repeats" "step --repeats 0" '--repeats 0: must be from 1'
bad "negative time" "step --seconds -1" '--seconds -1'
bad "a setting that no case knows" "layer --case dense --set moe.expert=3" 'moe.expert .*unknown'
bad_on_one() {
    pleiad_on 1 bench "$1" >bad.out 2>bad.txt
    [[ $? == 2 ]] && says bad.txt "bench $1: nothing travels on one rank"
}
check "an exchange on one rank" bad_on_one exchange
check "an overlap on one rank" bad_on_one overlap
bad "a bandwidth below nothing" "exchange --bandwidth -1" '--bandwidth -1: must be at least 0'
bandwidth_of_nothing() {
    # shellcheck disable=SC2086
    pleiad_on 2 bench exchange --bandwidth 200 --case 2-of-8-home $quick $tiny >bad.out 2>bad.txt
    [[ $? == 2 ]] && says bad.txt '--bandwidth 200: all ranks are on one node'
}
check "a bandwidth on one node" bandwidth_of_nothing
# shellcheck disable=SC2086
measured 2 idle 8-of-64-home exchange --case 8-of-64-home $quick $tiny --set parallel.shadow=2 --set parallel.rebalance=worth
check "settings without effect are named" says idle-2.txt 'experts do not move here, whatever parallel.rebalance' 'no experts are lent here, whatever parallel.shadow'

# Interrupted it leaves no folder behind.
interrupted() { # RANKS
    local here process command=("$PLEIAD")
    if (($1 > 1)); then command=("$MPIRUN" -n "$1" "$PLEIAD"); fi
    here=$(mktemp -d)
    # --foreground: else timeout passes the signal on twice, and mpirun answers the second one by killing at once.
    # shellcheck disable=SC2086
    TMPDIR=$here OMPI_MCA_odls_base_sigkill_timeout=2 timeout --foreground -k 5 60 "${command[@]}" bench step --case small $tiny --roof-size 48 --repeats 100000 --seconds 1000 >interrupted.txt 2>&1 &
    process=$!
    for ((i = 0; i < 300; ++i)); do
        if compgen -G "$here/pleiad-*/run.h5" >/dev/null; then break; fi
        sleep 0.1
    done
    compgen -G "$here/pleiad-*/run.h5" >/dev/null || return 1
    kill -TERM "$process" # passed on
    ! wait "$process" || return 1
    for ((i = 0; i < 50; ++i)); do
        if ! compgen -G "$here/*" >/dev/null; then break; fi
        sleep 0.1
    done
    rmdir "$here"
}
check "interrupted, on one rank, it leaves no folder" interrupted 1
check "... on two" interrupted 2
bad "a layer without experts" "layer --config mine.ini --set moe.layers=none" 'moe.layers = none'
bad "a configuration that is not there" "layer --config none.ini" 'none.ini: cannot be read'
bad "an option of another benchmark" "gemm --set moe.k=2" "unrecognised option '--set'"
bad "a file that is there" "gemm --json mine.ini" '--json mine.ini: exists already'
bad "a file without its folder" "gemm --out none/x.h5" '--out none/x.h5: there is no folder none'
bad "a preset over a standard case" "layer --case 8x1024 --set moe.preset=switch" '--set moe.preset=switch: a standard case says itself'
finish
