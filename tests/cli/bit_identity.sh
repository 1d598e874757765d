#!/usr/bin/env bash
# With combine = home a run is the same, bit for bit, on any number of ranks; other ways of combining agree closely.
# PROCESSORS 8
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOF'
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
dense_width = 48
[moe]
experts = 5
[train]
steps = 50
batch_sequences = 12
lanes = 8
warmup_steps = 5
learning_rate = 0.003
eval_every = 25
eval_windows = 10
sample_tokens = 6
[data]
corpus = corpus.h5
[checkpoint]
every = 25
EOF

config=tiny.ini
train() { # NAME RANKS SETTINGS...
    local name=$1 ranks=$2 setting
    shift 2
    local settings=()
    for setting in "$@"; do settings+=(--set "$setting"); done
    pleiad_on "$ranks" train --config "$config" --out "$name" "${settings[@]}"
}
same_run() { # NAME RANKS SETTINGS...: trains and compares with NAME on 1 rank
    train "$1-$2" "${@:2}" && runs same "$1-1" "$1-$2"
}

# compare NAME "RANKS" SETTINGS...: the run on 1 rank, and the same on others
compare() {
    local name=$1 list=$2 ranks
    shift 2
    check "$name: 50 steps on 1 rank" train "$name-1" 1 "$@"
    for ranks in $list; do
        check "$name: the same bits on $ranks ranks" same_run "$name" "$ranks" "$@"
    done
}

compare switch "2 3 4 5 8" moe.preset=switch moe.expert_widths=24,40,8,16,1
compare gshard "2 4 8" moe.preset=gshard moe.capacity_order=probability moe.expert_bias=true moe.activation=relu \
    moe.expert_width=20 moe.placement=round_robin model.tied_head=true moe.z_loss=0.01
compare mixtral "2 4 8" moe.preset=mixtral moe.experts=3 moe.expert_widths=24,8,33 moe.placement=balanced moe.layers=1
compare noisy "2 4 8" moe.router=noisy_topk moe.k=2 moe.expert_widths=9,40,8,16,12 moe.importance_loss=0.1 moe.load_loss=0.1 \
    moe.capacity_factor=1.2 moe.eval_capacity=train moe.allow_noncausal=true
# Ranks without tokens (4 lanes, 7 sequences) and without experts.
compare few_lanes "3 8" train.lanes=4 train.batch_sequences=7 moe.k=3 moe.expert_width=16 moe.penalty_loss=0.01 moe.entropy_loss=-0.01
compare dense "8" moe.preset=dense
# More sub-keys than tokens choose from: experts without tokens, ranks whose experts have none.
grep -v '^experts' tiny.ini >rows.ini
config=rows.ini
peer=(moe.preset=peer moe.sub_keys=16 moe.heads=2 moe.k=3 moe.query_dim=8 moe.layers=1)
compare peer "2 3 8" "${peer[@]}"
check "peer on 4 ranks, in three chunks of tokens" train chunks-peer 4 "${peer[@]}" exchange.kind=all_to_all exchange.chunks=3
check "... gives the same bits" runs same peer-1 chunks-peer
check "a gather for peer" train gather-peer 4 "${peer[@]}" exchange.combine=owner exchange.kind=gather exchange.chunks=1
check "... and in five chunks of tokens" train gather-chunks-peer 4 "${peer[@]}" exchange.combine=owner exchange.kind=gather exchange.chunks=5
check "... gives the same bits" runs same gather-peer gather-chunks-peer
compare pkm "4" moe.preset=pkm moe.sub_keys=7 moe.heads=2 moe.k=4 moe.query_dim=8 moe.batch_norm=false train.sparse_adam=dense
config=tiny.ini

check "one expert for all tokens, 1 rank" train one-1 1 moe.experts=1 moe.expert_width=16 train.steps=10
check "one expert for all tokens: the same bits on 3 ranks" same_run one 3 moe.experts=1 moe.expert_width=16 train.steps=10

switch=(moe.preset=switch "moe.expert_widths=24,40,8,16,1")
check "exchange.kind = all_to_all on 1 rank" train forced 1 "${switch[@]}" exchange.kind=all_to_all
check "... gives the bits of local" runs same switch-1 forced
check "exchange.kind = local on 1 rank" train chosen 1 "${switch[@]}" exchange.kind=local
check "... is what auto takes" runs same switch-1 chosen
check "a dry run of 4 ranks, uneven experts in blocks" train dry-switch 1 "${switch[@]}" exchange.kind=dry_run exchange.pretend_ranks=4
check "... trains as without" runs same switch-1 dry-switch
check "4 ranks, each with each" train each-switch 4 "${switch[@]}" exchange.kind=all_to_all
check "... give the same bits" runs same switch-1 each-switch
check "... and send what was pretended" runs traffic dry-switch each-switch 4

gshard=(moe.preset=gshard moe.capacity_order=probability moe.expert_bias=true moe.activation=relu
    moe.expert_width=20 moe.placement=round_robin model.tied_head=true moe.z_loss=0.01)
for combine in home owner; do
    check "a dry run, experts placed round robin, combine = $combine" train "dry-$combine" 1 "${gshard[@]}" exchange.kind=dry_run exchange.pretend_ranks=4 exchange.combine=$combine
    check "... trains as without" runs same gshard-1 "dry-$combine"
done
check "4 ranks, in three chunks" train chunks-switch 4 "${switch[@]}" exchange.kind=all_to_all exchange.chunks=3
check "... give the same bits" runs same switch-1 chunks-switch
check "dry run in three chunks" train dry-chunks 1 "${switch[@]}" exchange.kind=dry_run exchange.pretend_ranks=4 exchange.chunks=3
check "... counts their messages" runs traffic dry-chunks chunks-switch 4
check "4 ranks, each with each, placed round robin" train each-gshard 4 "${gshard[@]}" exchange.kind=all_to_all
check "... give the same bits" runs same gshard-1 each-gshard
check "... and send what was pretended" runs traffic dry-home each-gshard 4
check "combine = owner on 4 ranks" train owner-4 4 "${gshard[@]}" exchange.combine=owner exchange.kind=all_to_all
check "... agrees closely with home" runs near 1e-2 gshard-1 owner-4
check "... and the dry run counts its traffic" runs traffic_near dry-owner owner-4 4
check "a gather on 4 ranks" train gather-4 4 "${gshard[@]}" exchange.combine=owner exchange.kind=gather
check "... gives the bits of combine = owner" runs same owner-4 gather-4
check "sums at the owner in two chunks" train owner-chunks 4 "${gshard[@]}" exchange.combine=owner exchange.kind=all_to_all exchange.chunks=2
check "... give the bits of one" runs same owner-4 owner-chunks
check "sums on a node on 4 ranks" train node-4 4 "${gshard[@]}" exchange.combine=owner exchange.kind=hierarchical
check "... agree closely with home" runs near 1e-2 gshard-1 node-4
check "experts that change their rank every 5 steps" train moved-4 4 "${gshard[@]}" parallel.rebalance=always parallel.rebalance_every=5
check "... give the same bits" runs same gshard-1 moved-4
any_moved() { h5dump -d /placement/moved moved-4/run.h5 | grep -Eq '\(0\):.*[1-9]' || { h5dump -d /placement/moved moved-4/run.h5; return 1; }; }
check "... and did change it" any_moved
check "2 data groups of 2 ranks" train groups-4 4 "${gshard[@]}" parallel.data_groups=2
check "... agree closely with 1 rank" runs near 1e-2 gshard-1 groups-4
check "4 data groups of 1 rank" train groups4-4 4 "${gshard[@]}" parallel.data_groups=4
check "... agree closely with 1 rank" runs near 1e-2 gshard-1 groups4-4
check "another seed is another run" train seed-1 1 "${gshard[@]}" train.seed=2
check "... with other weights" runs differ gshard-1 seed-1
finish
