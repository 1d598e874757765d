#!/usr/bin/env bash
# Masked tokens: an encoder that can be learnt, the same bits on any number of ranks and after a stop, every router an encoder may have; then classifiers
# that start from its trunk.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

# A text of words in which each letter stands twice: what is hidden is known from one of its two sides.
"$PYTHON" - <<'EOP'
import random
random.seed(1)
word = lambda n=4: "".join(random.choice("abcdefgh") for _ in range(n))
def line():
    return "".join(2 * letter for letter in word()) + "\n"
open("text.txt", "w").write("".join(line() for _ in range(6000)))
for name, lines in (("train", 400), ("dev", 100)):
    rows = [(line()[:-1], 1) if random.random() < 0.5 else (word(8), 0) for _ in range(lines)]
    open(f"{name}.tsv", "w").write("".join(f"{text}\t{'twice' if label else 'once'}\n" for text, label in rows))
EOP
check "data build" pleiad_on 1 data build --out corpus.h5 text.txt
check "labelled texts with the tokenizer of the corpus" pleiad_on 1 data labelled --train train.tsv --validation dev.tsv --out labelled.h5 --tokenizer-of corpus.h5
cat >masked.ini <<'EOI'
[model]
width = 32
layers = 2
heads = 4
seq_len = 18
[moe]
preset = gshard
experts = 3
expert_width = 48
[train]
objective = masked
steps = 480
batch_sequences = 24
lanes = 4
warmup_steps = 5
learning_rate = 0.005
eval_every = 240
eval_windows = 200
[data]
corpus = corpus.h5
[checkpoint]
every = 60
EOI

# ---- training, as of any other model ----
check "train on 1 rank" pleiad_on 1 train --config masked.ini --out masked-1
cp last_check.log train.txt
check "... speaks of masked tokens" says train.txt 'nat/masked token, accuracy [0-9.]+ % \(200 windows, [0-9]+ masked tokens\)'
check "... and samples no text" exits 1 grep -q '^sample' train.txt
for ranks in 2 3 4; do
    check "train on $ranks ranks" pleiad_on "$ranks" train --config masked.ini --out "masked-$ranks"
    check "... gives the same bits" runs same masked-1 "masked-$ranks"
done
check "stopped at step 130 on 3 ranks" pleiad_on 3 train --config masked.ini --out stopped --stop-at 130
check "... and continued on 2" pleiad_on 2 train --resume stopped
check "... ends in the same bits" runs continued masked-1 stopped
check "--resume with another share of masked tokens" exits 2 pleiad_on 1 train --resume masked-1 --set train.steps=600 --set train.mask_share=0.2
cp last_check.log refused.txt
check "... is refused" says refused.txt 'train.mask_share = 0.2 differs'

check_record() { "$PYTHON" - <<'EOP'
import h5py
with h5py.File("masked-1/run.h5") as f, h5py.File("masked-1/checkpoints/step-0000000480.h5") as c:
    assert f.attrs["causal"] == 0 and f.attrs["task"] in ("masked_lm", b"masked_lm") and "note" not in f.attrs
    assert c.attrs["task"] in ("masked_lm", b"masked_lm") and c.attrs["vocab"] == 257
    targets, accuracy, loss = (f[f"evaluation/{n}"][()] for n in ("targets", "accuracy", "loss"))
    assert 0.1 < targets[0] / (200 * 18) < 0.2 and targets[0] == targets[-1], targets
    assert loss[-1] < loss[0] and accuracy[-1] > 0.64, (loss, accuracy)  # from one side the first of two letters cannot be known: 0.61 at most
EOP
}
check "the record: task, hidden share, and it learnt from both sides" check_record
pleiad_on 1 eval masked-1 >eval.txt
check "eval: loss and accuracy of masked tokens, no perplexity" says eval.txt 'nat/masked token, accuracy'
check "... none" exits 1 grep -q perplexity eval.txt
check "... the same on 3 ranks" same_output eval.txt pleiad_on 3 eval masked-1
check "eval --sweep of the share" pleiad_on 2 eval masked-1 --sweep train.mask_share=0.1,0.15,0.5
cp last_check.log sweep.txt
check "... with the accuracy" says sweep.txt 'accuracy %' '^ +0\.5 '
check "report" pleiad_on 1 report masked-1 masked-2
check "sample" exits 2 pleiad_on 2 sample masked-1 --prompt abc
cp last_check.log sample.txt
check "... is refused in one sentence" says sample.txt '^pleiad: masked-1: is a model of masked tokens, which writes no text'

short=(--set train.steps=3 --set train.eval_windows=5)
for router in expert_choice "damoe --set moe.k_rule=literal" "damoe --set moe.k_rule=budget --set moe.importance=column" "damoe --set moe.importance=received" \
    "topp" "matched_topk --set moe.mean_k=1.7" "random_k --set moe.k_histogram=2,1" "topk --set moe.capacity_factor=1 --set moe.eval_capacity=train"; do
    # shellcheck disable=SC2086
    check "router $router" pleiad_on 2 train --config masked.ini "${short[@]}" --set moe.preset=none --set moe.router=$router --out "router-${router//[^a-z0-9]/-}"
done

# ---- classifiers that start from it ----
tune=(--set data.corpus=labelled.h5 --set train.steps=60 --set train.learning_rate=0.003)
check "a classifier from the encoder, on 1 rank" pleiad_on 1 train --init masked-1 "${tune[@]}" --out tuned-1
cp last_check.log tuned.txt
check "... says what it took and what begins anew" says tuned.txt 'trunk of masked-1/checkpoints/step-0000000480.h5 \(masked_lm, step 480\): its embedding of 256 tokens, all blocks and the last norm; the head begins anew'
check "... on 3 ranks" pleiad_on 3 train --init masked-2 --config masked.ini "${tune[@]}" --out tuned-3
check "... the same bits" runs same tuned-1 tuned-3
check "... stopped and continued on 2" pleiad_on 2 train --init masked-1 "${tune[@]}" --out tuned-stopped --stop-at 20
check "... goes on" pleiad_on 4 train --resume tuned-stopped
check "... to the same bits" runs continued tuned-1 tuned-stopped
check "an encoder saved in parts" pleiad_on 2 train --config masked.ini --set checkpoint.files=per_node --out parts
inspected() { # CODE LINE: of the newest checkpoint of parts/
    exits "$1" pleiad_on 2 inspect "$(printf '%s\n' parts/checkpoints/step-??????????.h5 | tail -n 1)" >last.txt 2>&1 && says last.txt "$2"
}
check "inspect says that it is whole" inspected 0 'step [0-9]+; whole: every checksum agrees, parts included'
part=$(printf '%s\n' parts/checkpoints/step-*.part-0.h5 | tail -n 1)
cp "$part" part.kept
printf x | dd of="$part" bs=1 seek=3000 conv=notrunc status=none
check "... or that a part is not" inspected 2 "part-0.h5': .* is damaged"
mv part.kept "$part"
check "... can be started from as well" pleiad_on 2 train --init parts "${tune[@]}" --out tuned-parts
check "... the same bits" runs same tuned-1 tuned-parts
check_start() { "$PYTHON" - <<'EOP'
import h5py
import numpy as np
taken = []
with h5py.File("masked-1/checkpoints/step-0000000480.h5") as old, h5py.File("tuned-3/checkpoints/step-0000000000.h5") as new:
    def look(name, item):
        if isinstance(item, h5py.Dataset) and name not in ("embed", "head"):
            assert item[()].tobytes() == old["params"][name][()].tobytes(), name
            taken.append(name)
    new["params"].visititems(look)
    assert len(taken) > 15, taken
    assert np.array_equal(new["params/embed"][()], old["params/embed"][:256]) and new["params/embed"].shape == (256, 32)
    assert new["params/head"].shape == (2, 32) and np.abs(new["params/head"][()]).max() > 0
    assert new.attrs["init_step"] == 480 and new.attrs["task"] in ("classifier", b"classifier")
EOP
}
check "the weights it starts with" check_start
check "a classifier without it" pleiad_on 2 train --config masked.ini "${tune[@]}" --out untuned
check_gain() { "$PYTHON" -c "
import h5py
with_it, without = (h5py.File(f'{n}/run.h5')['evaluation/loss'][-1] for n in ('tuned-1', 'untuned'))
assert with_it < without - 0.05, (with_it, without)"; }
check "... has learnt less in as many steps" check_gain
check "a causal model" pleiad_on 1 train --config masked.ini "${short[@]}" --set train.objective=causal --set model.tied_head=true --out causal
check "... a classifier from it" pleiad_on 2 train --init causal "${tune[@]}" --out tuned-causal
check "... an encoder from it" pleiad_on 2 train --init causal --set train.objective=masked --out masked-causal
cp last_check.log masked-causal.txt
check "... with an embedding of the mask token that begins anew" says masked-causal.txt 'embedding of 256 tokens.*; the embedding of 1 special token begins anew'

if "$PLEIAD" --version | grep -q 'SentencePiece yes'; then
    check "a corpus of subwords" pleiad_on 1 data build --tokenizer sentencepiece --vocab 300 --out words.h5 text.txt
    check "... its tokenizer for labelled texts" pleiad_on 1 data labelled --train train.tsv --validation dev.tsv --out words-labelled.h5 --tokenizer-of words.h5
    check "... and back" pleiad_on 1 data build --out words-again.h5 --tokenizer-of words-labelled.h5 text.txt
    check "an encoder of subwords" pleiad_on 2 train --config masked.ini "${short[@]}" --set data.corpus=words.h5 --out words
    check "... goes on with the same tokenizer" pleiad_on 2 train --init words --set data.corpus=words-again.h5 --out words-on
    check "... and a classifier" pleiad_on 1 train --init words --set data.corpus=words-labelled.h5 --set train.steps=3 --out words-tuned
    check "... but none with another tokenizer" exits 2 pleiad_on 2 train --init words --set data.corpus=labelled.h5 --out new
    cp last_check.log refused.txt
    check "... which the message says" says refused.txt 'labelled.h5: has another tokenizer \(bytes, vocabulary 256\) than --init words \(sentencepiece, vocabulary 301\); .*--tokenizer-of'
fi
finish
