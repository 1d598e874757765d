#!/usr/bin/env bash
# What the commands print and write when all is well.
# PROCESSORS 2
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

once() { [[ $(grep -c "$2" "$1") == 1 ]] || { cat "$1"; return 1; }; }

# ---- version and help ----
pleiad_on 1 --version >version.txt
check "--version: version, build type, instruction set, compiler" says version.txt '^pleiad [0-9]+\.[0-9]+\.[0-9]+' 'build:.*(Release|Debug|RelWithDebInfo|None)' 'instruction set|portable' 'compiler: .*[0-9]+\.'
check "--version: MPI, OpenBLAS with kernel and threads" says version.txt 'MPI: +[A-Z].*[0-9]' 'products: OpenBLAS.*kernel' 'products: .*[0-9]+ thread'
check "--version: HDF5 parallel or not, optional parts" says version.txt 'HDF5: +[0-9.]+, (not )?parallel|HDF5: .*serial' 'optional: .*SentencePiece (yes|no), SimGrid (no|[0-9.]+)'
pleiad_on 2 --version >version2.txt
check "--version is printed once on 2 ranks" once version2.txt '^pleiad '
check "without a command: the usage, exit code 2" exits 2 pleiad_on 1
for command in "" train eval split sample score data inspect report bench verify "bench layer" "data build" "data synth" "data labelled" "data pairs" "data info"; do
    # shellcheck disable=SC2086
    check "help of '${command:-pleiad}'" exits 0 pleiad_on 1 $command --help
    # shellcheck disable=SC2086
    pleiad_on 2 $command --help >help.txt 2>help.err
    check "... begins with the usage, once on 2 ranks" once help.txt '^usage: pleiad'
    check "... and nothing on standard error" test ! -s help.err
done
pleiad_on 1 --help >help.txt
check "--help lists the commands" says help.txt '  train' '  eval' '  split' '  sample' '  data' '  inspect' '  verify' '  report'

# ---- scores of translations: the example of SacreBLEU's documentation, which says 48.53 ----
printf '%s\n' 'The dog bit the man.' "It wasn't surprising." 'The man had just bitten him.' >translations.txt
printf '%s\n' 'The dog bit the man.' 'It was not unexpected.' 'The man bit him first.' >references.txt
printf '%s\n' 'The dog had bit the man.' 'No one was surprised.' 'The man had bitten the dog.' >others.txt
pleiad_on 1 score translations.txt --reference references.txt --reference others.txt >score.txt
check "score: BLEU and chrF" says score.txt '^BLEU 48\.53 ' '^chrF [0-9.]+$'
check "score: once on 2 ranks" same_output score.txt pleiad_on 2 score translations.txt --reference references.txt --reference others.txt
check "score: files that do not belong together" exits 2 pleiad_on 1 score translations.txt --reference "$PLEIAD_SOURCE/README.md"

# ---- corpora ----
check "data synth" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
pleiad_on 1 data info corpus.h5 >info.txt
check "data info of a corpus with known truth" says info.txt 'pleiad-corpus/1' 'train: [0-9]+ tokens' 'validation: [0-9]+ tokens' 'domain 5 \(brackets\)' 'true entropy' 'seed = 5'
check "data info on 2 ranks is the same, once" same_output info.txt pleiad_on 2 data info corpus.h5
check "data synth again with --force" pleiad_on 1 data synth --out again.h5 --tokens 30000 --document 64 --seed 5 --force
fingerprint() { h5dump -a /fingerprint "$1" | grep '(0)'; }
check "... is the same corpus" test "$(fingerprint corpus.h5)" == "$(fingerprint again.h5)"
check "... another seed is another" pleiad_on 1 data synth --out again.h5 --tokens 30000 --document 64 --seed 6 --force
check "... with another fingerprint" test "$(fingerprint corpus.h5)" != "$(fingerprint again.h5)"
for i in $(seq 400); do echo "Line $i of a text about $((i * 37 % 101)) ships and $((i * 11 % 7)) birds."; done >text.txt
check "data build, bytes" pleiad_on 1 data build --out bytes.h5 --validation 0.2 text.txt
pleiad_on 1 data info bytes.h5 >info.txt
check "data info of a text" says info.txt 'tokenizer: bytes, vocabulary 256' 'source: .*text.txt \([0-9]+ bytes, sha256 [0-9a-f]{64}\)' 'split'
split_at() { "$PYTHON" -c "
import h5py
f = h5py.File('bytes.h5'); text = open('text.txt', 'rb').read(); train, held = bytes(f['train/tokens'][()].astype('u1')), bytes(f['validation/tokens'][()].astype('u1'))
assert train + held == text, 'the tokens are not the text'
assert abs(len(held) / len(text) - 0.2) < 0.01, len(held)"; }
check "... holds the text, its end held out" split_at

# ---- a run ----
cat >tiny.ini <<'EOF'
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
dense_width = 48
[moe]
preset = gshard
experts = 5
expert_widths = 24,40,8,16,1
z_loss = 0.001
[train]
steps = 30
batch_sequences = 12
lanes = 8
learning_rate = 0.003
eval_every = 10
sample_every = 15
sample_tokens = 6
[data]
corpus = corpus.h5
[checkpoint]
every = 10
EOF
check "train --dry-run" pleiad_on 2 train --config tiny.ini --dry-run
cp last_check.log dry.txt
check "... prints parameters, memory, flops and placement" says dry.txt 'parameters: [0-9.]+ M' 'memory per rank' 'flops per token' 'experts of rank 0: 0 1$' 'experts of rank 1: 2 3 4$'
grep -v '^expert\|^z_loss' tiny.ini >rows.ini
check "train --dry-run of 9,216 experts" pleiad_on 2 train --config rows.ini --dry-run --set moe.preset=peer --set moe.sub_keys=96
cp last_check.log dry.txt
check "... prints ranges, and memory that grows" says dry.txt 'experts of rank 1: 4608 to 9215$' 'after the first step, [0-9.]+ MB once every expert' 'with 128 experts per token'
check "train --dry-run with --out" pleiad_on 1 train --config tiny.ini --out dry --dry-run
check "... creates nothing" test ! -e dry
check "train on 2 ranks" pleiad_on 2 train --config tiny.ini --out run
cp last_check.log run.txt
no_carriage_return() { ! grep -q $'\r' "$@"; }
check "... plain lines where nobody watches" no_carriage_return run.txt run/log.txt
check "... progress with loss, imbalance, tokens/s, ETA" says run.txt '^step +30/30  loss [0-9.]+  imbalance [0-9.]+.*tokens/s  ETA '
check "... evaluations, samples, checkpoints" says run.txt '^evaluation at step 10: loss' 'above the floor' 'by domain' '^sample: ' '^checkpoint at step 30'
check "... a table of phases over ranks, % of step" says run.txt 'phase +min +avg +max +% of step' '^  attention' '^  router' '^  exchange' '^  expert' '^  optimizer' 'over 2 ranks'
check "... whom to cite" says run.txt 'please cite: .*GShard'
check "... log.txt has the same lines" diff <(sort run.txt) <(sort run/log.txt)

cat >record.py <<'PY'
"""The run record, looked at from outside."""
import sys
import h5py
import numpy as np

bad = []
with h5py.File("run/run.h5", "r") as f:
    series = {}

    def look(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        for key in ("units", "description"):
            value = item.attrs.get(key, b"")
            if len(value if isinstance(value, (str, bytes)) else str(value)) == 0:
                bad.append(f"{name}: no {key}")
        if name.split("/")[0] in ("steps", "routing", "evaluation", "checkpoints", "samples", "ranks"):
            series[name] = item
            if item.chunks is None or item.compression is None or item.maxshape[0] is not None:
                bad.append(f"{name}: chunks {item.chunks}, compression {item.compression}, extent {item.maxshape}")

    f.visititems(look)
    needed = """steps/step steps/task_loss steps/total_loss steps/learning_rate steps/grad_norm steps/tokens_per_second steps/seconds
        steps/auxiliary/balance steps/auxiliary/z routing/expert_tokens routing/expert_flops routing/imbalance routing/entropy routing/dropped
        ranks/2/bytes ranks/2/messages ranks/2/phase_seconds evaluation/loss evaluation/above_floor evaluation/alignment checkpoints/step samples/text
        steps/exchange_bytes steps/between_bytes ranks/2/between_bytes ranks/2/shadows ranks/2/shadow_bytes steps/padding_tokens steps/flops_per_token evaluation/token_alignment evaluation/active_parameters evaluation/usage
        routing/k_histogram routing/k_by_position routing/dropped_first_choices routing/unevenness routing/dead routing/overloaded routing/width_share"""
    bad += [f"{name} is missing" for name in needed.split() if name not in series]
    steps = f["steps/step"][()]
    if not np.array_equal(steps, np.arange(1, 31)):
        bad.append(f"steps {steps}")
    for name, item in series.items():
        rows = {"steps": 30, "routing": 30, "ranks": 30, "evaluation": 3, "checkpoints": 3, "samples": 2}[name.split("/")[0]]
        if len(item) != rows:
            bad.append(f"{name}: {len(item)} rows, expected {rows}")
        if item.dtype.kind == "f" and not np.all(np.isfinite(item[()])):
            bad.append(f"{name}: not all finite")
    kept, dropped = f["routing/expert_tokens"][()].sum(axis=2), f["routing/dropped"][()]
    if not np.array_equal(kept + dropped, np.full((30, 2), 12 * 32 * 2)):
        bad.append("kept and dropped assignments are not 2 per token")
    if dropped.sum() == 0:
        bad.append("nothing was dropped at a capacity factor of 1.25")
    widths = f["layers/expert_width"][()]
    if not np.array_equal(widths, [24, 40, 8, 16, 1]):
        bad.append(f"widths {widths}")
    flops = f["routing/expert_flops"][()] / np.maximum(f["routing/expert_tokens"][()], 1)
    used = f["routing/expert_tokens"][()] > 0
    if not np.all((flops / (4 * 32 * widths))[used] == 1):
        bad.append("flops per row of an expert are not 4 * width * hidden")
    tokens = f["routing/expert_tokens"][()]
    if not np.allclose(f["routing/imbalance"][()], tokens.max(axis=2) / tokens.mean(axis=2)):
        bad.append("imbalance is not largest over mean")
    total = f["steps/task_loss"][()] + 0.01 * f["steps/auxiliary/balance"][()] + 0.001 * f["steps/auxiliary/z"][()]
    if not np.allclose(f["steps/total_loss"][()], total, rtol=1e-6):
        bad.append("total loss is not task loss plus coefficients times auxiliary losses")
    if not np.allclose(f["evaluation/loss"][()] - f["evaluation/floor"][()], f["evaluation/above_floor"][()]):
        bad.append("above_floor is not loss minus floor")
    bytes_sent = f["ranks/2/bytes"][()]
    if bytes_sent.shape != (30, 2, 2) or not np.all(bytes_sent > 0):
        bad.append(f"bytes by rank {bytes_sent.shape}")
    if f["ranks/2/phase_seconds"].shape[1:] != (2, len(f["phases"])):
        bad.append("phases and phase_seconds do not match")
    config = f["config"][()]
    config = config.decode() if isinstance(config, bytes) else str(config)
    for text in ("[moe]", "router = topk", "capacity_factor = 1.25", "seed = 1", "expert_widths = 24,40,8,16,1"):
        if text not in config:
            bad.append(f"the resolved configuration lacks {text}")
    for key in ("format", "seed", "ranks", "finished_step", "pleiad_version", "mpi", "blas", "hdf5", "compiler", "hosts", "started"):
        if key not in f.attrs:
            bad.append(f"attribute {key} is missing")
print("\n".join(bad))
sys.exit(len(bad) > 0)
PY
check "run.h5: units, descriptions, chunks, compression, rows, sums" "$PYTHON" record.py

# The resolved configuration is a configuration.
"$PYTHON" -c "
import h5py
value = h5py.File('run/run.h5', 'r')['config'][()]
open('resolved.ini', 'w').write(value.decode() if isinstance(value, bytes) else str(value))"
check "the resolved configuration runs again" pleiad_on 1 train --config resolved.ini --out again
check "... to the same bits" runs same run again

# ---- eval ----
pleiad_on 1 eval run >eval.txt
check "eval of a run: its newest checkpoint, loss, perplexity" says eval.txt '^evaluation at step 30: loss' 'perplexity [0-9.]+ per token' 'nat/byte'
check "... is the run's own last evaluation" grep -qxF "$(grep '^evaluation at step 30' run.txt)" eval.txt
check "... with the same figures by domain" grep -qxF "$(grep 'by domain' run.txt | tail -n 1)" eval.txt
check "eval on 3 ranks prints the same" same_output eval.txt pleiad_on 3 eval run
check "eval of the file prints the same" same_output eval.txt pleiad_on 2 eval run/checkpoints/step-0000000030.h5
pleiad_on 1 eval run/checkpoints/step-0000000010.h5 >eval10.txt
check "eval of an older checkpoint is the run's evaluation then" grep -qxF "$(grep '^evaluation at step 10' run.txt)" eval10.txt
check "eval --split train --windows 5" pleiad_on 2 eval run --split train --windows 5
cp last_check.log eval5.txt
check "... looks at 5 windows" says eval5.txt '\(5 windows, 160 tokens\)'
check "eval on another corpus of the same tokenizer" pleiad_on 1 eval run --corpus bytes.h5

# ---- a control: derived experts, adapters, a mean number of experts; the checkpoint says what was given ----
sed 's/^expert_widths.*/expert_width = 24/' tiny.ini >control.ini
check "train split experts with adapters" pleiad_on 2 train --config control.ini --out control --set train.steps=10 --set moe.preset=moe_expert_adapter \
    --set moe.router=matched_topk --set moe.mean_k=2.5 --set moe.split=3 --set moe.capacity_factor=0.5
cp last_check.log control.txt
flops_add_up() { # DRY: 2 layers x 2.5 x (expert of width 8 + adapter of width 8) x 4 x 32 on top of the rest
    "$PYTHON" - "$1" <<'PY'
import re
import sys

text = open(sys.argv[1]).read()
rest = float(re.search(r"without experts: ([0-9.]+) M", text)[1])
with_them = float(re.search(r"with 2.5 experts per token and layer: .* ([0-9.]+) M forward flops", text)[1])
assert abs(with_them - rest - 2 * 2.5 * (8 + 8) * 4 * 32e-6) < 0.0011, text
PY
}
check "... --dry-run counts 2.5 experts and 2.5 adapters a token" pleiad_on 1 train --config control.ini --dry-run --set moe.preset=moe_expert_adapter \
    --set moe.router=matched_topk --set moe.mean_k=2.5 --set moe.split=3
cp last_check.log dry.txt
check "... in its forward flops" flops_add_up dry.txt
check "eval of its checkpoint" pleiad_on 1 eval control
cp last_check.log eval.txt
check "... is the run's own evaluation" grep -qxF "$(grep '^evaluation at step 10' control.txt)" eval.txt
cat >control.py <<'PY'
import h5py
import numpy as np

with h5py.File("control/run.h5", "r") as f:
    assert list(f["layers/expert_width"][()]) == [8] * 15
    selected = f["routing/expert_tokens"][()].sum(axis=2) + f["routing/dropped"][()]
    assert np.all(selected == 12 * 32 * 2.5), selected  # dropped ones are selected, too
    assert f["routing/expert_tokens"][()].max() <= np.ceil(0.5 * 12 * 32 / 5)
    config = f["config"][()]
config = config.decode() if isinstance(config, bytes) else str(config)
for line in ("experts = 5", "expert_width = 24", "split = 3", "capacity_factor = 0.5", "adapter = per_expert", "mean_k = 2.5"):
    assert f"\n{line}\n" in config, line
with h5py.File("control/checkpoints/step-0000000010.h5", "r") as f:
    assert f["params/blocks/1/ffn/adapter/experts/14/w_in"].shape == (8, 32)
PY
check "... 15 experts of a third, 2.5 a token, the capacity of the whole ones" "$PYTHON" control.py
check "resume it" pleiad_on 1 train --resume control --set train.steps=12

# ---- sample ----
pleiad_on 1 sample run --tokens 40 --seed 3 --prompt "the " >sample.txt
check "sample begins with the prompt" grep -aq '^the ' sample.txt
check "sample is the same again" same_output sample.txt pleiad_on 1 sample run --tokens 40 --seed 3 --prompt "the "
check "sample is the same on 2 ranks" same_output sample.txt pleiad_on 2 sample run --tokens 40 --seed 3 --prompt "the "
differs() { ! same_output "$@" >/dev/null 2>&1; }
check "sample differs with another seed" differs sample.txt pleiad_on 1 sample run --tokens 40 --seed 4 --prompt "the "
pleiad_on 1 sample run --tokens 40 --temperature 0 --prompt "the " >sample.txt
check "temperature 0 does not depend on the seed" same_output sample.txt pleiad_on 1 sample run --tokens 40 --temperature 0 --seed 9 --prompt "the "
check "... and is --top-k 1" same_output sample.txt pleiad_on 1 sample run --tokens 40 --top-k 1 --prompt "the "
pleiad_on 1 sample run --tokens 0 --prompt "only this" >sample.txt
check "--tokens 0 gives the prompt" says sample.txt '^only this$'

# ---- inspect ----
for file in corpus.h5 bytes.h5 run/run.h5 run/checkpoints/step-0000000030.h5 "$PLEIAD_SOURCE/tests/golden/noisy_topk.h5" "$PLEIAD_SOURCE/tests/golden/model_switch.h5"; do
    check "inspect $(basename "$file")" pleiad_on 1 inspect "$file"
    cp last_check.log inspected.txt
    check "... names its format" says inspected.txt ': format (pleiad|moe-golden)-[a-z]+/[12]' ' attributes' ' datasets'
done
pleiad_on 1 inspect run/run.h5 >inspect.txt
check "inspect of a record tells the story" says inspect.txt '30 steps \(ended properly\)' 'task loss [0-9.]+ at first' '3 evaluations' 'tokens per expert of block 1' 'nat/token'
check "inspect of several files" pleiad_on 1 inspect corpus.h5 run/run.h5

# A run can be watched while it goes.
"$MPIRUN" -n 1 "$PLEIAD" train --config tiny.ini --out watched --set train.steps=100000 --set checkpoint.every=0 --set train.eval_every=0 --set train.sample_every=0 >watched.txt 2>&1 &
launcher=$!
for _ in $(seq 200); do [[ -s watched/log.txt ]] && break; sleep 0.02; done
check "inspect of a run that is going on" pleiad_on 1 inspect watched/run.h5
cp last_check.log inspected.txt
check "... says so" says inspected.txt 'format pleiad-run/1'
mapfile -t pids < <(pgrep -P "$launcher")
kill "${pids[@]}" 2>/dev/null
wait "$launcher" 2>/dev/null

# ---- SentencePiece, where it is built in ----
if grep -q 'SentencePiece yes' version.txt; then
    check "data build, SentencePiece" pleiad_on 1 data build --tokenizer sentencepiece --vocab 300 --out words.h5 text.txt
    check "train on it" pleiad_on 2 train --config tiny.ini --out words --set data.corpus=words.h5 --set train.steps=3 --set model.tied_head=true
    check "eval reports nats per byte" pleiad_on 1 eval words
    check "sample speaks it" pleiad_on 1 sample words --prompt "Line" --tokens 5
else
    echo "skipped: SentencePiece is not built in"
fi

check "a run of no steps" pleiad_on 1 train --config tiny.ini --out nothing --set train.steps=0
check "... can be inspected" pleiad_on 1 inspect nothing/run.h5

# ---- runs side by side ----
table_is_true() { # the CSV says what the records say
    "$PYTHON" - <<'PY'
import csv

import h5py

rows = list(csv.DictReader(open("table.csv")))
assert [r["run"] for r in rows] == ["run", "control", "nothing"], rows
for row in rows[:2]:
    with h5py.File(row["run"] + "/run.h5") as file:
        e, tokens = file["evaluation"], file["steps/tokens"][()].sum()
        expected = {"steps": len(file["steps/step"]), "loss_nats": e["loss"][-1], "above_floor_nats": e["above_floor"][-1],
                    "parameters": file.attrs["parameters_total"], "active_parameters": e["active_parameters"][-1],
                    "flops_per_token": e["model_flops_per_token"][-1], "mean_k": e["mean_k"][-1].mean(),
                    "flops_imbalance": e["flops_imbalance"][-1].mean(), "bytes_per_token": file["steps/exchange_bytes"][()].sum() / tokens}
        for name, value in expected.items():
            assert abs(float(row[name]) - value) <= 1e-12 * abs(value), (row["run"], name, row[name], value)
assert float(rows[1]["bytes_per_token"]) > 0 and rows[2]["loss_nats"] == "", rows
PY
}
check "report of three runs" pleiad_on 1 report run control/ nothing/run.h5 --csv table.csv
cp last_check.log table.txt
check "... is a table with a line for each" says table.txt '^run +router +steps +loss +above floor' '^run +topk +30 ' '^control +matched_topk +12 ' '^nothing .* - '
check "... and its CSV says what the records say" table_is_true
finish
