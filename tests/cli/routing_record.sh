#!/usr/bin/env bash
# Statistics and routing.h5 of the variants: the same bits on any number of ranks, what run.h5 says is what the entries say, and a record
# that is resumed, sampled, switched on and off.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOI'
[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[train]
steps = 12
batch_sequences = 10
lanes = 8
warmup_steps = 5
learning_rate = 0.003
eval_every = 6
eval_windows = 10
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 4
EOI

train() { # NAME RANKS SETTINGS...
    local name=$1 ranks=$2 setting
    shift 2
    local settings=()
    for setting in "$@"; do settings+=(--set "$setting"); done
    pleiad_on "$ranks" train --config tiny.ini --out "$name" "${settings[@]}"
}
variant() { # NAME SETTINGS...: every step recorded on 1, 2 and 3 ranks
    local name=$1 ranks
    shift
    check "$name: every step recorded" train "$name-1" 1 metrics.record_routing=full "$@"
    check "$name: the entries give the counts of run.h5" runs routing "$name-1" 1
    for ranks in 2 3; do
        check "$name: recorded on $ranks ranks" train "$name-$ranks" "$ranks" metrics.record_routing=full "$@"
        check "... the same bits" runs same "$name-1" "$name-$ranks"
    done
}

switch=(moe.preset=switch "moe.experts=5" "moe.expert_widths=24,40,8,16,1" moe.capacity_factor=0.8)
variant switch "${switch[@]}"
variant choice moe.router=expert_choice moe.experts=4 moe.expert_width=8 moe.choices=1 moe.allow_noncausal=true
variant damoe moe.preset=damoe moe.experts=6 moe.expert_width=8 moe.capacity_factor=1 moe.eval_capacity=train moe.allow_noncausal=true
variant hyper moe.preset=hypermoe moe.experts=5 moe.k=2 moe.expert_width=8
variant peer moe.router=peer moe.sub_keys=32 moe.heads=3 moe.k=5 moe.layers=1

cat >look.py <<'PY'
"""What only some variants have, and what the variants differ in."""
import sys
import h5py
import numpy as np

bad = []


def expect(what, truth):
    if not np.all(truth):
        bad.append(what)


def record(name):
    return h5py.File(f"{name}-3/run.h5", "r")


with record("switch") as f:
    r, e = f["routing"], f["evaluation"]
    widths, load = f["layers/expert_width"][()], r["expert_tokens"][()]
    expect("widths", f["layers/widths"][()] == [1, 8, 16, 24, 40])
    order = np.argsort(widths)
    expect("share by width", np.isclose(r["width_share"][()], (load / load.sum(axis=2, keepdims=True))[:, :, order]))
    work = load * 4.0 * 16 * widths
    expect("share of flops by width", np.isclose(r["width_flops_share"][()], (work / work.sum(axis=2, keepdims=True))[:, :, order]))
    expect("overloaded", r["overloaded"][()] == (work > 2 * work.mean(axis=2, keepdims=True)).sum(axis=2))
    router = 2 * 16 * 5
    expect("flops per token", np.isclose(r["flops_per_token"][()], work.sum(axis=2) / 160 + router))
    expect("drops in training, with top-1 all of them first choices that leave a token with nothing",
           (r["dropped"][()] > 0) & (r["dropped"][()] == r["dropped_first_choices"][()]) & (r["dropped"][()] == r["tokens_emptied"][()]))
    expect("no drops in evaluation", e["dropped"][()] == 0)
    expect("no importance, nothing generated", [n not in r for n in ("importance_by_position", "generated_experts", "tokens_per_generated")])
    dense = f.attrs["parameters_total"] - 2 * sum(2 * 16 * w for w in widths)
    active = dense + (e["expert_tokens"][()] * 32.0 * widths).sum(axis=(1, 2)) / e["targets"][()]
    expect("active parameters", np.isclose(e["active_parameters"][()], active))
    expect("causal", [f.attrs["causal"] == 1, f.attrs["allow_noncausal"] == 0, "note" not in f.attrs])
    expect("exchanged bytes", f["steps/exchange_bytes"][()] == f["ranks/3/bytes"][()].sum(axis=(1, 2)))
    between = f["ranks/3/between_bytes"][()]
    expect("bytes between nodes, of which there is one", [between.shape == f["ranks/3/bytes"].shape, (between == 0).all(), (f["steps/between_bytes"][()] == 0).all()])
    expect("no padding", f["steps/padding_tokens"][()] == 0)
    expect("token alignment", (e["token_alignment"][()] > 0) & (e["token_alignment"][()] < 1))
    table = e["expert_domain_tokens"][()].astype(float)
    p = table / table.sum(axis=(2, 3), keepdims=True)
    independent = p.sum(axis=3, keepdims=True) * p.sum(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nansum(p * np.log(p / independent), axis=(2, 3))
        entropy = -np.nansum(p.sum(axis=3) * np.log(p.sum(axis=3)), axis=2)
    expect("alignment with domains", np.isclose(e["alignment"][()], information / entropy))
with record("choice") as f:
    expect("some tokens chosen by nobody, none emptied", (f["routing/tokens_unchosen"][()] > 0) & (f["routing/tokens_emptied"][()] == 0))
    expect("noted", [f.attrs["causal"] == 0, f.attrs["allow_noncausal"] == 1, "later tokens" in str(f.attrs["note"])])
with record("damoe") as f:
    for group in ("routing", "evaluation"):
        importance, k = f[f"{group}/importance_by_position"][()], f[f"{group}/k_by_position"][()]
        expect(f"{group}: importance by position", (importance.shape[2] == 16) & (importance >= 0) & (importance <= 1) & (importance.max() > 0))
        expect(f"{group}: the first token has importance 0, so one expert at most", (importance[:, :, 0] == 0) & (k[:, :, 0] <= 1))
        expect(f"{group}: mean K", np.isclose(k.mean(axis=2), f[f"{group}/mean_k"][()]))
    expect("drops in evaluation too", f["evaluation/dropped"][()].sum() > 0)
with record("hyper") as f:
    sets = f["routing/generated_experts"][()]
    expect("at most as many generated experts as pairs", (sets > 0) & (sets <= 10))
    expect("saving", np.isclose(f["routing/tokens_per_generated"][()], 160 / sets))
with record("peer") as f:
    expect("experts of peer", f["routing/expert_tokens"].shape == (12, 1, 1024))
    expect("15 entries for every token", (f["routing/mean_k"][()] == 15) & (f["routing/k_histogram"][()][:, :, 15] == 160))
    expect("no widths", ["widths" not in f["layers"], "width_share" not in f["routing"]])
print("\n".join(bad))
sys.exit(len(bad) > 0)
PY
check "figures of the variants" "$PYTHON" look.py

sampled=(metrics.record_routing=sampled metrics.record_every=3)
check "every third step recorded" train some 2 "${switch[@]}" "${sampled[@]}"
check "... those and no others" runs routing some 3
check "... the same entries as if all were recorded" runs sampled switch-1 some
check "recording changes nothing that is computed" train none 1 "${switch[@]}"
absent() { [[ ! -e $1 ]]; }
check "... by default nothing is recorded" absent none/routing.h5
cp -r some/routing.h5 kept.h5
rm some/routing.h5
check "... and the run is the same" runs same none some
cp kept.h5 some/routing.h5

check "stop at step 7 on 2 ranks" pleiad_on 2 train --config tiny.ini --out cut --stop-at 7 --set moe.preset=switch --set moe.experts=5 --set moe.expert_widths=24,40,8,16,1 \
    --set moe.capacity_factor=0.8 --set metrics.record_routing=full
rm cut/checkpoints/step-0000000007.h5
check "... continued on 3 ranks from the checkpoint of step 4" pleiad_on 3 train --resume cut
check "... ends in the same bits" runs continued switch-1 cut
check "recording may be changed when a run is continued" pleiad_on 1 train --config tiny.ini --out late --stop-at 6 --set moe.experts=5 --set moe.expert_width=8
check "... it starts then" pleiad_on 2 train --resume late --set metrics.record_routing=sampled --set metrics.record_every=4
late_steps() { "$PYTHON" -c 'import h5py, sys; steps = list(h5py.File("late/routing.h5", "r")["step"][()]); print(steps); sys.exit(steps != [8, 12])'; }
check "... with the steps from there on" late_steps

cat >older.py <<'PY'
"""Takes two datasets out of a run record, as if an older version had written it; with an argument, looks at what became of them."""
import sys
import h5py
import numpy as np

with h5py.File("older/run.h5", "r" if sys.argv[1:] else "r+") as f:
    if not sys.argv[1:]:
        del f["routing/usage"], f["evaluation/dead"]
        sys.exit()
    usage, dead = f["routing/usage"][()], f["evaluation/dead"][()]
    print(usage, dead)
    good = [len(f["routing/" + name]) == 12 for name in f["routing"]] + [len(f["evaluation/" + name]) == 3 for name in f["evaluation"]]
    good += [np.all(np.isnan(usage[:6])), np.all(usage[6:] > 0), np.all(dead[:2] == -1), np.all(dead[2:] >= 0)]
    sys.exit(not all(good))
PY
check "a record of an older version, half way" pleiad_on 1 train --config tiny.ini --out older --stop-at 6 --set train.eval_every=3 --set moe.experts=5 --set moe.expert_width=8
check "... without two datasets" "$PYTHON" older.py
check "... is continued" pleiad_on 1 train --resume older --set train.eval_every=6
check "... their rows are in step with the others" "$PYTHON" older.py look

pleiad_on 1 inspect some/routing.h5 >inspect.txt
check "inspect describes the record" says inspect.txt 'format pleiad-routing/1' 'routing of 4 steps from 3 to 12 of 10 sequences of 16 tokens, 5 experts, router topk' \
    'block 0: 640 entries, [0-9]+ of them kept' 'seed = 1' 'preset = switch' 'lanes = 8' 'expert_flops \[5\]'
check "an unknown way of recording is refused" exits 2 pleiad_on 2 train --config tiny.ini --out bad --set metrics.record_routing=some
cp last_check.log refused.txt
check "... by name" says refused.txt 'metrics.record_routing = some: .*none, sampled, full'
check "recording every 0 steps is refused" exits 2 pleiad_on 1 train --config tiny.ini --out bad --set metrics.record_every=0
pleiad_on 1 train --config tiny.ini --out live --set moe.preset=hypermoe --set moe.experts=5 --set moe.expert_width=8 --set moe.capacity_factor=0.8 >live.txt
check "the progress line shows what the variant is about" says live.txt '^step +12/12 .*imbalance [0-9.]+ \(flops [0-9.]+\)  K 0.[0-9]+  entropy [0-9.]+  dropped [0-9.]+ %  [0-9]+ tokens per generated expert'
check "an evaluation shows every layer" says live.txt '^  block 1: usage [0-9.]+ %, unevenness [0-9.]+, dead [0-9]+, overloaded [0-9]+, flops imbalance [0-9.]+, [0-9.]+ kflop/token, knows [0-9.]+ of the domain, [0-9.]+ of the token' 'M active parameters'
finish
