#include "pleiad/ops/softmax.hpp"

#include "pleiad/ops/vec.hpp"

#include <cmath>

namespace pleiad::ops {

void softmax_rows(ConstMatrixView z, MatrixView p, std::span<real> log_sum_exp) {
  const i64 T = z.rows, N = z.cols;
  PLEIAD_CHECK(p.rows == T && p.cols == N, "softmax of {}x{} into {}x{}", T, N, p.rows, p.cols);
  PLEIAD_CHECK(N >= 1 || T == 0, "softmax of {} rows without columns", T);
  PLEIAD_CHECK(log_sum_exp.empty() || static_cast<i64>(log_sum_exp.size()) == T, "{} logarithms for {} rows",
               log_sum_exp.size(), T);
  for (i64 t = 0; t < T; ++t) {
    const real* z_t = z.row(t);
    real* p_t = p.row(t);
    const real largest = vec::max(z_t, N);
#pragma omp simd
    for (i64 n = 0; n < N; ++n) p_t[n] = vec::exp(z_t[n] - largest);
    const real total = vec::sum(p_t, N);
    vec::scale(real(1) / total, p_t, N);
    if (!log_sum_exp.empty()) log_sum_exp[static_cast<std::size_t>(t)] = largest + std::log(total);
  }
}

void softmax_backward_rows(ConstMatrixView p, ConstMatrixView d_p, MatrixView d_z) {
  const i64 T = p.rows, N = p.cols;
  PLEIAD_CHECK(d_p.rows == T && d_p.cols == N, "softmax gradient {}x{} for {}x{}", d_p.rows, d_p.cols, T, N);
  PLEIAD_CHECK(d_z.rows == T && d_z.cols == N, "softmax gradient of {}x{} into {}x{}", T, N, d_z.rows, d_z.cols);
  for (i64 t = 0; t < T; ++t) {
    const real* p_t = p.row(t);
    const real* d_p_t = d_p.row(t);
    real* d_z_t = d_z.row(t);
    const real mean = vec::dot(p_t, d_p_t, N);
#pragma omp simd
    for (i64 n = 0; n < N; ++n) d_z_t[n] = d_p_t[n] - mean;
    // The mean once more, of what is left: equal d_p would otherwise leave its rounding, and Adam makes whole steps of that.
    const real rest = vec::dot(p_t, d_z_t, N);
#pragma omp simd
    for (i64 n = 0; n < N; ++n) d_z_t[n] = p_t[n] * (d_z_t[n] - rest);
  }
}

}  // namespace pleiad::ops
