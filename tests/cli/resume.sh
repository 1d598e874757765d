#!/usr/bin/env bash
# A run that was stopped or killed and then continued, on any number of ranks, ends in the bits of the undisturbed run.
# PROCESSORS 8
# TIMEOUT 480
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
[moe]
preset = switch
experts = 5
expert_widths = 24,40,8,16,32
z_loss = 0.001
[train]
steps = 50
batch_sequences = 12
lanes = 8
warmup_steps = 5
learning_rate = 0.003
eval_every = 25
eval_windows = 10
sample_every = 25
sample_tokens = 6
[data]
corpus = corpus.h5
[checkpoint]
every = 10
[metrics]
record_routing = sampled
record_every = 3
EOF
# killed_while_continued RUN DELAY: starts to continue and is killed, perhaps while the record is being cut to the checkpoint's step.
killed_while_continued() {
    "$PLEIAD" train --resume "$1" >/dev/null 2>&1 &
    local pid=$!
    sleep "$2"
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    true
}
holds() { # RUN STEP...: exactly these checkpoints and nothing else
    local expected="" step
    for step in "${@:2}"; do expected+="$(printf 'step-%010d.h5' "$step") "; done
    # shellcheck disable=SC2012
    [[ "$(ls -A "$1/checkpoints" | tr '\n' ' ')" == "$expected" ]] || { ls -A "$1/checkpoints"; return 1; }
}

check "the undisturbed run" pleiad_on 1 train --config tiny.ini --out whole
check "checkpoint.keep = 3 by default" holds whole 30 40 50

# ---- stopped and continued ----
for change in "1 2" "4 3" "2 8" "3 1"; do
    read -r before after <<<"$change"
    run=stop-$before-$after
    check "stop at step 25 on $before ranks" pleiad_on "$before" train --config tiny.ini --out "$run" --stop-at 25
    check "... leaves checkpoints 10, 20, 25" holds "$run" 10 20 25
    check "... --resume DIR on $after ranks" pleiad_on "$after" train --resume "$run"
    check "... ends in the same bits, same records" runs same whole "$run"
done
check "stop at step 25, and the checkpoint of that step is damaged" pleiad_on 2 train --config tiny.ini --out hurt --stop-at 25
printf 'x' | dd of=hurt/checkpoints/step-0000000025.h5 bs=1 seek=40000 conv=notrunc status=none
warns() { pleiad_on 2 eval --checkpoint hurt >last.txt 2>&1 && says last.txt 'note: passed over a checkpoint: .*step-0000000025.h5.*damaged.*; hurt/checkpoints/step-0000000020.h5 is taken'; }
check "... an evaluation of the run passes over it and says so" warns
passed_over() { pleiad_on 2 train --resume hurt >hurt.txt 2>&1 && says hurt.txt 'passed over a checkpoint: .*step-0000000025.h5.*damaged' 'going on from hurt/checkpoints/step-0000000020.h5'; }
check "... a run passes over it and says so" passed_over
check "... and ends in the same bits" runs same whole hurt
# ---- what somebody put among the checkpoints ----
foreign() { # KEY RUN: it is named, and nothing is changed
    local sums command
    sums=$(find "$2" -type f -exec md5sum {} +)
    for command in "eval $2" "sample $2" "train --resume $2"; do
        # shellcheck disable=SC2086
        exits 2 pleiad_on 2 $command 2>last.err && says last.err "^pleiad: '$2/checkpoints/step-0000000040.h5': is not a checkpoint of this run: $1 = " && [[ $(wc -l <last.err) == 1 ]] || return 1
    done
    [[ $sums == "$(find "$2" -type f -exec md5sum {} +)" ]]
}
check "a run with another seed, and one with another learning rate" pleiad_on 1 train --config tiny.ini --out seeded --set train.seed=7 --stop-at 40
check "..." pleiad_on 1 train --config tiny.ini --out faster --set train.learning_rate=0.004 --stop-at 40
for other in seeded:train.seed faster:train.learning_rate; do
    rm -rf mixed
    check "a run that is stopped" pleiad_on 2 train --config tiny.ini --out mixed --stop-at 25
    cp "${other%:*}/checkpoints/step-0000000040.h5" mixed/checkpoints/
    check "a checkpoint of a run with another ${other#*:} is refused" foreign "${other#*:}" mixed
done
mv mixed/checkpoints/step-0000000020.h5 mixed/checkpoints/step-0000000040.h5
named_wrongly() { pleiad_on 2 train --resume mixed >last.txt && says last.txt "passed over.*step-0000000040.h5' holds step 20"; }
check "a checkpoint under another name is passed over" named_wrongly
check "... and the run ends in the same bits" runs continued whole mixed
check "a run that is stopped" pleiad_on 1 train --config tiny.ini --out crowded --stop-at 25
check "another that has learnt more" pleiad_on 1 train --config tiny.ini --out older --set train.steps=300 --set checkpoint.every=300
for step in 301 400 500; do cp older/checkpoints/step-0000000300.h5 "crowded/checkpoints/step-0000000$step.h5"; done
check "three files that are not what their names say" pleiad_on 1 train --resume crowded --set checkpoint.keep=1
check "... take no checkpoint's place" test -e crowded/checkpoints/step-0000000050.h5
# ---- what somebody took away ----
check "a run that is stopped" pleiad_on 2 train --config tiny.ini --out robbed --stop-at 25
rm robbed/checkpoints/step-0000000025.h5
gone() { pleiad_on 2 train --resume robbed --stop-at 23 >last.txt && says last.txt 'note: the checkpoint of step 25 is gone: going on from robbed/checkpoints/step-0000000020.h5'; }
check "its newest checkpoint is gone: it says so" gone
rm robbed/run.h5
no_record() { pleiad_on 2 train --resume robbed --stop-at 30 >last.txt && says last.txt 'note: robbed/run.h5 is gone: a new record begins at step 23'; }
check "its record is gone: it says so" no_record
pipe() { rm -rf piped && cp -r robbed piped && rm piped/log.txt && mkfifo piped/log.txt && pleiad_on "$1" train --resume piped --stop-at 31 >last.txt 2>last.err; }
for ranks in 1 2; do
    check "a pipe in the place of its log is refused, $ranks ranks" exits 2 pipe $ranks
    check "... in one sentence" says last.err "^pleiad: .*piped/log.txt"
done
mv robbed/checkpoints checkpoints-of-robbed
all_gone() {
    exits 2 pleiad_on 2 train --resume robbed 2>last.err && says last.err "^pleiad: --resume robbed: there is no checkpoint, but its run.h5 tells of one of step 30: bring it back" && [[ $(wc -l <last.err) == 1 ]]
}
check "all checkpoints are gone: it does not begin anew" all_gone
mv checkpoints-of-robbed robbed/checkpoints
check "... and goes on when they are back" pleiad_on 1 train --resume robbed
# ---- what somebody does meanwhile ----
check "a run that is stopped" pleiad_on 2 train --config tiny.ini --out shared --stop-at 25
mv shared/checkpoints/step-0000000025.h5 late.h5
flock shared/log.txt bash -c 'touch taken; sleep 2; mv late.h5 shared/checkpoints/step-0000000025.h5' &
while [[ ! -e taken ]]; do sleep 0.05; done
waits() { pleiad_on 2 train --resume shared >last.txt 2>&1 && says last.txt 'continuing .* 25 to 50 of 50 steps' && ! grep -q gone last.txt; }
check "another process is writing the run: it waits, and goes on from what that left" waits
check "... to the same bits" runs continued whole shared
flock shared/log.txt sleep 8 &
held() { exits 2 pleiad_on 2 train --resume shared --set train.steps=60 2>last.err && says last.err '^pleiad: shared: another process is writing this run at this moment$' && [[ $(wc -l <last.err) == 1 ]]; }
check "... but not for ever" held
wait
# Of any block of the record: HDF5 would wait for ever for a writer to mend it.
check "a run that is stopped" pleiad_on 1 train --config tiny.ini --out flipped --stop-at 22 --set parallel.stall_seconds=5
cp flipped/run.h5 run.kept && cp flipped/routing.h5 routing.kept
flipped() {
    local file=$1 seed=$2 code said=0
    for ((i = 0; i < 24; ++i)); do
        cp run.kept flipped/run.h5 && cp routing.kept flipped/routing.h5
        "$PYTHON" -c 'import random, sys
name, number = sys.argv[1], int(sys.argv[2])
content = bytearray(open(name, "rb").read())
draw = random.Random(number)
content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
open(name, "wb").write(content)' "flipped/$file" "$((seed + i))"
        timeout -k 2 20 "$PLEIAD" train --resume flipped --stop-at 24 >last.txt 2>last.err
        code=$?
        if [[ $code == 0 ]]; then
            rm flipped/checkpoints/step-0000000024.h5
        elif [[ $code == 2 && $(wc -l <last.err) == 1 ]] && grep -q 'if you move it away, a new record begins' last.err && [[ ! -e flipped/$file.partial ]] && { [[ $file == run.h5 ]] || cmp run.kept flipped/run.h5; }; then
            ((++said))
        else
            echo "bit $((seed + i)): exit code $code"
            cat last.err
            return 1
        fi
    done
    echo "$said of 24 refused"
    ((said > 0))
}
check "a run with one flipped bit in its record goes on or is refused, and never hangs" flipped run.h5 100
check "... and in its routing, for which its record is not changed either" flipped routing.h5 200
cp run.kept flipped/run.h5
half() { cp routing.kept flipped/routing.h5 && truncate -s "$(($(stat -c %s routing.kept) / 2))" flipped/routing.h5 && exits 2 pleiad_on 1 train --resume flipped 2>last.err && says last.err "^pleiad: .*flipped/routing.h5"; }
check "half of its routing is refused" half
check "... and changes nothing" cmp run.kept flipped/run.h5
check "... and leaves nothing" test ! -e flipped/routing.h5.partial
cp routing.kept flipped/routing.h5
"$PYTHON" -c 'content = bytearray(open("flipped/routing.h5", "rb").read())
for at in range(3000, len(content), 100): content[at] ^= 16
open("flipped/routing.h5", "wb").write(content)'
check "damaged routing is refused by inspect" exits 2 pleiad_on 1 inspect flipped/routing.h5
rm flipped/routing.h5
no_routing() { pleiad_on 1 train --resume flipped --stop-at 23 >last.txt && says last.txt 'note: flipped/routing.h5 is not there: it begins after step 22' && rm flipped/checkpoints/step-0000000023.h5; }
check "its routing is gone: it says so" no_routing
cp run.kept flipped/run.h5
"$PYTHON" -c 'content = bytearray(open("flipped/run.h5", "rb").read())
at = content.index(b"warmup_steps = 5")
content[at + 15] ^= 1
open("flipped/run.h5", "wb").write(content)'
told() { exits 2 pleiad_on 1 "$@" 2>last.err >last.txt && says last.err "flipped/run.h5': /config is damaged: its checksum does not agree"; }
check "a flipped bit in the configuration is told by inspect" told inspect flipped/run.h5
check "a flipped bit in the configuration is told by report" told report flipped
check "... and by train" told train --resume flipped
# Every byte of what stands in a record only once counts.
each_byte() {
    local name
    for name in layers/block layers/expert_width layers/widths; do
        cp run.kept flipped/run.h5
        "$PYTHON" -c 'import h5py, sys
with h5py.File("flipped/run.h5", "r") as file:
    chunk = file[sys.argv[1]].id.get_chunk_info(0)
content = bytearray(open("flipped/run.h5", "rb").read())
content[chunk.byte_offset + chunk.size // 2] ^= 8
open("flipped/run.h5", "wb").write(content)' "$name" || return 1
        exits 2 pleiad_on 1 inspect flipped/run.h5 2>last.err && says last.err "$name" || return 1
    done
    cp run.kept flipped/run.h5
    "$PYTHON" -c 'content = bytearray(open("flipped/run.h5", "rb").read())
content[content.index(b"arithmetic")] ^= 1
open("flipped/run.h5", "wb").write(content)'
    exits 2 pleiad_on 1 inspect flipped/run.h5 2>last.err && says last.err "/domains is damaged"
}
check "a flipped bit in what is written once is told by inspect" each_byte
check "data of another kind" pleiad_on 1 data synth --out other.h5 --tokens 30000 --document 64 --seed 6
# What a person may do with files: the record of an earlier state beside a later checkpoint, other data under the same name.
cp run.kept earlier.h5
check "a copy of the run that went on" cp -r flipped later
cp run.kept later/run.h5 && cp routing.kept later/routing.h5
check "... to step 24" pleiad_on 1 train --resume later --stop-at 24
cp earlier.h5 later/run.h5 && rm later/routing.h5
lost_rows() { pleiad_on 1 train --resume later --stop-at 25 >last.txt && says last.txt 'note: later/run.h5 knows of 22 steps and the checkpoint is of step 24: the rows between are marked as lost'; }
check "a record that is older than the checkpoint: it says so" lost_rows
tokens_of() { pleiad_on 1 inspect "$1" | sed -nE 's/.* ([0-9]+) tokens in .*/\1/p'; }
all_tokens() { (($(tokens_of later/run.h5) * 22 == $(tokens_of earlier.h5) * 23)); }
check "... and lost rows are not counted" all_tokens
cp corpus.h5 corpus.kept && cp other.h5 corpus.h5
others() { pleiad_on 2 eval later 2>last.err && [[ $(grep -c 'pleiad: note' last.err) == 1 ]] && says last.err "$1"; }
check "eval says that the data are others, once" others '^pleiad: note: .*corpus.h5 is not the data that the checkpoint was trained on: its fingerprint is [0-9a-f]+, that of the data was [0-9a-f]+$'
mv corpus.kept corpus.h5
check "a run on other data" pleiad_on 1 train --config tiny.ini --out elsewhere-data --set data.corpus=other.h5 --stop-at 26
cp routing.kept flipped/routing.h5 && cp run.kept flipped/run.h5 && cp elsewhere-data/checkpoints/step-0000000026.h5 flipped/checkpoints/
foreign() { exits 2 pleiad_on 2 train --resume flipped 2>last.err && says last.err "step-0000000026.h5': is not a checkpoint of this run: its corpus has the fingerprint [0-9a-f]+, the run's has [0-9a-f]+: move it away"; }
check "its checkpoint is not one of this run" foreign

check "a run that is stopped, its record damaged" pleiad_on 2 train --config tiny.ini --out marred --stop-at 25
printf 'damage' | dd of=marred/run.h5 bs=1 conv=notrunc status=none
marred() { exits 2 pleiad_on 2 train --resume marred 2>last.err && says last.err "marred/run.h5' .*is not an HDF5 file; if you move it away, a new record begins at marred/checkpoints/step-0000000025.h5"; }
check "... is refused, and how to go on is said" marred
rm marred/run.h5
check "... which works" pleiad_on 2 train --resume marred --stop-at 30
mkdir elsewhere && mv marred/run.h5 elsewhere/ && ln -s ../elsewhere/run.h5 marred/run.h5
check "a record that is a link" pleiad_on 2 train --resume marred
check "... still is one" test -L marred/run.h5
check "... to a whole record" pleiad_on 1 inspect elsewhere/run.h5
check "stop between evaluations, at step 13" pleiad_on 2 train --config tiny.ini --out odd --stop-at 13
check "... again at step 14, --config and --out with --resume" pleiad_on 1 train --config tiny.ini --out odd --resume --stop-at 14
check "... to the end, --resume before the folder" pleiad_on 2 train --config tiny.ini --resume odd
check "... ends in the same bits" runs continued whole odd
check "other placement, exchange and reporting may be set when continuing" pleiad_on 1 train --config tiny.ini --out other --stop-at 25
check "... and are used" pleiad_on 3 train --resume other --set moe.placement=block --set checkpoint.keep=1 --set train.sample_every=0 --set exchange.kind=all_to_all
check "... ends in the same bits" runs continued whole other
check "... checkpoint.keep = 1 leaves one" holds other 50
check "checkpoint.keep = 0 keeps all" pleiad_on 1 train --config tiny.ini --out all --set checkpoint.keep=0
check "... 10 to 50" holds all 10 20 30 40 50

# Experts of one row each: their moments are stored for the rows that had tokens, whoever owns them.
peer=(--set moe.preset=peer --set moe.sub_keys=12 --set moe.heads=2 --set moe.k=3 --set moe.query_dim=8)
pkm=(--set moe.preset=pkm --set moe.sub_keys=9 --set moe.heads=3 --set moe.k=2 --set moe.query_dim=8 --set train.sparse_adam=dense)
grep -v "^experts\|^expert_widths\|^z_loss\|^preset" tiny.ini >rows.ini
check "peer: the undisturbed run" pleiad_on 1 train --config rows.ini --out peer "${peer[@]}"
check "pkm with dense Adam: the undisturbed run" pleiad_on 1 train --config rows.ini --out pkm "${pkm[@]}"
for change in "peer 2 1" "peer 1 3" "peer 3 4" "pkm 3 2" "pkm 1 4"; do
    read -r kind before after <<<"$change"
    run=$kind-$before-$after
    declare -n settings=$kind
    check "$kind: stop at step 25 on $before ranks" pleiad_on "$before" train --config rows.ini --out "$run" --stop-at 25 "${settings[@]}"
    check "... --resume DIR on $after ranks" pleiad_on "$after" train --resume "$run"
    check "... ends in the same bits, same records" runs same "$kind" "$run"
done
changed_adam() {
    exits 2 pleiad_on 1 train --resume peer-2-1 --set train.sparse_adam=dense >changed.txt 2>&1
    grep -q "train.sparse_adam = dense differs from the run's lazy" changed.txt || { cat changed.txt; return 1; }
}
check "a run does not change its sparse_adam" changed_adam

# ---- a finished run ----
cp -r whole finished
check "resume of a finished run" pleiad_on 2 train --resume finished
check "... changes nothing that was measured" runs same whole finished
check "... and leaves its checkpoints" holds finished 30 40 50
finished_step() { h5dump -a /finished_step "$1/run.h5" | grep -q "(0): $2\$" || { h5dump -a /finished_step "$1/run.h5"; return 1; }; }
check "... which ended properly" finished_step finished 50
check "stop at a step that is past: nothing happens" pleiad_on 1 train --resume finished --stop-at 20
unweighted() { # HOW LINE...: the finished run whose last checkpoint is no more does its last steps again
    cp -r whole "again-$1"
    if [[ $1 == gone ]]; then rm "again-$1/checkpoints/step-0000000050.h5"; else printf x | dd of="again-$1/checkpoints/step-0000000050.h5" bs=1 seek=40000 conv=notrunc status=none; fi
    pleiad_on 2 train --resume "again-$1" >last.txt 2>&1 && says last.txt "${@:2}"
}
check "a finished run whose last checkpoint is gone goes on from an older one" unweighted gone 'the checkpoint of step 50 is gone: going on from again-gone/checkpoints/step-0000000040.h5'
check "... to the same bits" runs same whole again-gone
check "... and so does one whose last checkpoint is damaged" unweighted hurt 'passed over a checkpoint: .*step-0000000050.h5.*damaged' 'going on from again-hurt/checkpoints/step-0000000040.h5'
check "... to the same bits" runs same whole again-hurt
check "a run that is stopped at step 25" pleiad_on 1 train --config tiny.ini --out past --stop-at 25
past() { pleiad_on 1 train --resume past --stop-at "$1" >last.txt && says last.txt "^past: is at step 25, there is nothing to do up to --stop-at $1\$"; }
check "... says that it is past --stop-at" past 20
check "... and that it is there" past 25
mkdir past/checkpoints/step-0000000040.h5.partial
in_the_way() { exits 2 pleiad_on 2 train --resume past >last.txt 2>last.err && says last.err "past/checkpoints/step-0000000040.h5.partial': is a folder and has the name of a checkpoint: move it away\$"; }
check "a folder in the place of a checkpoint is told of at once" in_the_way
rmdir past/checkpoints/step-0000000040.h5.partial
mv past/checkpoints past/kept && : >past/checkpoints
no_folder() { exits 2 pleiad_on 2 train --resume past >last.txt 2>last.err && says last.err "past/checkpoints': cannot be read \\(Not a directory\\)\$"; }
check "checkpoints that are no folder" no_folder
check "... nothing is lost" runs same whole finished
fewer() { # nothing is changed, and it stays finished
    local sums
    sums=$(find finished -type f -exec md5sum {} +)
    exits 2 pleiad_on 2 train --resume finished --set train.steps=30 2>last.err && says last.err '^pleiad: --resume finished: train.steps = 30: the run has done 50 steps.*allowed: 50 and more$' &&
        [[ $sums == "$(find finished -type f -exec md5sum {} +)" ]]
}
check "steps that were done cannot be taken back" fewer
more() { pleiad_on 1 train --resume finished --set train.steps=60 >last.txt 2>&1 && says last.txt 'note: train.steps = 60, up to here 50: from here on the learning rates are those of a run of 60 steps'; }
check "more steps can be added, and it says what that does to the learning rate" more
check "the last checkpoint is moved away" mv finished/checkpoints/step-0000000060.h5 .
gone() { pleiad_on 2 eval finished >last.txt 2>&1 && says last.txt 'note: the checkpoint of step 60 is gone: finished/checkpoints/step-[0-9]*.h5 is taken'; }
check "... an evaluation says so" gone
check "... and it is put back" mv step-0000000060.h5 finished/checkpoints/
check "... and are recorded" finished_step finished 60

# ---- killed ----
sed -i 's/^steps = 50/steps = 160/; s/^every = 10/every = 20/; s/^eval_windows = .*/eval_windows = 40/' tiny.ini
check "the longer undisturbed run" pleiad_on 1 train --config tiny.ini --out long

# killed_when CONDITION RANKS ARGS...: starts training, kills -9 every rank as soon as the condition holds.
killed_when() {
    local condition=$1 ranks=$2 launcher pids waited=0
    shift 2
    "$MPIRUN" -n "$ranks" "$PLEIAD" train "$@" >killed.log 2>&1 &
    launcher=$!
    until eval "$condition"; do
        kill -0 "$launcher" 2>/dev/null || { echo "ended before it could be killed"; tail -n 3 killed.log; return 1; }
        sleep 0.005
        waited=$((waited + 1))
        [[ $waited -lt 8000 ]] || { echo "gave up waiting"; break; }
    done
    mapfile -t pids < <(pgrep -P "$launcher")
    [[ ${#pids[@]} -gt 0 ]] || { wait "$launcher"; echo "there was nothing to kill"; return 1; }
    kill -9 "${pids[@]}" 2>/dev/null
    wait "$launcher" 2>/dev/null
    return 0
}
slow=(--set train.eval_every=1)  # enough time to aim
readable() { pleiad_on 1 inspect "$1/run.h5" >inspect.txt && grep -q 'not finished: running or interrupted\|no step recorded yet' inspect.txt; }

check "kill -9 of 2 ranks after the second checkpoint" killed_when '[[ -e kill1/checkpoints/step-0000000040.h5 ]]' 2 --config tiny.ini --out kill1 "${slow[@]}"
check "... the record is readable" readable kill1
check "... resumed on 3 ranks" pleiad_on 3 train --config tiny.ini --out kill1 --resume
check "... ends in the same bits" runs continued long kill1

check "kill -9 before the first checkpoint" killed_when '[[ -s kill2/log.txt ]]' 2 --config tiny.ini --out kill2 "${slow[@]}"
check "... the record is readable" readable kill2
check "... resumed on 1 rank from the start" pleiad_on 1 train --resume kill2
check "... ends in the same bits" runs continued long kill2

check "kill -9 while a checkpoint is written" killed_when 'compgen -G "kill3/checkpoints/*.partial" >/dev/null && [[ -e kill3/checkpoints/step-0000000012.h5 ]]' \
    2 --config tiny.ini --out kill3 --set checkpoint.every=1
check "... the record is readable" readable kill3
check "... resumed, killed again later" killed_when '[[ -e kill3/checkpoints/step-0000000080.h5 ]]' 3 --resume kill3 "${slow[@]}" --set checkpoint.every=20
check "... the record is readable" readable kill3
check "... resumed and stopped" pleiad_on 2 train --resume kill3 --stop-at 130
check "... resumed to the end on 4 ranks" pleiad_on 4 train --resume kill3
check "... ends in the same bits" runs continued long kill3

for moment in 0.02 0.1 0.2 0.3; do
    run=kill-$moment
    check "kill -9 $moment s after the start" killed_when "[[ -s $run/log.txt ]] && sleep $moment" 2 --config tiny.ini --out "$run" "${slow[@]}" --set checkpoint.every=3
    check "... the record is readable" readable "$run"
    check "... resumed" pleiad_on 2 train --config tiny.ini --out "$run" --resume
    check "... ends in the same bits" runs continued long "$run"
done
# ---- killed again while it is being continued ----
check "a run to be killed" pleiad_on 1 train --config tiny.ini --out again --stop-at 25
for delay in 0.02 0.03 0.04 0.05 0.06 0.07 0.08 0.09 0.1 0.12; do check "killed $delay s after it was continued" killed_while_continued again "$delay"; done
check "it goes on all the same" pleiad_on 2 train --resume again
check "... to the same bits" runs continued long again
check "... and no part of a file is left" test -z "$(find again -name '*.partial')"
finish
