#include "pleiad/ops/sparse_linear.hpp"

#include "pleiad/ops/wide.hpp"

#include <numeric>

namespace pleiad::ops {

namespace {

/// f(columns, width) for runs of 8 vectors, then of one, then what is left of one.
template <class F>
void for_each_run(i64 cols, F f) {
  i64 j = 0;
  for (; j + 8 * k_wide <= cols; j += 8 * k_wide) f.template operator()<8>(j, k_wide);
  for (; j + k_wide <= cols; j += k_wide) f.template operator()<1>(j, k_wide);
  if (j < cols) f.template operator()<1>(j, cols - j);
}

/// sum of scale(i) * row(i) over i = begin .. end-1, in order, over V vectors; `count` numbers of the last one.
template <int V, class Row, class Scale>
inline void gather(Wide (&sum)[V], i64 begin, i64 end, i64 count, Row row, Scale scale) {
  for (i64 i = begin; i < end; ++i) {
    const real* from = row(i);
    const Wide by = wide::all(scale(i));
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = wide::mul_add(by, V > 1 ? wide::load(from + v * k_wide) : wide::load_up_to(from, count), sum[v]);
  }
}

}  // namespace

void linear_backward(ConstMatrixView x, ConstMatrixView w, const SparseGradient& d_z, ConstMatrixView factor, MatrixView d_x, MatrixView d_w) {
  const i64 T = x.rows, N = w.rows;
  PLEIAD_CHECK(static_cast<i64>(d_z.offset.size()) == T + 1 && d_x.rows == T && d_w.rows == N, "sparse gradient of {} rows for {}", d_z.offset.size(), T);
  PLEIAD_CHECK(w.cols == x.cols && d_x.cols == x.cols && d_w.cols == x.cols && (factor.rows == 0 || factor.rows == T), "{} columns for {}", w.cols, x.cols);
  for (i64 t = 0; t < T; ++t) {
    const i64 begin = d_z.offset[t], end = d_z.offset[t + 1];
    for_each_run(x.cols, [&]<int V>(i64 j, i64 count) {
      Wide sum[V] = {};
      gather(sum, begin, end, count, [&](i64 i) { return w.row(d_z.column[i]) + j; }, [&](i64 i) { return d_z.value[i]; });
      for (int v = 0; v < V; ++v) {
        real* out = d_x.row(t) + j + v * k_wide;
        if (factor.rows) sum[v] *= wide::load_up_to(factor.row(t) + j + v * k_wide, count);
        wide::store_up_to(wide::load_up_to(out, count) + sum[v], out, count);
      }
    });
  }

  // The entries of each column together, in the order of the rows.
  std::vector<i64> start(static_cast<std::size_t>(N) + 1, 0);
  const i64 first = d_z.offset[0], entries = d_z.offset[T] - first;
  for (i64 i = first; i < first + entries; ++i) ++start[d_z.column[i] + 1];
  std::partial_sum(start.begin(), start.end(), start.begin());
  struct Entry {
    real value;
    std::int32_t row;
  };
  std::vector<Entry> sorted(static_cast<std::size_t>(entries));
  std::vector<i64> next(start.begin(), start.end() - 1);
  for (i64 t = 0; t < T; ++t) {
    for (i64 i = d_z.offset[t]; i < d_z.offset[t + 1]; ++i) sorted[next[d_z.column[i]]++] = {d_z.value[i], static_cast<std::int32_t>(t)};
  }
  for (i64 n = 0; n < N; ++n) {
    if (start[n] == start[n + 1]) continue;
    for_each_run(x.cols, [&]<int V>(i64 j, i64 count) {
      real* out = d_w.row(n) + j;
      Wide sum[V];
      for (int v = 0; v < V; ++v) sum[v] = wide::load_up_to(out + v * k_wide, count);
      gather(sum, start[n], start[n + 1], count, [&](i64 i) { return x.row(sorted[i].row) + j; }, [&](i64 i) { return sorted[i].value; });
      for (int v = 0; v < V; ++v) wide::store_up_to(sum[v], out + v * k_wide, count);
    });
  }
}

}  // namespace pleiad::ops
