#!/usr/bin/env bash
# Builds the tests of the room comm, the only one with a thread of its own (the watchdog's), with the thread sanitizer (build/thread) and
# runs those of the watchdog. Skipped without clang, or where programs with this sanitizer do not run.
# PROCESSORS 2
# TIMEOUT 600
set -euo pipefail
# shellcheck source=tests/cli/_clang.sh
source "$PLEIAD_SOURCE/tests/cli/_clang.sh"
require_clang thread
"$PLEIAD_SOURCE/experiments/build" thread -DPLEIAD_TESTS=ON --target test_comm_mpi
# shellcheck source=experiments/env.sh
source "$PLEIAD_SOURCE/experiments/env.sh"
export TSAN_OPTIONS=halt_on_error=1
watchdog() { "$MPIRUN" -n 2 "$PLEIAD_SOURCE/build/thread/tests/bin/test_comm_mpi" --gtest_filter="Watchdog.$1" --gtest_also_run_disabled_tests; }
watchdog LetsAJobThatMovesGoOn
# The watchdog's thread ends the job, with this exit code; a race would be 66.
code=0
watchdog DISABLED_ARankThatLoopsForEver || code=$?
[[ $code == 76 ]] || { echo "exit code $code, expected 76"; exit 1; }
