#include "pleiad/ops/softmax.hpp"

#include "pleiad/ops/wide.hpp"

#include <cmath>
#include <limits>

namespace pleiad::ops {

void softmax_rows(ConstMatrixView z, MatrixView p, std::span<real> log_sum_exp) {
  const i64 T = z.rows, N = z.cols;
  PLEIAD_CHECK(p.rows == T && p.cols == N, "softmax of {}x{} into {}x{}", T, N, p.rows, p.cols);
  PLEIAD_CHECK(N >= 1 || T == 0, "softmax of {} rows without columns", T);
  PLEIAD_CHECK(log_sum_exp.empty() || static_cast<i64>(log_sum_exp.size()) == T, "{} logarithms for {} rows",
               log_sum_exp.size(), T);
  const Wide lowest = wide::all(-std::numeric_limits<real>::infinity());
  for (i64 t = 0; t < T; ++t) {
    const real* z_t = z.row(t);
    real* p_t = p.row(t);
    Wide most = lowest, sum = {};
    wide::for_each(N, [&](i64 n, i64 count) { most = wide::larger(most, wide::load_up_to(z_t + n, count, lowest)); });
    const real largest = wide::max(most);
    wide::for_each(N, [&](i64 n, i64 count) {
      const Wide e = wide::exp(wide::load_up_to(z_t + n, count, lowest) - largest);
      sum += wide::kept(e, count);  // where all is minus infinity, e is not a number, also behind the row
      wide::store_up_to(e, p_t + n, count);
    });
    const real total = wide::sum(sum), share = real(1) / total;
    wide::for_each(N, [&](i64 n, i64 count) { wide::store_up_to(wide::load_up_to(p_t + n, count) * share, p_t + n, count); });
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
    const auto mean = [&](const real* d) {
      Wide sum = {};
      wide::for_each(N, [&](i64 n, i64 count) {
        sum = wide::mul_add(wide::load_up_to(p_t + n, count), wide::load_up_to(d + n, count), sum);
      });
      return wide::sum(sum);
    };
    const real first = mean(d_p_t);
    wide::for_each(N, [&](i64 n, i64 count) { wide::store_up_to(wide::load_up_to(d_p_t + n, count) - first, d_z_t + n, count); });
    // The mean once more, of what is left: equal d_p would otherwise leave its rounding, and Adam makes whole steps of that.
    const real rest = mean(d_z_t);
    wide::for_each(N, [&](i64 n, i64 count) {
      wide::store_up_to(wide::load_up_to(p_t + n, count) * (wide::load_up_to(d_z_t + n, count) - rest), d_z_t + n, count);
    });
  }
}

}  // namespace pleiad::ops
