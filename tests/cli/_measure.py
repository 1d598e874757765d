#!/usr/bin/env python3
"""Whether what run.h5 says about ranks and loads fits together:  _measure.py RUN [RANKS...]: exactly these groups."""
import sys

import h5py
import numpy as np

bad = []


def expect(what, truth):
    if not np.all(truth):
        bad.append(what)


def over_mean(x):
    mean = x.mean(axis=-1)
    return np.where(mean > 0, x.max(axis=-1) / np.where(mean > 0, mean, 1), 1)


def look_at_ranks(file, group):
    rows, flops = group["expert_rows"][()], group["expert_flops"][()]
    at = group["step"][()] - 1
    expect("rows of all ranks are the kept entries", rows.sum(axis=2) == file["routing/expert_tokens"][()][at].sum(axis=2))
    expect("flops of all ranks are those of the experts", flops.sum(axis=2) == file["routing/expert_flops"][()][at].sum(axis=2))
    expect("overload", np.isclose(group["overload"][()], over_mean(rows)))
    expect("flops_overload", np.isclose(group["flops_overload"][()], over_mean(flops)))


def look_at_pairs(file, ranks, pairs):
    steps, bytes_to = pairs["step"][()], pairs["bytes"][()]
    evaluated, saved = set(file["evaluation/step"][()]), set(file["checkpoints/step"][()])
    expect("rows ascend", np.diff(steps) > 0)
    expect("rows at evaluations and checkpoints only", [s in evaluated | saved for s in steps])
    expect("nothing from a rank to itself", [b.diagonal().sum() == 0 for b in bytes_to])
    if str(ranks) not in file["ranks"]:  # a dry run: all pretended ranks together
        expect("bytes of all pairs", bytes_to.sum() == file["ranks/1/bytes"][()].sum())
        return
    group = file[f"ranks/{ranks}"]
    mine = set(group["step"][()])
    expect("a row at every evaluation", [s in steps for s in evaluated & mine])
    before = -1
    for step, row in zip(steps, bytes_to):
        counted = (group["step"][()] > before) & (group["step"][()] <= step)
        expect(f"bytes of the row at step {step}", row.sum(axis=1) == group["bytes"][()][counted].sum(axis=(0, 1)))
        before = step
    expect("every step is in a row", max(mine) == steps[-1])


def main():
    with h5py.File(sys.argv[1] + "/run.h5", "r") as file:
        for group in ("routing", "evaluation"):
            tokens = file[f"{group}/expert_tokens"][()].astype(float)
            s = tokens / tokens.sum(axis=2, keepdims=True)
            divergence = np.sum(np.where(s > 0, s * np.log(np.where(s > 0, s, 1) * s.shape[2]), 0), axis=2)
            expect(f"{group}: load_divergence", np.isclose(file[f"{group}/load_divergence"][()], divergence, atol=1e-12))
        for ranks in file["ranks"]:
            look_at_ranks(file, file[f"ranks/{ranks}"])
        for ranks in file["pairs"]:
            look_at_pairs(file, int(ranks), file[f"pairs/{ranks}"])
        if sys.argv[2:]:
            expect("groups " + " ".join(file["pairs"]), sorted(file["pairs"]) == sorted(sys.argv[2:]))
    print("\n".join(bad))
    return len(bad) > 0


if __name__ == "__main__":
    sys.exit(main())
