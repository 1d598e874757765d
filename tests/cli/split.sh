#!/usr/bin/env bash
# Dense to sparse: pleiad split, runs that start from a checkpoint (train --init), and sweeps at evaluation.
# PROCESSORS 2
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

tells() { # FILE PATTERN...: inspect says so
    pleiad_on 1 inspect "$1" >inspected.txt && says inspected.txt "${@:2}"
}

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
check "another one" pleiad_on 1 data synth --out other.h5 --tokens 30000 --document 64 --seed 6
cat >dense.ini <<'EOI'
[model]
width = 32
layers = 3
heads = 2
seq_len = 32
dense_width = 48
[moe]
preset = dense
[train]
steps = 20
batch_sequences = 12
learning_rate = 0.003
eval_every = 0
eval_windows = 20
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 0
EOI

# ---- split ----
column() { "$PYTHON" -c "
import csv, sys
print(list(csv.DictReader(open(sys.argv[1])))[int(sys.argv[2])][sys.argv[3]])" "$@"; }
same_loss() { # DENSE SPLIT: evaluate to the same loss within 1e-5
    rm -f a.csv b.csv
    pleiad_on 1 eval "$1" --sweep moe.placement=block --csv a.csv && pleiad_on 1 eval "$2" --sweep moe.threshold=1 --csv b.csv || return 1
    "$PYTHON" -c "
import sys
a, b = float(sys.argv[1]), float(sys.argv[2])
sys.exit(f'{a} and {b}' if abs(a - b) > 1e-5 else 0)" "$(column a.csv 0 loss)" "$(column b.csv 0 loss)"
}
same_weights() { "$PYTHON" -c "
import sys
import h5py
a, b = (h5py.File(name) for name in sys.argv[1:])
found = []
a['params'].visititems(lambda n, d: found.append(n) if isinstance(d, h5py.Dataset) and d[()].tobytes() != b['params'][n][()].tobytes() else None)
sys.exit(f'differ: {found}' if found else 0)" "$@"; }

for kind in "gelu 6 --set model.dense_bias=true" "swiglu 8 --set model.tied_head=true"; do
    read -r activation experts more <<<"$kind"
    # shellcheck disable=SC2086
    check "a dense model, $activation" pleiad_on 2 train --config dense.ini --out "$activation" --set model.dense_activation="$activation" $more
    check "... split into $experts" pleiad_on 1 split "$activation" --experts "$experts" --out "$activation-1.h5"
    check "... evaluates to the same at threshold 1" same_loss "$activation" "$activation-1.h5"
    check "... and on 2 ranks to the same bits" same_output <(pleiad_on 1 eval "$activation-1.h5") pleiad_on 2 eval "$activation-1.h5"
    check "... split on 2 ranks" pleiad_on 2 split "$activation" --experts "$experts" --out "$activation-2.h5"
    check "... gives the same weights" same_weights "$activation-1.h5" "$activation-2.h5"
    check "... says where it comes from" tells "$activation-1.h5" 'init_checkpoint = step-0000000020.h5' 'init_step = 20' 'step = 0'
done
check "only blocks 0 and 2, with other options" pleiad_on 2 split gelu/checkpoints/step-0000000020.h5 --experts 4 --layers 0,2 --set moe.balance_loss=0.01 --set moe.capacity_factor=1 --out some.h5
check "... evaluates to the same" same_loss gelu some.h5
check "... can be sampled from" pleiad_on 1 sample some.h5 --tokens 3
stored() { "$PYTHON" -c "
import h5py
value = h5py.File('some.h5')['config'][()]
print(value.decode() if isinstance(value, bytes) else value)"; }
stored >stored.ini
check "... stores its configuration" says stored.ini '^layers = 0,2$' '^experts = 4$' '^expert_width = 12$' '^router = threshold$' '^threshold = 1$' '^activation = gelu$' '^expert_bias = true$' '^balance_loss = 0.01$' '^steps = 20$'

# ---- sweep ----
check "a sweep over two keys" pleiad_on 1 eval gelu-1.h5 --sweep moe.threshold=0,0.5,1 --sweep moe.renormalize=true,false --csv sweep.csv
grep -v '^sweep: ' last_check.log >sweep.txt
check "... has a table of 6 points" says sweep.txt 'moe.threshold  moe.renormalize +loss  above floor  perplexity +mean K  expert flops/token' '^ +0.5 +true +[0-9.]+ +[0-9.]+ +[0-9.]+ +3.000 +9216$'
check "... and nothing else" test "$(wc -l <sweep.txt)" == 7
check "... and a file" test "$(wc -l <sweep.csv)" == 7
check "... one expert at threshold 0, all at 1" test "$(column sweep.csv 0 mean_k) $(column sweep.csv 5 mean_k) $(column sweep.csv 5 expert_flops_per_token)" == "1 6 $((6 * 4 * 8 * 32 * 3))"
check "a sweep on 2 ranks prints the same" same_output sweep.txt pleiad_on 2 eval gelu-1.h5 --sweep moe.threshold=0,0.5,1 --sweep moe.renormalize=true,false
one_point() { # the sweep's loss is that of --set
    pleiad_on 1 eval gelu-1.h5 --set moe.threshold=0.5 >one.txt
    says one.txt "loss $(printf '%.4f' "$(column sweep.csv 3 loss)") nat"
}
check "a point is what --set gives" one_point
check "the two capacity modes" pleiad_on 2 eval some.h5 --sweep moe.eval_capacity=dropless,train --set moe.threshold=0.5 --set moe.allow_noncausal=true --csv capacity.csv
check "... dropless keeps all 2 experts of a token" test "$(column capacity.csv 0 mean_k)" == 2
check "... train keeps the fair share: experts 0 and 1 of 4, tied as they are, a quarter of the tokens each" test "$(column capacity.csv 1 mean_k)" == 0.5

# ---- init ----
check "train from the split model, its configuration" pleiad_on 2 train --init gelu-1.h5 --out sparse --set train.steps=40 --set checkpoint.every=15
cp last_check.log sparse.txt
check "... says so" says sparse.txt 'starting from the weights of gelu-1.h5 \(step 0\)'
check "... and writes it down" tells sparse/run.h5 'init_checkpoint = gelu-1.h5' 'init_step = 0'
check "... every checkpoint too" tells sparse/checkpoints/step-0000000040.h5 'init_checkpoint = gelu-1.h5'
first_loss() { "$PYTHON" -c "
import h5py
print('%.5f' % h5py.File('$1/run.h5')['steps/task_loss'][0])"; }
check "the dense model, 1 step more from its own weights" pleiad_on 1 train --init gelu --config dense.ini --set model.dense_bias=true --set train.steps=1 --out more
check "... both begin with the same loss" test "$(first_loss sparse)" == "$(first_loss more)"
check "... which is another than from random weights" test "$(first_loss more)" != "$(first_loss gelu)"
check "... the record names run and step" tells more/run.h5 'init_checkpoint = step-0000000020.h5' 'init_step = 20'
learnt() { "$PYTHON" -c "
import h5py, numpy as np
f = h5py.File('sparse/checkpoints/step-0000000040.h5')
for block in range(3):
    w = f[f'params/blocks/{block}/ffn/router/w'][()]
    assert w.shape == (6, 32) and np.all(np.abs(w).max(axis=1) > 0) and np.abs(w - w.mean(axis=0)).max() > 1e-3, w
"; }
check "the router, zero at first, has learnt" learnt
check "the same run on 1 rank" pleiad_on 1 train --init gelu-2.h5 --out sparse-1 --set train.steps=40 --set checkpoint.every=15
check "... is the same, bit for bit" runs same sparse sparse-1
check "another corpus is allowed" pleiad_on 1 train --init gelu-1.h5 --out elsewhere --set data.corpus=other.h5 --set train.steps=2
check "--init --dry-run" pleiad_on 1 train --init gelu-1.h5 --dry-run

# ---- resume of a run that was started with --init ----
check "stopped before its first update" pleiad_on 1 train --init gelu-1.h5 --out stopped --set train.steps=40 --set checkpoint.every=15 --stop-at 0
check "... has its first weights" same_weights gelu-1.h5 stopped/checkpoints/step-0000000000.h5
mv gelu-1.h5 gone.h5
cp -r stopped norecord
check "... resumed, the file it came from being gone" pleiad_on 2 train --resume stopped
check "... ends in the same bits" runs same sparse stopped
check "killed between the first weights and the record: resumed" bash -c "rm norecord/run.h5 && '$PLEIAD' train --resume norecord"
check "... ends in the same bits" runs same sparse norecord
check "... and still says where it comes from" tells norecord/run.h5 'init_checkpoint = gelu-1.h5'
mkdir -p killed/checkpoints && touch killed/checkpoints/step-0000000000.h5.partial killed/log.txt
check "killed while the first weights were written: can be started again" pleiad_on 1 train --init gone.h5 --out killed --set train.steps=40
check "... which leaves no half file" bash -c '! compgen -G "killed/checkpoints/*.partial"'

# ---- match ----
expert_flops() { "$PYTHON" -c "
import h5py
print(h5py.File('$1/run.h5')['evaluation/expert_flops_per_token'][-1])"; }
cat >control.ini <<'EOI'
[model]
width = 32
layers = 3
heads = 2
seq_len = 32
[moe]
experts = 6
expert_width = 8
[train]
steps = 20
batch_sequences = 12
eval_windows = 20
sample_tokens = 0
[data]
corpus = corpus.h5
EOI
check "a run whose tokens have different numbers of experts" pleiad_on 1 train --config control.ini --out varying --set moe.router=threshold --set moe.threshold=0.6
check "a control matched to it" pleiad_on 2 train --config control.ini --out matched --set moe.router=matched_topk --match varying
equal_flops() { "$PYTHON" -c "
import sys
a, b = map(float, sys.argv[1:])
sys.exit(f'{a} and {b}' if abs(a - b) > 0.001 * a else 0)" "$(expert_flops varying)" "$(expert_flops matched)"; }
check "... takes as many flops" equal_flops
check "... and knows its figure by itself" grep -Eq '^ *mean_k = [1-9][.][0-9]+$' <(h5dump -d /config matched/run.h5)
check "... so that it can be resumed" pleiad_on 1 train --resume matched --set train.steps=22
check "what the user says wins over --match" pleiad_on 1 train --config control.ini --out mine --set moe.router=matched_topk --set moe.mean_k=2 --match varying --set train.steps=1
check "... mean_k = 2" grep -Eq '^ *mean_k = 2$' <(h5dump -d /config mine/run.h5)
finish
