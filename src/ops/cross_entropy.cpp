#include "pleiad/ops/cross_entropy.hpp"

#include "pleiad/ops/vec.hpp"

#include <algorithm>
#include <cmath>

namespace pleiad::ops {

namespace {

constexpr std::int32_t k_ignored = -1;

void check_shapes(ConstMatrixView in, std::span<const std::int32_t> target, ConstMatrixView out) {
  PLEIAD_CHECK(out.rows == in.rows && out.cols == in.cols, "cross-entropy of {}x{} into {}x{}", in.rows, in.cols,
               out.rows, out.cols);
  PLEIAD_CHECK(static_cast<i64>(target.size()) == in.rows, "{} targets for {} rows", target.size(), in.rows);
  PLEIAD_CHECK(in.cols >= 1 || in.rows == 0, "cross-entropy of {} rows without classes", in.rows);
  for (const std::int32_t v : target)
    PLEIAD_CHECK(v >= k_ignored && v < in.cols, "target {} of {} classes", v, in.cols);
}

}  // namespace

void cross_entropy_forward(ConstMatrixView logits, std::span<const std::int32_t> target, MatrixView log_p,
                           std::span<double> loss_per_row) {
  check_shapes(logits, target, log_p);
  PLEIAD_CHECK(loss_per_row.size() == target.size(), "{} losses for {} rows", loss_per_row.size(), target.size());
  const i64 V = logits.cols;
  for (i64 t = 0; t < logits.rows; ++t) {
    const real* z = logits.row(t);
    real* out = log_p.row(t);
    const std::int32_t v = target[static_cast<std::size_t>(t)];
    const real largest = vec::max(z, V);
    const double log_total =
        std::log(static_cast<double>(vec::sum_of(V, [z, largest](i64 i) { return vec::exp(z[i] - largest); })));
    // Taken from the logits and in double: log_p is rounded to real.
    loss_per_row[static_cast<std::size_t>(t)] =
        v == k_ignored ? 0.0 : log_total - (static_cast<double>(z[v]) - static_cast<double>(largest));
    const real rounded = static_cast<real>(log_total);
#pragma omp simd
    for (i64 i = 0; i < V; ++i) out[i] = (z[i] - largest) - rounded;
  }
}

void cross_entropy_backward(ConstMatrixView log_p, std::span<const std::int32_t> target, real scale,
                            MatrixView d_logits) {
  check_shapes(log_p, target, d_logits);
  const i64 V = log_p.cols;
  for (i64 t = 0; t < log_p.rows; ++t) {
    const real* in = log_p.row(t);
    real* d_z = d_logits.row(t);
    const std::int32_t v = target[static_cast<std::size_t>(t)];
    if (v == k_ignored) {
      std::fill(d_z, d_z + V, real(0));
      continue;
    }
    const real p_target = vec::exp(in[v]);  // before d_z, which may be `in`, is written
#pragma omp simd
    for (i64 i = 0; i < V; ++i) d_z[i] = scale * vec::exp(in[i]);
    d_z[v] = scale * (p_target - real(1));
  }
}

}  // namespace pleiad::ops
