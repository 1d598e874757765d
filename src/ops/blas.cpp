#include "pleiad/ops/blas.hpp"

#include <cblas.h>

#include <algorithm>
#include <limits>

namespace pleiad::ops {

namespace {

// The only place where our 64-bit extents become the integers of the library.
blasint narrow(i64 extent) {
  PLEIAD_CHECK(extent >= 0 && extent <= std::numeric_limits<blasint>::max(), "extent {} in a matrix product", extent);
  return static_cast<blasint>(extent);
}

blasint leading(ConstMatrixView v) {
  return narrow(v.rows > 1 ? v.stride : std::max(v.stride, v.cols));
}

// The product for the number type of the build.
[[maybe_unused]] auto kernel(float) {
  return cblas_sgemm;
}
[[maybe_unused]] auto kernel(double) {
  return cblas_dgemm;
}

CBLAS_TRANSPOSE code(Trans t) {
  return t == Trans::yes ? CblasTrans : CblasNoTrans;
}

void scale_in_place(real beta, MatrixView c) {
  for (i64 i = 0; i < c.rows; ++i) {
    real* row = c.row(i);
    if (beta == real(0)) {
      std::fill(row, row + c.cols, real(0));
    } else if (beta != real(1)) {
      for (i64 j = 0; j < c.cols; ++j) row[j] *= beta;
    }
  }
}

}  // namespace

void gemm(Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c) {
  const i64 m = ta == Trans::no ? a.rows : a.cols;
  const i64 k = ta == Trans::no ? a.cols : a.rows;
  const i64 k_of_b = tb == Trans::no ? b.rows : b.cols;
  const i64 n = tb == Trans::no ? b.cols : b.rows;
  PLEIAD_CHECK(k == k_of_b && c.rows == m && c.cols == n, "product of {}x{} and {}x{} into {}x{}", m, k, k_of_b, n,
               c.rows, c.cols);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_in_place(beta, c);
  for (const ConstMatrixView& v : {a, b, ConstMatrixView(c)}) {
    PLEIAD_CHECK(v.rows <= 1 || v.stride >= v.cols, "stride {} of a matrix with {} columns", v.stride, v.cols);
  }

  kernel(real())(CblasRowMajor, code(ta), code(tb), narrow(m), narrow(n), narrow(k), alpha, a.data, leading(a), b.data,
                 leading(b), beta, c.data, leading(c));
}

void set_blas_threads(int threads) {
  PLEIAD_CHECK(threads >= 1, "{} BLAS threads", threads);
  openblas_set_num_threads(threads);
}

std::string blas_description() {
  return fmt::format("{}; kernel {}; {} thread(s)", openblas_get_config(), openblas_get_corename(),
                     openblas_get_num_threads());
}

}  // namespace pleiad::ops
