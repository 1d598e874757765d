// Products of small matrices that lie in a cache already, without copying them first: c [m,n] = a b, where b is packed in rows of whole
// vectors and a may be read along either side. Each element of c is one chain of mul_add over k, in order, whatever its place.
#pragma once
#include <algorithm>

#include "pleiad/core/matrix.hpp"
#include "pleiad/ops/wide.hpp"

namespace pleiad::ops::tile {

/// Numbers in a line of the cache.
inline constexpr i64 k_line = 64 / static_cast<i64>(sizeof(real));

/// A left factor in one piece: element (i, p) stands at data[i * row + p * step].
struct Left {
  const real* data;
  i64 row, step;
  real operator()(i64 i, i64 p) const { return data[i * row + p * step]; }
};

/// Nothing to fetch meanwhile: factors that lie near.
struct AllNear {
  static constexpr bool far = false;
};

/// R rows and V vectors of c at once, kept in registers: rows i .. i+R-1. `a(i, p)` is a number, `b(p)` the address of the row's V vectors,
/// `c` knows what they begin with and where they go. `meanwhile.fetch(i, p)` is called for every row and every k_line-th p.
template <int R, int V, class A, class B, class C, class Meanwhile>
inline void block(i64 i, A a, i64 k, B b, C c, Meanwhile meanwhile) {
  Wide sum[R][V];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) sum[r][v] = c.begin(i + r, v);
  }
  const auto chain = [&](i64 begin, i64 end) {
    for (i64 p = begin; p < end; ++p) {
      Wide right[V];
      const real* row = b(p);
#pragma GCC unroll 32
      for (int v = 0; v < V; ++v) right[v] = wide::load(row + v * k_wide);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
        const Wide left = wide::all(a(i + r, p));
#pragma GCC unroll 32
        for (int v = 0; v < V; ++v) sum[r][v] = wide::mul_add(left, right[v], sum[r][v]);
      }
    }
  };
  if constexpr (Meanwhile::far) {
    for (i64 p = 0; p < k; p += k_line) {
      for (int r = 0; r < R; ++r) meanwhile.fetch(i + r, p);
      chain(p, std::min(p + k_line, k));
    }
  } else {
    chain(0, k);
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < V; ++v) c.end(i + r, v, sum[r][v]);
  }
}

/// All rows of V vectors of c: as many rows at once as leave registers for b, then halves of that.
template <int V, class A, class B, class C, class Meanwhile>
inline void columns(i64 m, A a, i64 k, B b, C c, Meanwhile meanwhile) {
  constexpr int R = V == 1 ? 12 : static_cast<int>(k_registers - k_registers / 4) / V;
  i64 i = 0;
  const auto rows = [&]<int count>() {
    block<count, V>(i, a, k, b, c, meanwhile);
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

/// c [m, n] = a [m, k] b [k, n] for whole vectors of n; b_at(j) and c_at(j) give b and c from column j on.
template <class A, class B, class C, class Meanwhile = AllNear>
inline void multiply_as(i64 m, i64 n, i64 k, A a, B b_at, C c_at, Meanwhile meanwhile = {}) {
  i64 j = 0;
  if constexpr (k_registers >= 32) {  // with 16 there is one too few for three rows: half as long again, as measured on a Zen 3
    for (; j + 4 * k_wide <= n; j += 4 * k_wide) columns<4>(m, a, k, b_at(j), c_at(j), meanwhile);
  }
  for (; j + 2 * k_wide <= n; j += 2 * k_wide) columns<2>(m, a, k, b_at(j), c_at(j), meanwhile);
  for (; j < n; j += k_wide) columns<1>(m, a, k, b_at(j), c_at(j), meanwhile);
}

/// c in one piece, written or added to.
struct Into {
  real* c;
  i64 c_row;
  bool add;
  Wide begin(i64 i, int v) const { return add ? wide::load(c + i * c_row + v * k_wide) : Wide{}; }
  void end(i64 i, int v, Wide sum) const { wide::store(sum, c + i * c_row + v * k_wide); }
};

/// c [m, n] = a [m, k] b [k, n], or added to c. pre: n is a multiple of k_wide; c overlaps nothing.
inline void multiply(i64 m, i64 n, i64 k, Left a, const real* b, i64 b_row, real* c, i64 c_row, bool add = false) {
  multiply_as(
      m, n, k, a, [=](i64 j) { return [=](i64 p) { return b + j + p * b_row; }; }, [=](i64 j) { return Into{c + j, c_row, add}; });
}

/// Rows 0 .. rows-1 of x turned into columns of `to`, whose rows are `to_row` apart; columns beyond, up to whole vectors, are 0.
void transpose(ConstMatrixView x, real* to, i64 to_row);

}  // namespace pleiad::ops::tile
