#!/usr/bin/env python3
"""A few random kills of runs that go on (_kills.py); experiments/kill_trial makes hundreds."""
# PROCESSORS 4
# TIMEOUT 240
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _kills import Broken, Trial  # noqa: E402
from _program import TMP, Checks  # noqa: E402

os.chdir(TMP)
checks = Checks()
seed = int(os.environ.get("PLEIAD_TEST_SEED", time.time_ns() % 1_000_000))
try:
    Trial(8, seed, ["switch", "peer", "moved"], steps=120).run()
    problems = []
except Broken as broken:
    problems = [f"PLEIAD_TEST_SEED={seed}", broken]
checks.report("runs that are killed and go on end in the bits of undisturbed ones", problems)
checks.finish()
