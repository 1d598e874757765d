#!/usr/bin/env bash
# pleiad simulate: predictions and their files, recorded routing against what the run itself counted, scale, bad inputs. How good predictions are is measured elsewhere.
# PROCESSORS 2
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
example=$PLEIAD_SOURCE/experiments/example.cluster.ini

cat >model.ini <<'END'
[model]
width = 256
layers = 4
heads = 4
seq_len = 128
[moe]
preset = mixtral
experts = 2048
expert_width = 256
k = 8
[train]
batch_sequences = 4096
lanes = 1024
END

cat >look.py <<'PY'
"""look.py FILE.h5 RANKS...: a prediction for each number of ranks, every dataset explained, sums that must agree."""
import sys

import h5py
import numpy as np

bad = []
with h5py.File(sys.argv[1], "r") as f:
    ranks = [int(r) for r in sys.argv[2:]]
    p = f["predictions"]
    if f.attrs["format"] not in (b"pleiad-simulation/1", "pleiad-simulation/1") or list(p["ranks"][()]) != ranks:
        bad.append(f"format {f.attrs['format']}, ranks {p['ranks'][()]}")
    for i, n in enumerate(ranks):
        g = f[f"ranks/{n}"]
        seconds = p["seconds"][i]
        if not np.allclose(g["phase_seconds"][()].sum(axis=1), seconds, rtol=1e-9):
            bad.append(f"{n} ranks: phases do not add up to {seconds}")
        if not np.isclose(p["path_seconds"][i].sum(), seconds, rtol=1e-9):
            bad.append(f"{n} ranks: the critical path does not add up to {seconds}")
        if not 0 < p["efficiency"][i] <= 1 or not np.isclose(p["tokens_per_second"][i], p["tokens"][i] / seconds):
            bad.append(f"{n} ranks: efficiency {p['efficiency'][i]}, {p['tokens_per_second'][i]} tokens/s")
        if g["phase_seconds"].shape != (n, len(f["phases"])) or g["wait_seconds"].shape != (n,):
            bad.append(f"{n} ranks: shapes {g['phase_seconds'].shape}, {g['wait_seconds'].shape}")
        if "[moe]" not in str(f["config"][()]) or "[network]" not in str(f["cluster"][()]):
            bad.append("no configuration or cluster")

    def look(name, item):
        if isinstance(item, h5py.Dataset) and ("description" not in item.attrs or (item.dtype.kind in "fiu" and "units" not in item.attrs)):
            bad.append(f"{name} has no description or no units")

    f.visititems(look)
print("\n".join(bad))
sys.exit(len(bad) > 0)
PY

simulate() { pleiad_on 1 simulate --config model.ini --cluster "$example" "$@"; }
check "1,024 ranks and fewer" simulate --ranks 1,64,1024 --out some.h5
cp last_check.log some.txt
check "... a line for each, phases, path, links, memory" says some.txt '^predicted, not measured: model.ini on example .*experts alike' '^ranks +nodes +step ms' '^ +1 +1 +' '^ +64 +8 +' '^ 1024 +128 +' \
    '^attention ' '^critical path: .* %; rank [0-9]+ is on it' '^busiest link: (leaf|node) ' '^memory of the fullest rank: weights '
check "... and the file says the same" "$PYTHON" look.py some.h5 1 64 1024
check "inspect reads it" pleiad_on 1 inspect some.h5
cp last_check.log inspect.txt
check "... in words" says inspect.txt 'format pleiad-simulation/1' '1024 ranks on 128 nodes: [0-9.]+ ms' 'phase_seconds \[1024 x 15\] float64 in s'
simulate --ranks 64 --skew zipf:1 >once.txt 2>&1
check "the same seed, the same prediction" same_output once.txt simulate --ranks 64 --skew zipf:1
differs() { simulate --ranks 64 --skew zipf:1 --set train.seed=2 >other.txt && ! cmp -s once.txt other.txt; }
check "another seed, another one" differs
for skew in uniform zipf:1.2 hot:0.1 drift:1,10 domains:1,8; do
    check "routing $skew" simulate --ranks 256 --skew $skew --step 3
done
for topology in "switch" "fat_tree leaf_nodes=16" "dragonfly routers_per_group=4 nodes_per_router=4 local_gbit=100 global_gbit=50" "torus torus=8,4,4 link_gbit=50"; do
    # shellcheck disable=SC2086
    set -- $topology
    sed -e "s/^topology = .*/topology = $1/; /^leaf_nodes/d; /^oversubscription/d" "$example" >topology.ini
    [[ $1 == switch ]] && sed -i '/^hop_us/d' topology.ini
    for key in "${@:2}"; do sed -i "s/^topology = .*/&\n${key%%=*} = ${key#*=}/" topology.ini; done
    check "$1" pleiad_on 1 simulate --config model.ini --cluster topology.ini --out "$1.h5"
    check "... its file" "$PYTHON" look.py "$1.h5" 1024
    "$PYTHON" -c "import h5py,sys; t=h5py.File(sys.argv[1])['cluster'][()]; print(t.decode() if isinstance(t, bytes) else t)" "$1.h5" >written.ini
    pleiad_on 1 simulate --config model.ini --cluster topology.ini | tail -n +2 >first.txt
    pleiad_on 1 simulate --config model.ini --cluster written.ini | tail -n +2 >second.txt
    check "... the cluster in it predicts the same" cmp first.txt second.txt
done

# A run's own routing, on as many ranks: the bytes and rows that the run counted.
check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'END'
[model]
vocab = 256
width = 16
layers = 3
heads = 2
seq_len = 16
[moe]
router = topk
k = 2
experts = 6
expert_width = 8
layers = 0,2
capacity_factor = 1
[train]
steps = 4
batch_sequences = 10
lanes = 8
sample_tokens = 0
[data]
corpus = corpus.h5
[metrics]
record_routing = sampled
record_every = 4
END
sed -e 's/^nodes = .*/nodes = 1/; s/^ranks_per_node = .*/ranks_per_node = 2/' "$example" >node.ini
cat >counted.py <<'PY'
"""counted.py RUN.h5 PREDICTED.h5: rows of each rank's experts and bytes of the last step."""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "r") as run, h5py.File(sys.argv[2], "r") as predicted:
    rows, sent = run["ranks/2/expert_rows"][-1], run["ranks/2/bytes"][-1].sum(axis=0)
    print(rows, predicted["ranks/2/expert_rows"][()], sent, predicted["ranks/2/sent_bytes"][()])
    sys.exit(not (np.array_equal(rows, predicted["ranks/2/expert_rows"][()]) and np.array_equal(sent, predicted["ranks/2/sent_bytes"][()])))
PY
vocab=$(pleiad_on 1 inspect corpus.h5 | sed -n 's/.*vocab = \([0-9]*\).*/\1/p' | head -n 1)
[[ -n $vocab ]] && sed -i "s/^vocab = .*/vocab = $vocab/" tiny.ini
for combine in home owner; do
    check "a run that records its routing, $combine" pleiad_on 2 train --config tiny.ini --out "run-$combine" --set exchange.kind=all_to_all --set exchange.combine=$combine
    check "... replayed on as many ranks" pleiad_on 1 simulate --config tiny.ini --cluster node.ini --set exchange.kind=all_to_all --set exchange.combine=$combine --routing "run-$combine/routing.h5" --out "$combine.h5"
    check "... has the rows and bytes that the run counted" "$PYTHON" counted.py "run-$combine/run.h5" "$combine.h5"
done
check "... on more ranks and a larger batch" pleiad_on 1 simulate --config tiny.ini --cluster "$example" --routing run-home/routing.h5 --sequences-per-rank 2
cp last_check.log more.txt
check "... which says that sequences are repeated" says more.txt 'replayed from run-home/routing.h5: 10 sequences' '^note, 1024 ranks: 10 sequences were recorded and the batch has 2048: they are repeated'

# A run beside its prediction.
cat >beside.py <<'PY'
"""beside.py FILE.h5: what was measured stands beside the prediction, explained."""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "r") as f:
    m = f["measured"]
    assert m.attrs["steps"] > 0 and len(m["phase_seconds"]) == len(f["phases"]), "sizes"
    assert np.isclose(m["error"][0], m["predicted_seconds"][0] / m["seconds"][0] - 1), "error"
    assert 0 < m["predicted_seconds"][0] <= f["predictions/seconds"][0], "predicted"
    rows = f[f"ranks/{f['predictions/ranks'][0]}/expert_rows"][()].sum(axis=1)
    assert (rows > 0).all() and all("units" in d.attrs and "description" in d.attrs for d in m.values()), rows
PY
for what in moe.router=topk "moe.router=topp --set moe.p=0.6" "moe.preset=peer --set moe.sub_keys=8 --set moe.query_dim=8 --set moe.heads=2 --set moe.k=2" moe.layers=none; do
    grep -v '^\(experts\|expert_width\|expert_widths\|router\|preset\|k\|capacity_factor\) = ' tiny.ini >bare.ini
    rm -rf beside
    # shellcheck disable=SC2086  # several words
    check "a run beside its prediction: $what" pleiad_on 2 train --config bare.ini --out beside --predict "$example" --set $what
    cp last_check.log said.txt
    check "... says both by phase" says said.txt '^predicted for example beside measured, medians of [0-9]+ steps, means over 2 ranks:$' '^  attention +[0-9.]+ +[0-9.]+ +[+-][0-9.]+ %$' '^  step +[0-9.]+ +[0-9.]+ +[+-][0-9.]+ %$'
    [[ $what == moe.layers=none ]] || check "... and in a file" "$PYTHON" beside.py beside/prediction.h5
done
short() { pleiad_on 1 train --config bare.ini --out short --predict "$example" --set train.steps=1 >last.txt && says last.txt 'note: no prediction beside what was measured: --predict: 1 steps were made'; }
check "too few steps are no error" short
no_cluster() { exits 2 pleiad_on 2 train --config bare.ini --out never --predict none.ini 2>last.err && says last.err '^pleiad: cluster none.ini: cannot be read' && [[ $(wc -l <last.err) == 1 && ! -e never ]]; }
check "a cluster file that is not there ends it before anything is written" no_cluster

# A million experts on 65,536 ranks, in the time and memory that docs/simulate.md speaks of.
sed -e 's/^nodes = .*/nodes = 8192/' "$example" >large.ini
sed -e 's/^preset = .*/preset = peer/; s/^experts = .*/sub_keys = 1024/; s/^expert_width = .*/heads = 8/; s/^k = .*/k = 16/; s/^lanes = .*/lanes = 65536/; s/^batch_sequences = .*/batch_sequences = 65536/' model.ini >million.ini
large() { (ulimit -v 4194304; timeout 60 "$PLEIAD" simulate --config million.ini --cluster large.ini --skew zipf:0.5); }
check "65,536 ranks and 1,048,576 experts within 60 s and 4 GiB" large

# A search: the fastest one is what training takes, and as fast as a prediction of it says.
search() { pleiad_on 1 simulate search --config model.ini --cluster "$example" --ranks 64 --sequences-per-rank 2 --set moe.experts=128 --skew zipf:0.5 "$@"; }
check "a search" search --out best.ini
cp last_check.log found.txt
check "... lists what it found, and why" says found.txt '^predicted, not measured: model.ini on 64 ranks of example; .* [0-9]+ settings$' '^ *[0-9.]+ +[0-9]+ +[0-9.]+ +[0-9]+ +(hierarchical|all_to_all|gather|local) .* %$' '[+-][0-9.]+ ms' '^the fastest: --set parallel.data_groups='
same_time() {
    local ms
    ms=$(sed -n '3s/^ *\([0-9.]*\) .*/\1/p' found.txt)
    pleiad_on 1 simulate --config best.ini --cluster "$example" --ranks 64 --sequences-per-rank 2 --skew zipf:0.5 >said.txt && says said.txt "^ *64 +8 +$ms "
}
check "... whose file is predicted to take as long" same_time
sed -e 's/^memory_gib.*/memory_gib = 12/' "$example" >little.ini
fits() { pleiad_on 1 simulate search --config model.ini --cluster little.ini --ranks 64 --sequences-per-rank 2 >said.txt && says said.txt 'settings, [0-9]+ of them need more memory than a node has'; }
check "... passes over what does not fit" fits

bad() { # WHAT PATTERN ARGUMENTS...: one line on standard error and nothing else, exit code 2
    local what=$1 pattern=$2
    shift 2
    pleiad_on 1 simulate "$@" >bad.out 2>bad.txt
    check "$what: exit code 2" test $? == 2
    check "... one line" test "$(grep -v '^search: ' bad.txt | grep -c .)" == 1 -a ! -s bad.out
    check "... that says" says bad.txt "$pattern"
}
changed() { # WHAT SED PATTERN: the example, changed
    sed -e "$2" "$example" >changed.ini
    bad "$1" "^pleiad: changed.ini: $3" --config model.ini --cluster changed.ini
}
changed "no number of nodes" '/^nodes/d' 'cluster.nodes is missing: number of nodes'
changed "text for a number" 's/^nodes.*/nodes = many/' 'cluster.nodes = many: must be a whole number from 1'
changed "a rate below nothing" 's/^stream_gbs.*/stream_gbs = -1/' 'memory.stream_gbs = -1: must be a number from'
changed "a table with a hole" 's/^gemm_rows.*/gemm_rows = 1,8,64/' 'compute.gemm_gflops has 20 entries: 12 are needed'
changed "axes that do not ascend" 's/^gemm_widths.*/gemm_widths = 64,16,256,1024/' 'compute.gemm_widths = 64,16,256,1024: must be a list of ascending numbers'
changed "an unknown key" 's/^name.*/nmae = x/' 'cluster.nmae = x: unknown key; section \[cluster\] takes'
changed "an unknown section" 's/^\[memory\]/[disk]/' 'section \[disk\] is unknown; the sections are cluster, compute'
changed "an unknown topology" 's/^topology.*/topology = ring/' 'network.topology = ring: must be one of switch, fat_tree'
changed "a key of another topology" 's/^topology.*/topology = dragonfly/' 'network.routers_per_group is missing'
changed "a key twice" 's/^name.*/nodes = 3/' 'cluster.nodes is given twice'
changed "a line that is none" 's/^name.*/name/' "?.*'name'; a line is|.*line [0-9]+: 'name'"
changed "a torus that is too small" 's/^topology.*/topology = torus\ntorus = 2,2\nlink_gbit = 1/; /^leaf_nodes/d; /^oversub/d' 'network.torus = 2,2: has 4 places, cluster.nodes is 128'
changed "a straggler beyond the last node" '$a [stragglers]\nnodes = 128\nslowness = 2' 'stragglers.nodes = 128: must be'
bad "no cluster" '^pleiad: simulate: --cluster is missing' --config model.ini
bad "no configuration" '^pleiad: simulate: --config is missing' --cluster "$example"
bad "a cluster that is not there" '^pleiad: cluster none.ini: cannot be read' --config model.ini --cluster none.ini
bad "a configuration that is not there" '^pleiad: config none.ini: cannot be read' --config none.ini --cluster "$example"
bad "an unknown setting" 'moe.expert = 3: unknown key' --config model.ini --cluster "$example" --set moe.expert=3
bad "no ranks" '--ranks 0: must be different whole numbers' --config model.ini --cluster "$example" --ranks 0
bad "ranks twice" '--ranks 8,8: must be different' --config model.ini --cluster "$example" --ranks 8,8
bad "skew that is none" '--skew zipf: must be uniform, zipf:EXPONENT' --config model.ini --cluster "$example" --skew zipf
bad "skew of a recording" '--skew uniform: does not go with --routing' --config model.ini --cluster "$example" --skew uniform --routing run-home/routing.h5
PLEIAD_FLOWS=/there/is/none bad "an engine without its program" '^pleiad: --engine simgrid: /there/is/none is not there; it is built with Pleiad where CMake finds SimGrid' --config model.ini --cluster "$example" --engine simgrid
flows=$(dirname "$PLEIAD")/pleiad_flows
if [[ -x $flows ]]; then
    both_engines() { pleiad_on 1 simulate --config model.ini --cluster "$example" --ranks 64 --skew zipf:0.5 --engine simgrid --out engine.h5 && pleiad_on 1 inspect engine.h5; }
    check "the other engine" both_engines
else
    echo "skipped: --engine simgrid, for which SimGrid (Debian package libsimgrid-dev) was not there at building"
fi
bad "an engine that is none" '--engine guess: must be one of analytic' --config model.ini --cluster "$example" --engine guess
bad "a recording of another model" '--routing run-home/routing.h5: was recorded with 6 experts, the configuration has 2048' --config model.ini --cluster "$example" --routing run-home/routing.h5
bad "a recording that is none" 'some.h5' --config tiny.ini --cluster "$example" --routing some.h5
sed -e 's/^preset = .*/router = topp/; /^k = /d' model.ini >topp.ini
bad "a router whose experts the data decide" 'moe.router = topp: how many experts a token has depends on the data; give --mean-k' --config topp.ini --cluster "$example"
check "... and how many that are" pleiad_on 1 simulate --config topp.ini --cluster "$example" --mean-k 1.5
bad "experts that are known" '--mean-k 3: moe.router = topk gives every token 8 experts' --config model.ini --cluster "$example" --mean-k 3
bad "groups that do not divide the ranks" 'parallel.data_groups = 3: must divide the number of ranks, 1024' --config model.ini --cluster "$example" --set parallel.data_groups=3
bad "local on many ranks" 'exchange.kind = local: works on 1 rank per expert group only' --config model.ini --cluster "$example" --set exchange.kind=local
bad "a search for two numbers of ranks" '--ranks 8,16: a search is for one number' search --config model.ini --cluster "$example" --ranks 8,16
bad "a search without a cluster" 'simulate search: --cluster is missing' search --config model.ini
sed -e 's/^memory_gib.*/memory_gib = 0.001/' "$example" >little.ini
bad "a search where nothing fits" 'none of [0-9]+ settings fits the memory of a node of example \(0.0 GiB\); the least would need' search --config model.ini --cluster little.ini --ranks 64
bad "a file that is there" '--out some.h5: exists already' --config model.ini --cluster "$example" --out some.h5
finish
