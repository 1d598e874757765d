#!/usr/bin/env bash
# Builds the fuzzers and runs each for a few seconds (docs/testing.md). Skipped without clang; PLEIAD_FUZZ_SECONDS says how long.
# PROCESSORS 2
# TIMEOUT 900
set -euo pipefail
exec "$PLEIAD_SOURCE/tests/fuzz/run" --seconds "${PLEIAD_FUZZ_SECONDS:-5}"
