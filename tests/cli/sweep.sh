#!/usr/bin/env bash
# Sweeps on one machine: what a sweep file means, constraints, interruption, damage, failure, and one table of results.
# PROCESSORS 4
# TIMEOUT 300
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
sweep() { timeout -k 5 200 "$PLEIAD" sweep "$@"; }
refused() { # PATTERN ARGS...: one line that says so, exit code 2
    exits 2 sweep "${@:2}" >refused.txt 2>&1 && says refused.txt "$1" && [[ $(wc -l <refused.txt) == 1 ]]
}
# tell WHAT COMMAND...: check, and what the command said stays in said.txt.
tell() {
    check "$@"
    cp last_check.log said.txt
}
# shellcheck disable=SC2012
point() { basename "$(ls -d "$1"/points/$2)"; }  # SWEEP PATTERN: the name of the one point that fits

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
mkdir configs
cat >configs/base.ini <<'INI'
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
[moe]
experts = 4
expert_width = 48
[train]
steps = 40
batch_sequences = 8
lanes = 4
eval_every = 20
eval_windows = 8
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 10
INI
cat >configs/sizes.ini <<'INI'
[sweep]
base = base.ini
repeats = 2
[grid]
moe.experts = 4 | 8 | 12
moe.k = 1 | 2
[equal]
quantity = flops_per_token
solve = moe.expert_width
INI

# ---- plan ----
tell "plan without --out prints points" sweep plan configs/sizes.ini
check "... all of them" says said.txt '^moe.experts  moe.k  moe.expert_width  seed  ranks' '^4 +1 +48 +1 +1 ' '^4 +2 +24 +2 +1 ' '^12 +2 +'
check "... and makes nothing" test ! -e sizes
check "plan" sweep plan configs/sizes.ini --out sizes
check "... makes a folder for each point" test "$(find sizes/points -name point.ini | wc -l)" = 12
tell "... waiting" sweep status sizes
check "... as status says" says said.txt '12 points: 12 waiting'
dry_run_agrees() { # what the plan says of a point is what train --dry-run says
    local p
    p=$(point sizes 'experts-8_k-2_*seed-1*')
    pleiad_on 1 train --dry-run --config "sizes/points/$p/point.ini" >dry.txt || return 1
    "$PYTHON" - "$p" <<'PY'
import json, re, sys
sizes = next(p["sizes"] for p in json.load(open("sizes/sweep.json"))["points"] if p["name"] == sys.argv[1])
text = open("dry.txt").read()
active, flops = map(float, re.search(r"with 2 experts per token and layer: ([\d.]+) M active parameters, ([\d.]+) M forward flops", text).groups())
total = float(re.search(r"parameters: ([\d.]+) M in all", text).group(1))
for name, value in (("total_parameters", total), ("active_parameters", active), ("flops_per_token", flops)):
    assert abs(sizes[name] / 1e6 - value) < 6e-4, (name, sizes, value)
PY
}
check "sizes are those of train --dry-run" dry_run_agrees

# ---- run, interrupted ----
mapfile -t before < <(find sizes/points -name run.h5)
check "nothing ran yet" test "${#before[@]}" = 0
# stopped_by SIGNAL: starts the sweep, waits until a point is finished, sends the signal.
stopped_by() {
    local code
    "$PLEIAD" sweep run sizes --cores 2 >run.txt 2>&1 &
    local pid=$!
    for _ in $(seq 600); do grep -q 'finished  loss' run.txt && break; sleep 0.01; done
    kill -s "$1" "$pid"
    wait "$pid"
    code=$?
    # Points that were running save and end by themselves.
    for _ in $(seq 500); do pgrep -f "train --continue --config sizes/points" >/dev/null || break; sleep 0.01; done
    [[ $code == "$2" ]] || { echo "exit code $code"; cat run.txt; return 1; }
}
check "Ctrl-C saves what runs" stopped_by INT 75
check "... with a summary" says run.txt 'stopped|waiting'
check "kill -9 of the runner ends what it runs" stopped_by KILL 137
tell "... which is not lost" sweep status sizes
check "... nor failed" says said.txt '12 points: [0-9]+ finished, ([0-9]+ stopped, )?[0-9]+ waiting$'
tell "running it again finishes the rest" sweep run sizes --cores 3
check "... all of it" says said.txt '12 points: 12 finished' '^experts  k  expert_width  seeds +loss' '^best: '
tell "... and then there is nothing to do" sweep run sizes
check "... at all" says said.txt 'running 0 of them'
check "an undisturbed sweep" sweep run configs/sizes.ini --out whole
all_same() {
    local p
    for p in sizes/points/*; do runs same "$p" "whole/points/$(basename "$p")" || return 1; done
}
check "... has the same names and bits" all_same

# ---- results ----
check "collect" sweep collect sizes
table_is_true() {
    "$PYTHON" - <<'PY'
import csv, json
import h5py
import numpy as np

rows = list(csv.DictReader(open("sizes/collected.csv")))
points = json.load(open("sizes/sweep.json"))["points"]
assert [r["point"] for r in rows] == [p["name"] for p in points] and len(rows) == 12
with h5py.File("sizes/collected.h5") as f:
    assert f.attrs["format"] == b"pleiad-sweep/1" and f.attrs["git_commit"]
    assert [c.decode() for c in f["columns"]] == list(rows[0])
    assert "units" in f["points/loss_nats"].attrs and "description" in f["points/loss_nats"].attrs
    for i, (row, p) in enumerate(zip(rows, points)):
        with h5py.File(f"sizes/points/{p['name']}/run.h5") as run:
            e = run["evaluation"]
            assert f["points/loss_nats"][i] == e["loss"][-1] == float(row["loss_nats"])
            assert f["points/flops_per_token"][i] == e["model_flops_per_token"][-1]
            assert abs(p["sizes"]["flops_per_token"] - e["model_flops_per_token"][-1]) < 1e-9, "nothing is dropped, so kept is planned"
            assert abs(p["sizes"]["active_parameters"] - e["active_parameters"][-1]) < 1e-6
            assert p["sizes"]["total_parameters"] == run.attrs["parameters_total"] == float(row["parameters"])
            assert np.array_equal(f["curves/loss"][i], e["loss"][()]) and np.array_equal(f["curves/step"][i], e["step"][()])
        assert f["points/moe.expert_width"][i] == float(p["settings"]["moe.expert_width"]) and f["points/seed"][i] == p["seed"]
        assert row["state"] == "finished"
    flops = f["points/flops_per_token"][()]
    assert flops.max() / flops.min() < 1.02, flops
PY
}
check "... is what the records say, at equal FLOPs" table_is_true
check "inspect tells of it" pleiad_on 1 inspect sizes/collected.h5

# ---- adding points; changing them ----
sed 's/repeats = 2/repeats = 3/' configs/sizes.ini >configs/more.ini
tell "another seed is added" sweep run configs/more.ini --out sizes
check "... six points" says said.txt '18 points in sizes, 6 of them new' 'running 6 of them' '18 points: 18 finished'
check "the smaller sweep would lose points" refused 'sizes: holds another sweep: it has the point .*seed-3' run configs/sizes.ini --out sizes
cp configs/base.ini kept.ini
sed -i 's/^steps = 40/steps = 41/' configs/base.ini
check "a changed base is refused" refused 'holds another sweep: train.steps is 40 there and 41 now' run configs/more.ini --out sizes
check "... also in a plan" refused 'train.steps is 40 there and 41 now' plan configs/more.ini --out sizes
cp kept.ini configs/base.ini
p=$(point sizes 'experts-8_k-1*seed-2*')
cp "sizes/points/$p/point.ini" kept.ini
sed -i 's/^experts = 8/experts = 9/' "sizes/points/$p/point.ini"
check "a changed point is refused" refused "$p/point.ini: was changed since the sweep was planned" run sizes
tell "... and shown" sweep status sizes
check "... as damaged" says said.txt "$p +damaged .*point.ini was changed" '17 finished, 1 damaged'
cp kept.ini "sizes/points/$p/point.ini"

# ---- markers and damage ----
cp "sizes/points/$p/finished.json" marker.json
other=$(point sizes 'experts-4_k-1*seed-1*')
cp "sizes/points/$other/finished.json" "sizes/points/$p/finished.json"
tell "the marker of another point finishes nothing" sweep status sizes
check "... says why" says said.txt "$p +damaged .*(of another configuration|when the run finished|was changed or damaged)"
cp marker.json "sizes/points/$p/finished.json"
tell "the right one does" sweep status sizes
check "... again" says said.txt '18 points: 18 finished'
printf x | dd of="sizes/points/$p/run.h5" bs=1 seek=30000 conv=notrunc status=none
tell "a record with a changed byte is no result" exits 1 sweep run sizes
check "... but damage" says said.txt '17 finished, 1 damaged' 'pleiad sweep rerun sizes'
tell "rerun makes it anew" sweep rerun sizes
check "... only that one" says said.txt 'running 1 of them' '18 points: 18 finished'
check "... with the same result" runs same "sizes/points/$p" "whole/points/$p"
check "... keeping what was there" test -e "sizes/points/$p/earlier-1/run.h5"

check "rerun that may not run moves nothing" refused 'cores 0' rerun sizes --cores 0
tell "... " sweep status sizes
check "... at all" says said.txt '18 points: 18 finished'
rm "sizes/points/$p/point.ini"
check "a lost point.ini is no reason to run anything" sweep run sizes
check "... the sweep file writes it again" sweep plan configs/more.ini --out sizes
check "... as it was" cmp kept.ini "sizes/points/$p/point.ini"
cp corpus.h5 other.h5
check "a sweep of other data" sweep plan configs/more.ini --out data --set "data.corpus=$PWD/other.h5"
rm other.h5
check "... which are replaced" pleiad_on 1 data synth --out other.h5 --tokens 20000 --document 64 --seed 6
check "... is not run" refused 'other.h5 is not what it was when the sweep was planned' run data

# ---- failure of one point ----
cat >configs/ranks.ini <<'INI'
[sweep]
base = base.ini
[grid]
ranks = 1 | 2 | 3
INI
check "a sweep over ranks" sweep plan configs/ranks.ini --out ranks
bad=$(point ranks 'ranks-2*')
echo "no HDF5" >"ranks/points/$bad/run.h5"
tell "a point that cannot run" exits 1 sweep run ranks
check "... is told" says said.txt "$bad +failed .*exit code 2: pleiad: .*run.h5.* is not an HDF5 file" '2 finished, 1 failed'
tell "... and told again" sweep status ranks
check "... by status" says said.txt "$bad +failed .* 1 +exit code 2: pleiad: .*is not an HDF5 file"
tell "run leaves it alone" exits 1 sweep run ranks
check "... and says so" says said.txt 'running 0 of them'
check "rerun tries once more" exits 1 sweep rerun ranks
tell "rerun --fresh begins anew" sweep rerun ranks --fresh
check "... and all are finished" says said.txt '3 points: 3 finished'
check "the number of ranks changes nothing" runs same "ranks/points/$(point ranks 'ranks-1*')" "ranks/points/$bad"
check "... at all" runs same "ranks/points/$(point ranks 'ranks-3*')" "ranks/points/$bad"

# ---- other constraints, lists, samples ----
cat >configs/other.ini <<'INI'
[sweep]
base = base.ini
seeds = 7
samples = 2
[set]
train.steps = 2
train.eval_every = 0
[list]
moe.experts = 4 | 6
moe.width_distribution = homogeneous | geometric
[random]
train.learning_rate = log 1e-4 1e-2
moe.router = choice topk | topp
[equal]
quantity = active_parameters
to = 40000
mean_k = 1.5
INI
tell "lists, samples and active parameters" sweep run configs/other.ini --out other --set model.width=24
check "... four points" says said.txt '4 points: 4 finished'
widths_differ() { grep -h '^expert_width' other/points/*/point.ini | sort -u | wc -l | grep -qx '[2-4]' && ! grep -L "^width = 24" other/points/*/point.ini | grep -q .; }
check "... of several widths" widths_differ

# ---- what is refused ----
check "no file" refused 'no sweep file and no folder' run
check "a file that is not there" refused 'sweep run nowhere.ini: there is no such file or folder' run nowhere.ini --out x
check "a folder without a sweep" refused 'configs: holds no sweep' run configs
check "status of nothing" refused 'nowhere: holds no sweep' status nowhere
check "an unknown word" refused 'sweep walk: must be plan' walk
check "--out with a folder" refused 'go with a sweep file' run sizes --out x
check "--cores 0" refused '--cores 0: must be at least 1' run sizes --cores 0
check "a base that is not there" refused 'base = .*none.ini: cannot be read' plan <(printf '[sweep]\nbase = none.ini\n') --out x
sed 's/^base.*/base = base.ini/; s/4 | 8 | 12/4 | x/' configs/sizes.ini >configs/bad.ini
check "a value that no run takes" refused 'point with moe.experts = x, moe.k = 1: .*moe.experts = x: must be a whole number' plan configs/bad.ini --out x
sed 's/moe.k/moe.kk/' configs/sizes.ini >configs/bad.ini
check "a key that no run knows" refused 'moe.kk = 1: unknown key' plan configs/bad.ini --out x
sed 's/^solve.*/to = 100/' configs/sizes.ini >configs/bad.ini
check "a target that cannot be met" refused 'no moe.expert_width comes within 2 %; 1 gives' plan configs/bad.ini --out x
check "a value with a comment sign" refused "data.prompt: a value must not hold '#'" plan configs/sizes.ini --out x --set 'data.prompt=a #b'
printf '\xEF\xBB\xBF[sweep]\n# caf\xe9\nbase = base.ini\n' >configs/odd.ini
check "a mark of the encoding, and another encoding" sweep plan configs/odd.ini --out odd
check "no such data" refused 'nowhere.h5' plan configs/sizes.ini --out x --set data.corpus=nowhere.h5
check "a run folder" refused 'holds a run' plan configs/sizes.ini --out "sizes/points/$p"
check "a sweep file and --cores 0" refused '--cores 0: must be at least 1' run configs/sizes.ini --out x --cores 0
under_mpirun() { exits 2 "$MPIRUN" -n 1 "$PLEIAD" sweep run "$@" >refused.txt 2>&1 && says refused.txt 'start it without'; }
check "a sweep file under mpirun" under_mpirun configs/sizes.ini --out x
check "... none of these made anything" test ! -e x
echo '{' >broken.json
mkdir broken && mv broken.json broken/sweep.json
check "a damaged index" refused 'broken/sweep.json: is damaged or of another version' status broken
check "run under mpirun" under_mpirun sizes
exec 9>>sizes/lock
flock 9
check "a sweep that another process runs" refused 'another process is running points' run sizes
flock -u 9

# ---- the runner's environment is that of experiments/env.sh ----
names() { grep -oE "$1"'\("?(OMPI|OPENBLAS|OMP)[A-Za-z_]+' "$2" | grep -oE '(OMPI|OPENBLAS|OMP)[A-Za-z_]+' | sort; }
shell_names() { grep -oE '^ *pleiad_default [A-Za-z_]+' "$PLEIAD_SOURCE/experiments/env.sh" | awk '{print $2}' | sort; }
same_names() { diff <(shell_names) <(names set_default "$PLEIAD_SOURCE/src/sweep/local_environment.cpp"); }
check "the environment of points has the variables of env.sh" same_names
finish
