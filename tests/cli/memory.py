#!/usr/bin/env python3
"""Memory: what is predicted before the first step is what is measured, within 10 % on every rank; what does not fit is refused before anything is
written; and a run is the same bits with and without the trial steps. PLEIAD_ALL_VARIANTS=1: every line of experiments/variants.txt."""
# PROCESSORS 2
# TIMEOUT 900
import os
import sys

import _program as p

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: no h5py (Debian package python3-h5py)")
    sys.exit(77)

os.chdir(p.TMP)
checks = p.Checks()
CORPUS = "corpus.h5"
checks.report("a small corpus", [r for r in [p.pleiad(["data", "synth", "--out", CORPUS, "--tokens", 60000, "--document", 128, "--seed", 5])] if r.code])

BASE = {"data.corpus": CORPUS, "model.width": 256, "model.layers": 4, "model.heads": 4, "model.seq_len": 64, "moe.experts": 8, "moe.expert_width": 128,
        "train.steps": 3, "train.batch_sequences": 32, "train.lanes": 4, "train.eval_windows": 32, "train.sample_tokens": 4, "train.warmup_steps": 1}
WITHOUT = {"moe.experts", "moe.expert_width"}  # of variants with widths of their own
SHAPES = {
    "vocabulary": {"moe.preset": "switch", "model.layers": 1, "model.width": 512, "model.dense_width": 64, "moe.expert_width": 64},
    "attention": {"moe.preset": "switch", "model.seq_len": 512, "train.batch_sequences": 12, "train.eval_windows": 8, "model.width": 64},
    "experts": {"moe.preset": "gshard", "moe.experts": 16, "moe.expert_width": 1024, "model.layers": 2, "model.seq_len": 32},
    "few_windows": {"moe.preset": "gshard", "train.eval_windows": 3},
    "tiny": {"moe.preset": "gshard", "model.width": 32, "model.layers": 2, "model.heads": 2, "model.seq_len": 32, "moe.experts": 5, "moe.expert_width": 24, "train.batch_sequences": 12},
    "small_batch": {"moe.preset": "gshard", "train.batch_sequences": 7, "train.eval_windows": 14, "model.seq_len": 256},
}
PICKED = ["dense", "gshard", "hmoe_topp", "hypermoe", "damoe", "peer"]


def variants():
    with open(os.path.join(p.SOURCE, "experiments", "variants.txt")) as lines:
        for line in lines:
            name, *words = line.split() or [""]
            if name and not name.startswith("#") and not any(w.startswith("@") for w in words):
                yield name, dict(w.split("=", 1) for w in words)


def arguments(settings, base=BASE):
    return [w for key, value in {**base, **settings}.items() for w in ("--set", f"{key}={value}")]


def train(out, settings, ranks=1, **options):
    base = dict(BASE)
    if any(w in str(settings.get("moe.preset")) for w in ("peer", "pkm")):
        base = {k: v for k, v in base.items() if k not in WITHOUT}
    return p.pleiad(["train", "--config", "plain.ini", "--out", out, *arguments(settings, base)], ranks=ranks, timeout=150, **options)


def off(out, ranks):
    with h5py.File(f"{out}/run.h5") as f:
        predicted, measured = f[f"memory/{ranks}/predicted_memory"][:], f[f"memory/{ranks}/peak_memory"][:]
    return predicted, measured, np.abs(predicted / measured - 1)


with open("plain.ini", "w") as config:
    config.write("[train]\n")
every = os.environ.get("PLEIAD_ALL_VARIANTS") == "1"
cases = [(name, settings, ranks) for name, settings in variants() if every or name in PICKED for ranks in (1, 2) if every or ranks == 1 or name in ("gshard", "peer")]
cases += [(name, settings, ranks) for name, settings in SHAPES.items() for ranks in (1, 2) if every or ranks == 1 or name == "tiny"]
cases += [("hierarchical", {"moe.preset": "gshard", "exchange.kind": "hierarchical"}, 2), ("all_to_all", {"moe.preset": "gshard", "exchange.kind": "all_to_all"}, 2)]
# Generated experts see another number of tokens in every step: nothing may be kept for each number. From three ranks on one writes for all.
long = {"train.steps": 40, "model.layers": 2, "train.eval_every": 0}
cases += [("hypermoe_long", {"moe.preset": "hypermoe", **long}, 1), ("expert_adapter_long", {"moe.preset": "moe_expert_adapter", **long}, 1),
          ("saved_by_one", {"moe.preset": "gshard", "moe.experts": 64, "moe.expert_width": 512, "model.layers": 2, "train.batch_sequences": 8}, 4)]
for name, settings, ranks in cases:
    out = f"{name}-{ranks}"
    result = train(out, settings, ranks)
    if result.code:
        checks.report(f"{name} on {ranks}", [result])
        continue
    predicted, measured, error = off(out, ranks)
    numbers = ", ".join(f"{a / 2**20:.0f} MiB predicted, {b / 2**20:.0f} measured" for a, b in zip(predicted, measured))
    checks.report(f"{name} on {ranks}: {numbers} ({100 * (predicted / measured - 1)[np.argmax(error)]:+.1f} %)", [numbers] if error.max() > 0.1 else [])


# Refused: one line, exit code 2, nothing written.
def refused(result, out):
    lines = [line for line in result.err.splitlines() if line]
    problems = [result] if result.code != 2 or len(lines) != 1 or "memory_check" not in result.err else []
    return problems + ([f"{out} was made"] if os.path.exists(out) else [])


BIG = {"moe.preset": "gshard", "train.batch_sequences": 100000, "train.eval_windows": 4}
for ranks in (1, 3):
    checks.report(f"a batch that no machine has room for, {ranks} ranks", refused(train(f"big-{ranks}", BIG, ranks), f"big-{ranks}"))
    checks.report(f"experts that no machine has room for, {ranks} ranks",
                  refused(train(f"wide-{ranks}", {"moe.preset": "gshard", "moe.expert_width": 100000000}, ranks), f"wide-{ranks}"))
limited = p.run(["bash", "-c", 'ulimit -v 1500000; exec "$@"', "limited", p.PLEIAD, "train", "--config", "plain.ini", "--out", "limited",
                 *arguments({"moe.preset": "gshard", "train.batch_sequences": 512, "train.eval_windows": 4})])
checks.report("ulimit -v", refused(limited, "limited") + ([] if "ulimit -v" in limited.err else [limited]))
dry = p.pleiad(["train", "--config", "plain.ini", "--dry-run", *arguments(BIG)])
checks.report("a dry run says that it would be refused", [] if dry.code == 0 and "would be refused" in dry.out else [dry])

# The same bits with and without.
for name, settings, ranks in [("gshard", {"moe.preset": "gshard"}, 2), ("noisy", {"moe.router": "noisy_topk", "moe.k": 2}, 1), ("damoe", {"moe.preset": "damoe"}, 1),
                              ("bias", {"moe.preset": "deepseek"}, 2),
                              ("peer", {"moe.preset": "peer", "moe.layers": 1, "moe.sub_keys": 16, "moe.heads": 2, "moe.k": 4, "moe.query_dim": 16}, 2)]:
    small = {**settings, "model.width": 64, "train.batch_sequences": 12}
    results = [train(f"bits-{name}-{check}", {**small, "parallel.memory_check": check}, ranks) for check in ("refuse", "none")]
    problems = [r for r in results if r.code]
    if not problems:
        files = [h5py.File(f"bits-{name}-{check}/checkpoints/step-0000000003.h5") for check in ("refuse", "none")]
        sets = []
        files[0].visititems(lambda path, item: sets.append(path) if isinstance(item, h5py.Dataset) and path != "config" else None)
        problems = [path for path in sets if not path.startswith("config") and files[0][path][()].tobytes() != files[1][path][()].tobytes()]
    checks.report(f"{name}: the same bits with and without trial steps", problems)
checks.finish()
