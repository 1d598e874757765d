#!/usr/bin/env bash
# What run.h5 says about ranks: bytes of every pair of them, rows and flops of their experts. Over data groups, dry runs, resumes, kills.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
measured() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_measure.py" "$@"; }

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'EOI'
[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[moe]
preset = mixtral
experts = 5
expert_widths = 24,40,8,16,1
[train]
steps = 20
batch_sequences = 8
lanes = 8
warmup_steps = 5
eval_every = 6
eval_windows = 10
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 4
EOI

check "one rank" pleiad_on 1 train --config tiny.ini --out one
check "... sends nothing" measured one 1
check "three ranks" pleiad_on 3 train --config tiny.ini --out three --set moe.placement=round_robin
check "... all adds up" measured three 3
check "four ranks in two data groups, sums at the owner" pleiad_on 4 train --config tiny.ini --out groups --set parallel.data_groups=2 --set exchange.combine=owner
check "... all adds up" measured groups 4
sed -i '/^expert/d' tiny.ini
check "dry run of three ranks" pleiad_on 1 train --config tiny.ini --out dry --set exchange.kind=dry_run --set exchange.pretend_ranks=3
check "... all adds up" measured dry 3
check "the same on three ranks" pleiad_on 3 train --config tiny.ini --out real
same_pairs() { "$PYTHON" -c 'import h5py, numpy as n; a, b = (h5py.File(r + "/run.h5", "r")["pairs/3/bytes"][()] for r in ("dry", "real")); raise SystemExit(bool(not n.array_equal(a, b) or a.sum() == 0))'; }
check "... sends what was pretended, pair by pair" same_pairs
check "dry run of 65 ranks" pleiad_on 1 train --config tiny.ini --out many --set exchange.kind=dry_run --set exchange.pretend_ranks=65
no_pairs() { ! h5ls "$1/run.h5" | grep -q pairs; }
check "... has no pairs" no_pairs many
grep -v '^experts\|^preset' tiny.ini >peer.ini
check "peer" pleiad_on 2 train --config peer.ini --out peer --set moe.preset=peer --set moe.sub_keys=12 --set moe.k=3 --set moe.query_dim=8
check "... all adds up" measured peer 2
check "dense" pleiad_on 2 train --config tiny.ini --out dense --set moe.layers=none
check "... has no pairs" no_pairs dense

# Resumed from checkpoint 8, which lies between evaluations; then on three ranks and back on two.
check "stop at step 11 on two ranks" pleiad_on 2 train --config tiny.ini --out cut --stop-at 11
rm cut/checkpoints/step-0000000011.h5
check "... from step 8, to 13" pleiad_on 2 train --resume cut --stop-at 13
check "... on three ranks to 15" pleiad_on 3 train --resume cut --stop-at 15
check "... on two to the end" pleiad_on 2 train --resume cut
check "... all adds up" measured cut 2 3
check "... ends in the same bits" runs continued real cut

cat >older.py <<'PY'
"""Takes the newer datasets out of a record, as an older version would have written it."""
import h5py
with h5py.File("older/run.h5", "r+") as f:
    del f["pairs"]
    for name in ("expert_rows", "expert_flops", "overload", "flops_overload"):
        del f["ranks/2"][name]
PY
check "a record of an older version" pleiad_on 2 train --config tiny.ini --out older --stop-at 10
check "... without what it did not have" "$PYTHON" older.py
check "... is continued" pleiad_on 2 train --resume older
older_rows() { "$PYTHON" -c 'import h5py; f = h5py.File("older/run.h5", "r")["ranks/2"]; r = f["expert_rows"][()]; raise SystemExit(bool(len(r) != 20 or (r[:10] != -1).any() or (r[10:] < 0).any() or {len(f[n]) for n in f} != {20}))'; }
check "... its rows are in step with the others" older_rows
finish
