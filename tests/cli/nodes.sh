#!/usr/bin/env bash
# Training on several nodes, which are namespaces of this machine with cables between them: the bits of one rank, and bytes as the cables counted them.
# PROCESSORS 2
# TIMEOUT 300
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
unset "${!OMPI_MCA_@}"  # transports between nodes are not those of one machine
nodes=$PLEIAD_SOURCE/tests/support/nodes
bash "$nodes" -n 2 -r 1 -- true >probe.txt 2>&1
if [[ $? == 77 ]]; then
    cat probe.txt
    exit 77
fi

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOI'
[model]
width = 64
layers = 2
heads = 2
seq_len = 32
dense_width = 48
[moe]
experts = 16
k = 6
expert_width = 24
[train]
steps = 10
batch_sequences = 16
lanes = 8
warmup_steps = 5
eval_every = 10
eval_windows = 8
sample_tokens = 0
[data]
corpus = corpus.h5
EOI

# train NAME NODES RANKS_PER_NODE SETTINGS...: also writes NAME.cables
train() {
    local name=$1 count=$2 ranks=$3 setting
    shift 3
    local settings=(--set parallel.memory_check=none)  # its trial steps are on the cables, but not in the record
    for setting in "$@"; do settings+=(--set "$setting"); done
    timeout -k 5 100 bash "$nodes" -n "$count" -r "$ranks" -c "$name.cables" -- "$PLEIAD" train --config tiny.ini --out "$name" "${settings[@]}"
}
runs() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_runs.py" "$@"; }
same_as_one() { train "$@" && runs same one "$1"; }
fact() { "$PYTHON" -c 'import h5py, sys; print(h5py.File(sys.argv[1] + "/run.h5").attrs["exchange"])' "$1"; }

check "one rank" pleiad_on 1 train --config tiny.ini --out one
check "4 nodes of 2 ranks, hierarchical: the same bits" same_as_one hierarchical 4 2 exchange.kind=hierarchical exchange.chunks=1
check "... each rank with each: the same bits" same_as_one flat 4 2 exchange.kind=all_to_all exchange.chunks=1
check "3 nodes of 2, 1 and 3 ranks, hierarchical in 3 chunks: the same bits" same_as_one uneven 3 2,1,3 exchange.kind=hierarchical exchange.chunks=3
check "2 nodes of 1 rank, in 4 chunks: the same bits" same_as_one chunks 2 1 exchange.kind=all_to_all exchange.chunks=4
check "2 nodes of 1 rank, whatever the model chooses: the same bits" same_as_one chosen 2 1
check "2 nodes of 1 rank, which lend experts" train lent 2 1 exchange.kind=all_to_all exchange.chunks=4 parallel.shadow=4
check "... agree closely" runs near 1e-2 one lent
lending_saves() { "$PYTHON" - <<'EOP'
import sys, h5py
lent, chunks = (h5py.File(run + "/run.h5")["ranks/2"] for run in ("lent", "chunks"))
fewer, borrowed = chunks["between_bytes"][()].sum() - lent["between_bytes"][()].sum(), lent["shadows"][()].sum()
print(f"{borrowed} experts borrowed, {lent['shadow_bytes'][()].sum()} bytes of them, {fewer} bytes fewer in all")
sys.exit(not (fewer > 0 and borrowed > 0 and lent["shadows"][()].max() <= 4 and chunks["shadow_bytes"][()].max() == 0))
EOP
}
check "... and send less" lending_saves
fact chosen >fact.txt
check "... and the record says what, and what it rests on" says fact.txt '2 ranks on 2 nodes.*predicted.*hierarchical.*between nodes'
check "4 nodes of 2 ranks, sums on the nodes" train sums 4 2 exchange.kind=hierarchical exchange.combine=owner exchange.chunks=1
check "... agrees closely" runs near 1e-2 one sums
check "... each rank with each" train flat_sums 4 2 exchange.kind=all_to_all exchange.chunks=1 exchange.combine=owner

# What else travels is the same in both runs, so it is no part of the difference.
cables_agree() { # RUN LEAN_RUN
    "$PYTHON" - "$@" <<'EOP'
import sys, h5py, numpy as np
def between(run):
    b = h5py.File(run + "/run.h5")["pairs/8/bytes"][()].sum(axis=0)
    node = np.arange(8) // 2
    return int(b[node[:, None] != node[None, :]].sum())
def recorded(run):
    file = h5py.File(run + "/run.h5")
    b = file["ranks/8/between_bytes"][()].sum(axis=1)
    return bool((b.sum(axis=1) == file["steps/between_bytes"][()]).all()) and int(b.sum()) == between(run)
def cables(run):
    return sum(int(line.split()[1]) for line in open(run + ".cables"))
more, less = sys.argv[1:]
told, counted = between(more) - between(less), cables(more) - cables(less)
print(f"between nodes: {between(more)} and {between(less)} bytes recorded; on the cables {cables(more)} and {cables(less)}; ratio of differences {counted / told:.4f}")
sys.exit(not (recorded(more) and recorded(less) and between(less) < between(more) and 0.98 < counted / told < 1.2))
EOP
}
check "the cables carry as much more as the records say" cables_agree flat_sums sums
check "... also with sums at home" cables_agree flat hierarchical

# The benchmark of the cables, tiny: that it works, never how fast anything is.
check "bench_nodes" bash "$PLEIAD_SOURCE/experiments/bench_nodes" --repeats 1 --json bench.json --set model.width=16 --set model.heads=2 --set model.seq_len=8
check "... each token once per node, and what the cables make of it" test "$(grep -c '"bytes_over_least":{"value":1.0,.*"of_bandwidth":{"value":[0-9]' bench.json)" == 2
check "... and what hides behind experts" test "$(grep -c '"over_slower":{"value":[0-9].*"backward_over_slower"' bench.json)" == 3

# ---- checkpoints with a file of each node ----
parted() { timeout -k 5 100 bash "$nodes" -n 3 -r 2,1,2 -- "$PLEIAD" train --config tiny.ini --out parted --set checkpoint.files=per_node --set checkpoint.every=3 --stop-at 6; }
check "3 nodes of 2, 1 and 2 ranks save a file each" parted
parts() { local files=(parted/checkpoints/step-0000000006.*.part-?.h5) && [[ ${#files[@]} == 3 && -s parted/checkpoints/step-0000000006.h5 ]] || { ls -l parted/checkpoints; return 1; }; }
check "... which are there" parts
cp -r parted lost
lost() { rm lost/checkpoints/step-0000000006.*.part-1.h5 && pleiad_on 2 train --resume lost >lost.txt 2>&1 && says lost.txt 'passed over a checkpoint: .*part-1.h5' 'going on from lost/checkpoints/step-0000000003.h5'; }
check "... a checkpoint without one of its parts is passed over" lost
check "... to the same bits" runs continued one lost
goes_on() { timeout -k 5 100 bash "$nodes" -n 2 -r 2 -- "$PLEIAD" train --resume parted --set checkpoint.files="$1" "${@:2}"; }
check "... 2 nodes of 2 ranks go on" goes_on per_node --stop-at 8
check "... and 1 rank to the end, in one file" pleiad_on 1 train --resume parted --set checkpoint.files=one
check "... to the same bits" runs continued one parted
none_left() { ! ls parted/checkpoints/step-0000000003.* 2>/dev/null; }
check "... parts of checkpoints that are gone are gone" none_left
finish
