#include "pleiad/ops/tile.hpp"

#include <algorithm>
#include <utility>

namespace pleiad::ops::tile {

namespace {

/// The first or the second half of a and b, element by element in turn.
template <bool second>
Wide zip(Wide a, Wide b) {
  WidePlaces from;
  for (i64 i = 0; i < k_wide; ++i) from[i] = (second ? k_wide / 2 : 0) + i / 2 + i % 2 * k_wide;
#ifdef __clang__  // has no shuffle by a vector; built for the fuzzers only
  Wide zipped;
  for (i64 i = 0; i < k_wide; ++i) zipped[i] = from[i] < k_wide ? a[from[i]] : b[from[i] - k_wide];
  return zipped;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

/// A square of k_wide: zipping row i with row i + k_wide / 2 turns it once log2(k_wide) times done.
void transpose_square(const real* x, i64 x_row, real* to, i64 to_row) {
  Wide now[k_wide], next[k_wide];
#pragma GCC unroll 32
  for (i64 i = 0; i < k_wide; ++i) now[i] = wide::load(x + i * x_row);
#pragma GCC unroll 8
  for (i64 done = 1; done < k_wide; done *= 2) {
#pragma GCC unroll 32
    for (i64 i = 0; i < k_wide / 2; ++i) {
      next[2 * i] = zip<false>(now[i], now[i + k_wide / 2]);
      next[2 * i + 1] = zip<true>(now[i], now[i + k_wide / 2]);
    }
#pragma GCC unroll 32
    for (i64 i = 0; i < k_wide; ++i) now[i] = next[i];
  }
#pragma GCC unroll 32
  for (i64 i = 0; i < k_wide; ++i) wide::store(now[i], to + i * to_row);
}

}  // namespace

void transpose(ConstMatrixView x, real* to, i64 to_row) {
  const i64 width = wide::padded(x.rows);
  for (i64 i = 0; i < width; i += k_wide) {
    const i64 rows = std::min(k_wide, x.rows - i);
    i64 j = 0;
    for (; rows == k_wide && j + k_wide <= x.cols; j += k_wide) transpose_square(x.row(i) + j, x.stride, to + j * to_row + i, to_row);
    for (; j < x.cols; ++j) {
      for (i64 r = 0; r < k_wide; ++r) to[j * to_row + i + r] = r < rows ? x(i + r, j) : real(0);
    }
  }
}

}  // namespace pleiad::ops::tile
