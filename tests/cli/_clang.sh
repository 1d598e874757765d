# Shared by the tests that build a tree of their own with clang; source it first.
# shellcheck shell=bash

# require_clang SANITIZERS: ends as skipped where clang does not build programs that run with them (none: plain programs).
require_clang() {
    printf 'int main() { return 0; }\n' >"$TEST_TMP/probe.cpp"
    if ! clang++ ${1:+-fsanitize="$1"} "$TEST_TMP/probe.cpp" -o "$TEST_TMP/probe" >"$TEST_TMP/probe.log" 2>&1 || ! "$TEST_TMP/probe" >>"$TEST_TMP/probe.log" 2>&1; then
        echo "skipped: no clang whose programs run${1:+ with -fsanitize=$1} (Debian packages clang and libclang-rt-dev)"
        exit 77
    fi
}
