#!/usr/bin/env bash
# Tests of what multiplies, with the kernels that OpenBLAS and oneDNN take on lesser processors: what holds must not hold by the kernels of this one only.
# PROCESSORS 2
# TIMEOUT 600
# shellcheck disable=SC2317  # functions are called by check
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
if [[ $(uname -m) != x86_64 ]]; then
    echo "skipped: the kernels named here are those of x86 processors"
    exit 77
fi

with() { # OPENBLAS ONEDNN RANKS PROGRAM
    local launcher=()
    if (($3 > 1)); then launcher=("$MPIRUN" -n "$3"); fi
    OPENBLAS_CORETYPE=$1 ONEDNN_MAX_CPU_ISA=$2 DNNL_MAX_CPU_ISA=$2 timeout -k 5 200 "${launcher[@]}" "${PLEIAD%/bin/*}/tests/bin/$4"
}
while read -r -u 3 openblas onednn flag faster; do
    if ! grep -qw "$flag" /proc/cpuinfo; then
        echo "skipped: $openblas kernels, this processor has no $flag"
        continue
    fi
    taken() { OPENBLAS_CORETYPE=$openblas pleiad_on 1 --version | grep -q "kernel $openblas;"; }
    check "OpenBLAS takes its $openblas kernels" taken
    if pleiad_on 1 --version | grep -q 'oneDNN [0-9]'; then
        chosen() { OPENBLAS_CORETYPE=$openblas ONEDNN_MAX_CPU_ISA=$onednn DNNL_MAX_CPU_ISA=$onednn pleiad_on 1 --version | grep -q "products by $faster$"; }
        check "... products are $faster's" chosen
    fi
    for program in test_ops test_experts test_model; do check "... $program" with "$openblas" "$onednn" 1 $program; done
    for program in test_model_mpi test_train_mpi test_exchange_mpi; do check "... $program on 2 ranks" with "$openblas" "$onednn" 2 $program; done
done 3<<'END'
Prescott SSE41 ssse3 onednn
Haswell AVX2 avx2 openblas
SkylakeX AVX512_CORE avx512f onednn
END
finish
