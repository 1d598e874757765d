#!/usr/bin/env bash
# Runs one script of tests/cli in an empty directory of its own: TEST_TMP, also the working directory.
# Python scripts need h5py; where no interpreter has it they count as skipped (exit code 77).
set -euo pipefail
script=$1
rm -rf "$TEST_TMP"
mkdir -p "$TEST_TMP"
cd "$TEST_TMP"
if [[ $script != *.py ]]; then
    exec bash "$script"
fi
for python in /usr/bin/python3 python3; do
    if command -v "$python" >/dev/null && "$python" -c 'import h5py' 2>/dev/null; then
        PYTHONDONTWRITEBYTECODE=1 exec "$python" "$script"
    fi
done
echo "skipped: no python3 with h5py (Debian package python3-h5py)"
exit 77
