#!/usr/bin/env bash
# Builds the unit tests with the address and undefined-behaviour sanitizers (build/sanitize) and runs them, those under MPI on 2 ranks
# (docs/testing.md). Skipped without clang.
# PROCESSORS 2
# TIMEOUT 1800
set -euo pipefail
# shellcheck source=tests/cli/_clang.sh
source "$PLEIAD_SOURCE/tests/cli/_clang.sh"
require_clang address,undefined
"$PLEIAD_SOURCE/experiments/build" sanitize -DPLEIAD_TESTS=ON --target unit_tests
ctest --test-dir "$PLEIAD_SOURCE/build/sanitize" -j 2 -L '^(serial|mpi)$' -LE '^(gradient|fuzz)$' -R '^[a-z]+$|_mpi_2$' \
    --output-on-failure --no-tests=error --no-label-summary
