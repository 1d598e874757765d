#include <cblas.h>

#include <algorithm>
#include <limits>

#include "gemm_detail.hpp"

namespace pleiad::ops::detail {

namespace {

// Our 64-bit extents become the integers of the library here.
blasint narrow(i64 extent) {
  PLEIAD_CHECK(extent >= 0 && extent <= std::numeric_limits<blasint>::max(), "extent {} in a matrix product", extent);
  return static_cast<blasint>(extent);
}

blasint leading(ConstMatrixView v) { return narrow(v.rows > 1 ? v.stride : std::max(v.stride, v.cols)); }

// The product for the number type of the build.
[[maybe_unused]] auto kernel(float) { return cblas_sgemm; }
[[maybe_unused]] auto kernel(double) { return cblas_dgemm; }

CBLAS_TRANSPOSE code(Trans t) { return t == Trans::yes ? CblasTrans : CblasNoTrans; }

}  // namespace

void openblas_gemm(const Extents& e, Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c) {
  kernel(real())(CblasRowMajor, code(ta), code(tb), narrow(e.m), narrow(e.n), narrow(e.k), alpha, a.data, leading(a), b.data, leading(b),
                 beta, c.data, leading(c));
}

void openblas_set_threads(int threads) { openblas_set_num_threads(threads); }

std::string openblas_kernel() { return openblas_get_corename(); }

std::string openblas_description() {
  return fmt::format("{}; kernel {}; {} thread(s)", openblas_get_config(), openblas_get_corename(), openblas_get_num_threads());
}

}  // namespace pleiad::ops::detail
