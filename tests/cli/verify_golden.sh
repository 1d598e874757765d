#!/usr/bin/env bash
# pleiad verify against the expected results in tests/golden.
# PROCESSORS 4
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
golden=("$PLEIAD_SOURCE"/tests/golden/*.h5)
count=${#golden[@]}

passes() { # RANKS ARGS...: every file within tolerance, and one table per file
    pleiad_on "$@" >verify.txt || { cat verify.txt; return 1; }
    cat verify.txt
    grep -q "^$count of $count files within tolerance" verify.txt && [[ $(grep -c '^[^ ].*\.h5$' verify.txt) == "$count" ]]
}

[[ $count -ge 39 ]] || { echo "FAILED  only $count files in tests/golden"; exit 1; }
for ranks in 1 2 3 4; do
    check "$count golden files, float32, ranks: $ranks" passes "$ranks" verify "${golden[@]}"
done
single=$PLEIAD
PLEIAD=$PLEIAD_F64
for ranks in 1 2; do
    check "$count golden files, float64, ranks: $ranks" passes "$ranks" verify "${golden[@]}"
done
tolerance_of_double() { grep -q 'output/y .*allowed  1e-11' verify.txt && grep -q 'final, RMS error .*allowed  1e-08' verify.txt; }
check "the double program uses the float64 tolerances" tolerance_of_double
PLEIAD=$single

# What --out writes is a verification file itself.
for ranks in 1 3; do
    check "--out on $ranks ranks" passes "$ranks" verify "${golden[@]}" --out "out$ranks"
    check "what --out wrote verifies, $ranks ranks" passes "$ranks" verify out"$ranks"/*.h5
done

PYTHON=$(python_with_h5py)
if [[ -z $PYTHON ]]; then
    echo "skipped: checks that need python3 with h5py"
    finish
fi
export PYTHONDONTWRITEBYTECODE=1

same_layout() {
    "$PYTHON" - "$@" <<'PY'
import os, sys
import h5py
import numpy as np

folder, bad = sys.argv[1], 0


def datasets(file):
    found = {}
    file.visititems(lambda name, item: found.__setitem__(name, item) if isinstance(item, h5py.Dataset) else None)
    return found


for path in sys.argv[2:]:
    with h5py.File(path) as golden, h5py.File(os.path.join(folder, os.path.basename(path))) as ours:
        expected, got = datasets(golden), datasets(ours)
        for name in sorted(set(expected) ^ set(got)):
            print(path, name, "is missing" if name in expected else "is not in the golden file")
            bad += 1
        for name in set(expected) & set(got):
            if expected[name].shape != got[name].shape or expected[name].dtype.kind != got[name].dtype.kind:
                print(path, name, expected[name].shape, got[name].shape, expected[name].dtype, got[name].dtype)
                bad += 1
            elif name.split("/")[0] in ("input", "params", "data") and not np.array_equal(expected[name][()], got[name][()]):
                print(path, name, "was not copied exactly")
                bad += 1
            for key, value in expected[name].attrs.items():
                if key in ("trainable", "decay") and got[name].attrs.get(key) != value:
                    print(path, name, key)
                    bad += 1
        for key, value in golden.attrs.items():
            if key not in ours.attrs or ours.attrs[key] != value:
                print(path, "attribute", key, value, ours.attrs.get(key))
                bad += 1
sys.exit(bad > 0)
PY
}
check "--out writes the datasets and attributes of the originals" same_layout out1 "${golden[@]}"
# shellcheck disable=SC2016
check "--out writes the same file on 1 and 3 ranks" bash -c 'for f in out1/*.h5; do h5diff -q "$f" "out3/$(basename "$f")" || { echo "$f"; exit 1; }; done'

# A planted error must be found and named.
plant() { # FILE DATASET: adds a little to the entry of largest size, in a copy called planted.h5
    cp "$PLEIAD_SOURCE/tests/golden/$1.h5" planted.h5 && chmod u+w planted.h5
    "$PYTHON" - "$2" <<'PY'
import sys
import h5py
import numpy as np

with h5py.File("planted.h5", "r+") as file:
    dataset = file[sys.argv[1]]
    values = np.array(dataset)
    flat = values.reshape(-1)
    at = int(np.argmax(np.abs(flat)))
    flat[at] += 1 if values.dtype.kind == "i" else 1e-3 * max(abs(flat[at]), 1e-2)
    dataset[...] = values
PY
}
found() { # RANKS QUANTITY: exit code 1, and that line says FAILED
    exits 1 pleiad_on "$1" verify planted.h5 >verify.txt || { cat verify.txt; return 1; }
    cat verify.txt
    grep -q "$2.* FAILED" verify.txt && grep -q '^0 of 1 files within tolerance' verify.txt
}
planted() { # FILE DATASET QUANTITY
    plant "$1" "$2" || { echo "FAILED  cannot plant $1 $2"; failures=$((failures + 1)); return; }
    check "an error in $2 of $1 is found" found 1 "$3"
}
planted switch_top1_capacity grads/router/w 'worst grads/router/w)'
planted noisy_topk routing/weight routing/weight
planted noisy_topk losses/load losses/load
planted mixtral_top2_swiglu output/y output/y
planted gshard_top2_capacity routing/dropped routing/dropped
planted gshard_top2_capacity routing/expert routing/expert
planted dense_gelu output/d_x output/d_x
planted model_switch grads/blocks/1/attn/wq 'worst grads/blocks/1/attn/wq)'
planted model_switch trace/expert_tokens trace/expert_tokens
planted model_mixtral_top2 trace/task_loss trace/task_loss
planted model_mixtral_top2 step0/logits step0/logits
planted model_dense final/head 'worst final/head)'
planted damoe_budget routing/importance routing/importance
planted deepseek_bias output/bias_after output/bias_after
planted hypermoe_top2 grads/hyper/expert_embedding 'worst grads/hyper/expert_embedding)'
planted expert_choice routing/offset routing/offset
planted model_hypermoe final/hyper_shared/trunk_w 'worst final/hyper_shared/trunk_w)'
planted model_deepseek_bias final/blocks/1/ffn/router/bias 'worst final/blocks/1/ffn/router/bias)'
planted model_encoder_damoe_rowmax step0/logits step0/logits
plant hmoe_topk_arithmetic params/experts/2/w_up
check "a changed weight is found" found 1 output/y
check "a changed weight is found on 2 ranks, exit code once" found 2 output/y
one_of_two() {
    exits 1 pleiad_on 2 verify planted.h5 "$PLEIAD_SOURCE/tests/golden/dense_gelu.h5" >verify.txt || return 1
    grep -q '^1 of 2 files within tolerance' verify.txt
}
check "one bad file among good ones is counted" one_of_two
finish
