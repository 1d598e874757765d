#!/usr/bin/env python3
"""trace.json of a run against its run.h5:  _trace.py RUN STEP...: loads, has exactly these steps, and tells the same times."""
import json
import sys

import h5py
import numpy as np

run, steps = sys.argv[1], [int(s) for s in sys.argv[2:]]
with open(f"{run}/trace.json") as file:
    trace = json.load(file)
events = [e for e in trace if e["ph"] == "X"]
names = {e["pid"]: e["args"]["name"] for e in trace if e["name"] == "process_name"}
bad = []
if sorted({e["args"]["step"] for e in events}) != steps:
    bad.append(f"steps {sorted({e['args']['step'] for e in events})}")
if any(not names.get(e["pid"], "").startswith(f"rank {e['pid']} (") or e["tid"] != 0 for e in events):
    bad.append(f"processes {names}")

with h5py.File(f"{run}/run.h5", "r") as file:
    phases = [p.decode() for p in file["phases"][()]]
    for ranks, group in file["ranks"].items():
        for row, step in enumerate(group["step"][()]):
            if step not in steps:
                continue
            for rank in range(min(int(ranks), 64)):
                mine = [e for e in events if e["pid"] == rank and e["args"]["step"] == step]
                whole = [e for e in mine if e["cat"] == "step"]
                parts = sorted((e for e in mine if e["cat"] == "phase"), key=lambda e: e["ts"])
                if len(whole) != 1 or whole[0]["name"] != f"step {step}":
                    bad.append(f"step {step}, rank {rank}: {len(whole)} step events")
                    continue
                begin, end = whole[0]["ts"], whole[0]["ts"] + whole[0]["dur"]
                if any(b["ts"] - (a["ts"] + a["dur"]) < -1e-3 for a, b in zip(parts, parts[1:])):
                    bad.append(f"step {step}, rank {rank}: events overlap")
                inside = [e for e in parts if e["name"] not in ("metrics", "evaluate", "checkpoint")]
                if any(e["ts"] < begin - 1e-3 or e["ts"] + e["dur"] > end + 1e-3 for e in inside):
                    bad.append(f"step {step}, rank {rank}: a phase sticks out of the step")
                if any(("layer" in e["args"]) != True for e in inside if e["name"] in ("attention", "router", "expert", "exchange", "dense_ffn")):
                    bad.append(f"step {step}, rank {rank}: a phase without its layer")
                sums = [sum(e["dur"] for e in parts if e["name"] == p) * 1e-6 for p in phases]
                recorded = group["phase_seconds"][row, rank]
                if not np.allclose(sums, recorded, rtol=0, atol=1e-9 * (10 + len(parts))):
                    bad.append(f"step {step}, rank {rank}: {sums} and {recorded}")
print("\n".join(bad[:10]) or f"{len(events)} events")
sys.exit(len(bad) > 0)
