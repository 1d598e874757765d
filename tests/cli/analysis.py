#!/usr/bin/env python3
"""The examples of docs/analysis.md: taken out of the page, run on a fresh run, and what they print is compared with what is true; then on a
run that goes on."""
# PROCESSORS 2
# TIMEOUT 180
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _program import PLEIAD, SOURCE, TMP, Checks, environment, pleiad, run  # noqa: E402

os.chdir(TMP)
checks = Checks()
CONFIG = """[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[moe]
preset = mixtral
experts = 5
expert_width = 8
[train]
steps = 25
batch_sequences = 8
eval_every = 10
eval_windows = 8
sample_tokens = 0
[data]
corpus = corpus.h5
"""


def check(what, good, shown=""):
    checks.report(what, [] if good else [shown or "no"])


def examples():
    page = Path(SOURCE, "docs/analysis.md").read_text(encoding="utf-8")
    found = {}
    for language, body in re.findall(r"^```(python|sh)\n(.*?)^```", page, re.M | re.S):
        name = re.match(r"# (\w+\.(?:py|sh)) RUN\n", body)
        check(f"example says its name: {body.splitlines()[0]}", name)
        found[name.group(1)] = [sys.executable if language == "python" else "bash", name.group(1)]
        Path(name.group(1)).write_text(body)
        check(f"{name.group(1)} has about ten lines", len(body.splitlines()) <= 12)
    return found


def numbers(text):
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", text)]


def close(found, expected):
    return len(found) == len(expected) and np.allclose(found, expected, rtol=1e-8)


def see_loads(text, f):
    lines, r, blocks = text.splitlines(), f["routing"], f["layers/block"][()]
    expected = [[25, f["steps/task_loss"][-1]]]
    for layer, block in enumerate(blocks):
        s = r["expert_tokens"][-1, layer] / r["expert_tokens"][-1, layer].sum()
        expected.append([block, (s * len(s)).max(), (s[s > 0] * np.log(s[s > 0] * len(s))).sum()])
    sent = f["ranks/2/bytes"][()].sum(axis=(0, 1))
    expected.append([2, *sent])
    return len(lines) == len(expected) and sent.min() > 0 and all(close(numbers(a), b) for a, b in zip(lines, expected))


def see_steps(text, f):
    loss, norm, flops = (f[f"steps/{n}"][()] for n in ("task_loss", "grad_norm", "flops"))
    lines = text.splitlines()
    good = lines[0] == ",task_loss,grad_norm,flops"
    for line, of in zip(lines[1:4], (np.mean, np.min, np.max)):
        good = good and line.startswith(of.__name__.replace("amin", "min").replace("amax", "max")) and close(numbers(line), [of(loss), of(norm), of(flops)])
    ranks, _, table = lines[-1].partition(" ranks ")
    shares, total = json.loads(table), f["ranks/2/phase_seconds"][()].sum()
    names = [p.decode() for p in f["phases"][()]]
    return good and ranks == "2" and all(np.isclose(shares[n], f["ranks/2/phase_seconds"][()][:, :, i].sum() / total, rtol=1e-5, atol=1e-9) for i, n in enumerate(names))


def see_dump(text, f):
    values = [numbers(m.replace("\n", " ")) for m in re.findall(r"DATA \{\n(.*?)\}", text, re.S)]
    loss, imbalance = f["evaluation/loss"][()], f["routing/imbalance"][0, 0]
    attributes = [[int(x) for x in re.findall(r"\(0\): (-?\d+)", part)] for part in re.findall(r"ATTRIBUTE .*?\}\n", text, re.S)]
    wanted = [f.attrs["ranks"], f.attrs["parameters_total"], 25]
    good = np.allclose(values[0], loss, rtol=1e-5) and np.allclose(values[1], [imbalance], rtol=1e-5)
    return good and [w for w in wanted if not re.search(rf"\(0\): {w}\b", text)] == [] and "expert_width" in text and numbers(Path("steps.txt").read_text()) == [10, 20, 25]


def see_live(text, f):
    return re.match(r"finished 25 of 25 loss ", text) is not None and close(numbers(text)[2:], [f["steps/task_loss"][-1], 0])


def unavailable():
    """By example: why it cannot be run here."""
    reasons = {}
    if run([sys.executable, "-c", "import pandas"]).code != 0:
        reasons["steps.py"] = "no pandas for this python3 (Debian package python3-pandas)"
    if run(["bash", "-c", "h5dump --version"]).code != 0:
        reasons["dump.sh"] = "no h5dump (Debian package hdf5-tools)"
    for name, reason in reasons.items():
        print(f"skipped {name}: {reason}")
    return reasons


def of_a_finished_run(commands):
    sees = {"loads.py": see_loads, "steps.py": see_steps, "dump.sh": see_dump, "live.py": see_live}
    with h5py.File("done/run.h5", "r") as f:
        for name, command in commands.items():
            done = run(command + ["done"])
            try:
                check(f"{name}: what it prints is true", done.code == 0 and sees[name](done.out, f), done)
            except Exception as e:  # output of another shape
                check(f"{name}: {e!r}", False, done)


def of_one_that_goes_on(commands):
    arguments = ["train", "--config", "tiny.ini", "--out", "going", "--set", "train.steps=1000000"]
    going = subprocess.Popen([PLEIAD] + arguments, stdout=subprocess.DEVNULL, env=environment())
    try:
        until = time.time() + 30
        while time.time() < until and not (os.path.exists("going/live.json") and json.loads(Path("going/live.json").read_text())["step"] >= 20):
            time.sleep(0.05)
        for name, command in commands.items():
            for _ in range(5):
                done = run(command + ["going"])
                if done.code == 0 or name != "dump.sh":  # a copy may have been taken in the middle of a write
                    break
            check(f"{name}: also while the run goes on", done.code == 0 and done.out, done)
        check("... which is still going on", going.poll() is None)
    finally:
        going.terminate()
        going.wait()


def main():
    commands = examples()
    check("those are the examples", sorted(commands) == ["dump.sh", "live.py", "loads.py", "steps.py"], sorted(commands))
    reasons = unavailable()
    commands = {name: command for name, command in commands.items() if name not in reasons}
    Path("tiny.ini").write_text(CONFIG)
    done = pleiad(["data", "synth", "--out", "corpus.h5", "--tokens", "30000", "--document", "64", "--seed", "5"])
    check("a small corpus", done.code == 0, done)
    done = pleiad(["train", "--config", "tiny.ini", "--out", "done"], ranks=2)
    check("a run", done.code == 0, done)
    of_a_finished_run(commands)
    of_one_that_goes_on(commands)
    checks.finish()


if __name__ == "__main__":
    main()
