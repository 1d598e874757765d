#!/usr/bin/env bash
# pleiad report over a sweep, over single runs, of two sides and of predictions; the HTML page, in a browser too where there is one.
# PROCESSORS 2
# TIMEOUT 300
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

page() { "$PYTHON" "$PLEIAD_SOURCE/tests/cli/_report.py" "$@"; }
# fails_with PATTERN ARGS...: exit code 2 and one line on standard error that says so.
fails_with() {
    local pattern=$1 code=0
    shift
    pleiad_on 1 report "$@" >out.txt 2>err.txt || code=$?
    [[ $code == 2 && $(wc -l <err.txt) == 1 ]] && grep -Eq -- "$pattern" err.txt || { echo "exit code $code"; cat err.txt; return 1; }
}

# ---- a sweep of twelve points, and some other runs ----
check "data synth" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
cat >tiny.ini <<'INI'
[model]
width = 32
layers = 2
heads = 2
seq_len = 32
dense_width = 48
[moe]
router = topk
experts = 4
expert_width = 16
balance_loss = 0.01
capacity_factor = 1.0
[train]
steps = 12
batch_sequences = 8
eval_every = 4
eval_windows = 16
sample_tokens = 0
learning_rate = 1e-2
warmup_steps = 2
[data]
corpus = corpus.h5
INI
train() { pleiad_on "$1" train --config tiny.ini --out "$2" "${@:3}" >train.log 2>&1 || { cat train.log; return 1; }; }
sweep_runs() {
    local experts k seed
    for experts in 4 8; do for k in 1 2; do for seed in 1 2 3; do
        train 2 "sweep/points/e$experts-k$k-s$seed" --set "moe.experts=$experts" --set "moe.k=$k" --set "train.seed=$seed" || return 1
    done; done; done
}
check "twelve runs" sweep_runs
check "... and their index" page index sweep
check "a dense run" train 1 dense --set moe.preset=dense
check "a run driven by importance, with a name that needs escaping" train 2 "it's <d&m>_{x}" --set moe.router=damoe --set moe.capacity_factor=0
check "a run that was stopped" train 1 stopped --set train.steps=40 --stop-at 5
check "a run that has not begun" train 1 nothing --set train.steps=0

# ---- the terminal ----
check "report of the sweep" pleiad_on 1 report sweep --csv sweep.csv
cp last_check.log sweep.txt
check "... has one row per configuration, the best marked, and says how sure that is" says sweep.txt '^experts +k +seeds +loss ' '^4 +1 +3 +[0-9.]+ ± [0-9.]+ ' '  best$' '^best: experts=[48] k=[12], loss .* difference .* 95 % confidence interval .* (not )?separable;$' '^of the other 2, '
check "... and its CSV says what the records say" page configurations sweep.csv sweep
check "report --runs" pleiad_on 1 report --runs sweep
check "... has one row per run" test "$(grep -c '^e[48]-k' last_check.log)" == 12
check "runs that differ in their seed only are one row" pleiad_on 1 report sweep/points/e4-k1-s1 sweep/points/e4-k1-s2 dense
cp last_check.log said.txt
check "... beside others" says said.txt '^e4-k1-s +topk +2 ' '^dense +none +1 '

# ---- two sides ----
check "report --compare" pleiad_on 1 report --compare sweep:k=1 sweep:moe.k=2 --csv compare.csv
cp last_check.log compare.txt
check "... pairs by seed and by what varies on both sides" says compare.txt '^6 pairs, by the seed and moe.experts: e4-k1-s1 with e4-k2-s1' 'Student' '^loss +nat +6 ' '^moe.k +1 +2$'
check "... and its CSV says what the records say" page differences compare.csv sweep
check "report --compare of two runs" pleiad_on 1 report --compare sweep/points/e4-k1-s1 sweep/points/e8-k1-s1
cp last_check.log said.txt
check "... has no interval" says said.txt '^1 pair' 'without an interval' '^moe.experts +4 +8$'
check "report --compare of patterns" pleiad_on 1 report --compare 'sweep/points/e4-k1-*' 'sweep/points/e8-k1-*'
cp last_check.log said.txt
check "... pairs by seed" says said.txt '^3 pairs, by the seed'
check "no pair: refused" fails_with 'several runs with seed 1' --compare sweep dense
check "no such value: refused with those there are" fails_with 'sweep:k=7: no complete point has moe.k = 7; there are 1, 2' --compare sweep:k=7 sweep
check "no such key" fails_with 'has no key nonsense' --compare sweep:nonsense=7 sweep
check "one side only" fails_with 'two sides are needed' --compare sweep

# ---- predictions ----
printf '[model]\nwidth = 64\nlayers = 2\nheads = 2\nseq_len = 32\n[moe]\npreset = mixtral\nexperts = 128\nexpert_width = 32\nk = 2\n[train]\nbatch_sequences = 128\nlanes = 64\n' >sim.ini
predict() { pleiad_on 1 simulate --config sim.ini --cluster "$PLEIAD_SOURCE/experiments/example.cluster.ini" "$@"; }
check "simulate, one batch" predict --skew zipf:0.5 --ranks 1,8,64 --out strong.h5
cp last_check.log simulated.txt
check "simulate, a batch for each rank" predict --skew zipf:0.5 --ranks 64,8,1 --sequences-per-rank 2 --out weak.h5
check "simulate, a dense model on one rank" predict --ranks 1 --set moe.layers=none --out one.h5
as_simulated() { pleiad_on 1 report strong.h5 >said.txt && cmp <(tail -n +2 said.txt) <(tail -n +2 simulated.txt) && says said.txt '^predicted, not measured: strong.h5 on example .*; routing made up, Zipf'; }
check "report says what simulate said" as_simulated
check "report of several" pleiad_on 1 report strong.h5 weak.h5 one.h5 --csv predicted.csv
cp last_check.log said.txt
check "... has a line for each" says said.txt '^file +ranks +nodes +step ms' '^strong.h5 +64 +8 ' '^weak.h5 +64 +8 ' '^one.h5 +1 +1 '
check "... and its CSV says what the files say" page predicted predicted.csv strong.h5 weak.h5 one.h5
check "a prediction beside runs: refused" fails_with 'report dense: is no file of predictions, as others are' dense strong.h5
check "... or a run by its file" fails_with 'dense/run.h5.*format' strong.h5 dense/run.h5
check "... or one that is not there" fails_with 'none.h5.*No such file' strong.h5 none.h5
check "... or twice" fails_with './strong.h5: is given twice' strong.h5 ./strong.h5
check "... or damaged, wherever it is" page damaged_prediction strong.h5 "$PLEIAD"

# ---- what goes wrong ----
check "no such path" fails_with "none.*No such file" none
check "a folder without a run" fails_with 'sweep/points: holds neither a run' sweep/points
check "--keep alone" fails_with 'goes with --html' sweep --keep kept
check "no folder for the page" fails_with 'there is no folder none' sweep --html none/x.html
check "no gnuplot in PATH" fails_with 'gnuplot-nox' sweep --html x.html --gnuplot no-such-gnuplot
check "... and no page" test ! -e x.html
check "confidence" fails_with 'between 0 and 1' sweep --confidence 2
printf '#!/bin/sh\necho "line 3: it is broken" >&2\nexit 1\n' >broken-gnuplot && chmod +x broken-gnuplot
check "a gnuplot that fails: its message" fails_with 'cannot draw the figures: line 3: it is broken' sweep --html x.html --gnuplot ./broken-gnuplot
mkdir -p damaged/points && cp sweep/sweep.json damaged/ && cp -r sweep/points/e4-k1-s1 sweep/points/e8-k2-s2 damaged/points/ && cp -r stopped damaged/points/e4-k1-s2
mkdir -p damaged/points/e4-k1-s3 && head -c 3000 sweep/points/e4-k1-s1/run.h5 >damaged/points/e4-k1-s3/run.h5
check "a sweep with points missing, stopped and damaged" pleiad_on 1 report damaged
cp last_check.log said.txt
check "... is reported without them, and says so" says said.txt '^4 +1 +1 ' '^sweep twelve: 2 of 12 points reported; 1 not complete: running, interrupted or failed \(e4-k1-s2\); 8 without a record .*; 1 with a damaged record \(e4-k1-s3\) \(.*pleiad sweep status damaged'

# ---- the page ----
if ! command -v gnuplot >/dev/null; then
    echo "skipped: the page needs gnuplot (Debian package gnuplot-nox)"
    finish
fi
check "report --html of the sweep" pleiad_on 1 report sweep --html sweep.html --keep kept
check "... is one sound page under 5 MB without references" page page sweep.html 164
check "... with every plot of the sweep" page present sweep.html loss-steps loss-tokens loss-flops loss-seconds final-quality pareto iso-flop-experts run1-load-tokens run1-load-flops run1-balance run1-usage run1-k-histogram run1-entropy run1-drops run1-position run1-domains run1-alignment run1-phases run1-pairs run12-pairs
check "... and a sentence where there is none" page absent sweep.html 'iso-flop-width=differ in expert width' 'run1-width-share=same width, 16'
check "... whose numbers are those of the records" page numbers kept sweep
picture() { grep -v '^<g fill' "$1"; }  # without the style that each group begins with: gnuplot remembers the last one
alone() { mkdir -p alone && cp kept/loss-flops.gp kept/loss-flops.dat alone/ && (cd alone && gnuplot loss-flops.gp && gnuplot -e 'pdf=1' loss-flops.gp && cmp <(picture loss-flops.svg) <(picture ../kept/loss-flops.svg) && [[ $(head -c 4 loss-flops.pdf) == %PDF ]]); }
check "... and whose scripts stand for themselves" alone
check "it is not replaced" fails_with 'sweep.html: exists already' sweep --html sweep.html
check "... nor is a folder that is not empty" fails_with 'kept: is not empty' sweep --html other.html --keep kept
check "... but with --force" pleiad_on 1 report sweep --html sweep.html --keep kept --force
check "report --html of other runs" pleiad_on 1 report dense "it's <d&m>_{x}" stopped nothing --html other.html
check "... is sound" page page other.html 50
check "... with sentences for what is not there" page absent other.html 'run1-experts=no experts' 'run1-pairs=no experts' 'run2-drops=Nothing was dropped' 'run3-pairs=one rank' 'run4-load-tokens=no step' 'run4-phases=no step'
check "... and importance where there is one" says other.html 'mean importance'
check "report --html of one run, not drawn by itself" pleiad_on 1 report dense --html one.html --details 0
check "... is sound" page page one.html 8
check "report --compare --html" pleiad_on 1 report --compare sweep:k=1 sweep:k=2 --html compare.html
check "... is sound" page page compare.html 5
check "... with the curves of both sides" page present compare.html loss-steps final-quality
check "report --html of predictions" pleiad_on 1 report strong.h5 weak.h5 one.h5 --html predicted.html --keep predicted
check "... is sound" page page predicted.html 15
check "... with every plot" page present predicted.html scaling-time scaling-speed scaling-computing file1-path file1-phases file1-rows file1-busy file3-path file3-phases
check "... and a sentence where there is none" page absent predicted.html 'file3-rows=one rank, or no experts' 'file3-busy=one rank'
check "... whose numbers are those of the files" page predicted_numbers predicted strong.h5 weak.h5
check "report --html of one prediction" pleiad_on 1 report one.h5 --html onestep.html
check "... says why nothing scales" page absent onestep.html 'scaling-time=one number of ranks'
if command -v chromium >/dev/null; then
    for file in sweep.html other.html compare.html predicted.html; do
        check "$file in a browser: every figure has a visible box, no message" page browser "$file" chromium
    done
else
    echo "skipped: no chromium to look at the page"
fi
finish
