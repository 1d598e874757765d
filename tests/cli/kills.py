#!/usr/bin/env python3
"""A short experiments/kill_trial: kills at random moments and during saves lose nothing."""
# PROCESSORS 2
# TIMEOUT 240
import os
import subprocess
import sys

trial = os.path.join(os.environ["PLEIAD_SOURCE"], "experiments", "kill_trial")
sys.exit(subprocess.run([sys.executable, trial, "--kills", "8", "--kills-per-run", "2", "--steps", "600"], check=False).returncode)
