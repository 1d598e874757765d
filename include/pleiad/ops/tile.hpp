// Products of small matrices that lie in a cache already, without copying them first: c [m,n] = a b, where b is packed in rows of whole
// vectors and a may be read along either side. Each element of c is one chain of mul_add over k, in order, whatever its place.
#pragma once
#include "pleiad/core/matrix.hpp"
#include "pleiad/ops/wide.hpp"

namespace pleiad::ops::tile {

/// The left factor: element (i, p) stands at data[i * row + p * step].
struct Left {
  const real* data;
  i64 row, step;
};

/// R rows and V vectors of c at once, kept in registers.
template <int R, int V>
inline void block(Left a, i64 k, const real* b, i64 b_row, real* c, i64 c_row, bool add) {
  Wide sum[R][V];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) sum[r][v] = add ? wide::load(c + r * c_row + v * k_wide) : Wide{};
  }
  for (i64 p = 0; p < k; ++p) {
    Wide right[V];
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) right[v] = wide::load(b + p * b_row + v * k_wide);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
      const Wide left = wide::all(a.data[r * a.row + p * a.step]);
#pragma GCC unroll 32
      for (int v = 0; v < V; ++v) sum[r][v] = wide::mul_add(left, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) wide::store(sum[r][v], c + r * c_row + v * k_wide);
  }
}

/// All rows of V vectors of c: as many rows at once as leave registers for b, then halves of that.
template <int V>
inline void columns(i64 m, Left a, i64 k, const real* b, i64 b_row, real* c, i64 c_row, bool add) {
  constexpr int R = V == 1 ? 12 : static_cast<int>(k_registers - k_registers / 4) / V;
  i64 i = 0;
  const auto rows = [&]<int count>() {
    block<count, V>({a.data + i * a.row, a.row, a.step}, k, b, b_row, c + i * c_row, c_row, add);
    i += count;
  };
  while (i + R <= m) rows.template operator()<R>();
  if constexpr (R > 4) {
    if (i + 4 <= m) rows.template operator()<4>();
    if (i + 4 <= m) rows.template operator()<4>();
  }
  if (i + 2 <= m) rows.template operator()<2>();
  if (i < m) rows.template operator()<1>();
}

/// c [m, n] = a [m, k] b [k, n], or added to c. pre: n is a multiple of k_wide; c overlaps nothing.
inline void multiply(i64 m, i64 n, i64 k, Left a, const real* b, i64 b_row, real* c, i64 c_row, bool add = false) {
  i64 j = 0;
  for (; j + 4 * k_wide <= n; j += 4 * k_wide) columns<4>(m, a, k, b + j, b_row, c + j, c_row, add);
  for (; j + 2 * k_wide <= n; j += 2 * k_wide) columns<2>(m, a, k, b + j, b_row, c + j, c_row, add);
  for (; j < n; j += k_wide) columns<1>(m, a, k, b + j, b_row, c + j, c_row, add);
}

/// Rows 0 .. rows-1 of x turned into columns of `to`, whose rows are `to_row` apart; columns beyond, up to whole vectors, are 0.
void transpose(ConstMatrixView x, real* to, i64 to_row);

}  // namespace pleiad::ops::tile
