#include "pleiad/ops/rms_norm.hpp"

#include "pleiad/ops/vec.hpp"

#include <cmath>

namespace pleiad::ops {

namespace {

void check_shapes(ConstMatrixView x, ConstMatrixView weight, ConstMatrixView y, std::size_t inv_rms) {
  PLEIAD_CHECK(weight.rows == 1 && weight.cols == x.cols, "norm weight {}x{} for width {}", weight.rows, weight.cols,
               x.cols);
  PLEIAD_CHECK(y.rows == x.rows && y.cols == x.cols, "norm of {}x{} with {}x{}", x.rows, x.cols, y.rows, y.cols);
  PLEIAD_CHECK(static_cast<i64>(inv_rms) == x.rows, "{} inverse norms for {} rows", inv_rms, x.rows);
}

}  // namespace

void rms_norm_forward(ConstMatrixView x, ConstMatrixView weight, real eps, MatrixView y, std::span<real> inv_rms) {
  check_shapes(x, weight, y, inv_rms.size());
  const i64 D = x.cols;
  const real* w = weight.data;
  for (i64 t = 0; t < x.rows; ++t) {
    const real* x_t = x.row(t);
    real* y_t = y.row(t);
    const real r = real(1) / std::sqrt(vec::sum_of_squares(x_t, D) / static_cast<real>(D) + eps);
    inv_rms[static_cast<std::size_t>(t)] = r;
#pragma omp simd
    for (i64 j = 0; j < D; ++j) y_t[j] = x_t[j] * r * w[j];
  }
}

// With g_j = w_j d_y_j:  d_x_j = r g_j - x_j (r^3 / D) sum_i g_i x_i,   d_w_j = d_y_j x_j r.
void rms_norm_backward(ConstMatrixView x, ConstMatrixView weight, std::span<const real> inv_rms, ConstMatrixView d_y,
                       MatrixView d_x, MatrixView d_weight) {
  check_shapes(x, weight, d_y, inv_rms.size());
  check_shapes(d_x, d_weight, d_y, inv_rms.size());
  const i64 D = x.cols;
  const real* w = weight.data;
  real* d_w = d_weight.data;
  for (i64 t = 0; t < x.rows; ++t) {
    const real* x_t = x.row(t);
    const real* d_y_t = d_y.row(t);
    real* d_x_t = d_x.row(t);
    const real r = inv_rms[static_cast<std::size_t>(t)];
    const real c = vec::dot3(w, d_y_t, x_t, D) * r * r / static_cast<real>(D);
#pragma omp simd
    for (i64 j = 0; j < D; ++j) {
      const real x_hat = x_t[j] * r;
      d_x_t[j] += r * (w[j] * d_y_t[j]) - c * x_hat;
      d_w[j] += d_y_t[j] * x_hat;
    }
  }
}

}  // namespace pleiad::ops
