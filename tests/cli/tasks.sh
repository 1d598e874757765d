#!/usr/bin/env bash
# The other tasks, from text files to answers: labelled texts (classifier) and pairs (sequence to sequence). Both can be learnt; the bits do
# not depend on the number of ranks; a stopped run continues in the same bits.
# PROCESSORS 4
# TIMEOUT 240
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

# A text is a question or not, by its last letter; a target is its source in capitals, backwards.
"$PYTHON" - <<'EOF'
import random
random.seed(1)
word = lambda: "".join(random.choice("abcde") for _ in range(random.randint(2, 4)))
for name, lines in (("train", 400), ("dev", 60), ("test", 40)):
    texts = [word() + " " + word() + random.choice("?.") for _ in range(lines)]
    open(f"{name}.tsv", "w").write("label\ttext\n" + "".join(f"{'question' if t[-1] == '?' else 'statement'}\t{t}\n" for t in texts))
    words = [word() for _ in range(lines)]
    open(f"{name}.src", "w").write("\n".join(words) + "\n")
    open(f"{name}.tgt", "w").write("\n".join(w.upper()[::-1] for w in words) + "\n")
EOF
check "data labelled" pleiad_on 1 data labelled --train train.tsv --validation dev.tsv --test test.tsv --text-column 2 --label-column 1 --header --out labelled.h5
check "data pairs" pleiad_on 1 data pairs --train train.src,train.tgt --validation dev.src,dev.tgt --test test.src,test.tgt --out pairs.h5
pleiad_on 1 data info labelled.h5 >info.txt
check "data info of labelled texts" says info.txt 'pleiad-examples/1' "train: 400 examples.* '?question" "statement" 'source: dev.tsv'
pleiad_on 1 inspect pairs.h5 >info.txt
check "inspect of pairs" says info.txt 'validation: 60 examples' 'target_offset' 'source: train.tgt'

cat >tiny.ini <<'EOF'
[model]
width = 32
layers = 2
heads = 2
seq_len = 16
[moe]
preset = gshard
experts = 3
expert_width = 48
[train]
steps = 150
batch_sequences = 20
lanes = 4
warmup_steps = 5
learning_rate = 0.01
eval_every = 75
sample_every = 75
sample_tokens = 10
[checkpoint]
every = 50
EOF
for task in labelled pairs; do
    train=(train --config tiny.ini --set "data.corpus=$task.h5")
    check "$task: train on 1 rank" pleiad_on 1 "${train[@]}" --out "$task-1"
    for ranks in 2 3; do
        check "$task: train on $ranks ranks" pleiad_on "$ranks" "${train[@]}" --out "$task-$ranks"
        check "... gives the same bits" runs same "$task-1" "$task-$ranks"
    done
    check "$task: stopped at step 75 on 2 ranks" pleiad_on 2 "${train[@]}" --out "$task-stopped" --stop-at 75
    check "... and continued on 4" pleiad_on 4 train --resume "$task-stopped"
    check "... ends in the same bits" runs same "$task-1" "$task-stopped"
    check "$task: eval on 2 ranks" pleiad_on 2 eval "$task-1" --split test
done
check "report of a classifier and a translator" pleiad_on 1 report labelled-1 pairs-1
cp last_check.log table.txt
check "... has the accuracy of one" says table.txt 'accuracy %' '^labelled-1 .* (9[0-9]|100)\.[0-9]+ '
check "the attention of DA-MoE in both directions needs no permission" pleiad_on 2 train --config tiny.ini --set data.corpus=labelled.h5 --set moe.preset=damoe \
    --set moe.k_rule=literal --set moe.importance=received --set train.steps=3 --out damoe

answers() { # RANKS INPUT EXPECTED ACCURACY OPTIONS...: share of right lines
    pleiad_on "$1" sample "${@:5}" --input "$2" --out answers.txt || return 1
    "$PYTHON" - "$3" "$4" <<'EOF'
import sys
truth, got = open(sys.argv[1]).read().split("\n"), [line.split("\t")[0] for line in open("answers.txt").read().split("\n")]
right = sum(a == b for a, b in zip(truth, got)) / len(truth)
print(right)
assert len(truth) == len(got) and right >= float(sys.argv[2]), f"{right:.2f} right, {len(got)} of {len(truth)} lines: {got[:5]}"
EOF
}
tail -n +2 test.tsv | cut -f 1 >labels.txt
tail -n +2 test.tsv | cut -f 2 >texts.txt
check "labels of unseen texts are right" answers 2 texts.txt labels.txt 0.95 labelled-1
cp answers.txt answers-2.txt
check "... and the same on 1 rank" answers 1 texts.txt labels.txt 0.95 labelled-1
check "... letter by letter" cmp answers.txt answers-2.txt
check "translations of unseen words are mostly right, greedily" answers 2 test.src test.tgt 0.5 pairs-1
check "... and with a beam" answers 3 test.src test.tgt 0.5 pairs-1 --beam 4
cp answers.txt answers-3.txt
check "... on 1 rank" answers 1 test.src test.tgt 0.5 pairs-1 --beam 4
check "... the same" cmp answers.txt answers-3.txt
# A model may have learnt to write what ends a line for other programs.
sed 's/.*/X\rY/' train.tgt >train.cr
sed 's/.*/X\rY/' dev.tgt >dev.cr
check "targets with a carriage return" pleiad_on 1 data pairs --train train.src,train.cr --validation dev.src,dev.cr --out cr.h5
check "... are learnt" pleiad_on 1 train --config tiny.ini --set data.corpus=cr.h5 --set train.steps=60 --out cr
check "... and written as a space" pleiad_on 1 sample cr --input dev.src --out cr.txt
check "... each translation in a line" test "$(sort -u cr.txt)" == "X Y"
pleiad_on 1 sample labelled-1 --prompt "abc de?" >one.txt
check "sample with a prompt labels it, with a probability" says one.txt '^question	0\.[0-9]{4}$|^question	1\.0000$'
finish
