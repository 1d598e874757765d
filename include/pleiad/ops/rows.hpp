// Single rows of large tables: their kernels in whole vectors, and fetching them before they are needed, which a processor cannot guess.
#pragma once
#include "pleiad/ops/wide.hpp"

namespace pleiad::ops::rows {

/// So many rows ahead a loop over rows at random places should fetch(): enough to keep the memory busy, few enough to stay in the cache.
inline constexpr i64 k_ahead = 8;

/// Whether a row that nobody reads soon is written faster past the cache: measured so on AMD's Zen 5, and twice as slow on Intel's Sapphire Rapids (docs/performance.md).
inline bool pays_to_write_past_cache() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool pays = __builtin_cpu_is("amd");
  return pays;
#else
  return false;
#endif
}

/// Brings n numbers near, that will be read or, with `write`, changed: into the second cache, which has more lines under way than the first.
template <bool write = false>
inline void fetch(const real* x, i64 n) {
  const char* bytes = reinterpret_cast<const char*>(x);
  asm volatile("" : : "r"(bytes));  // GCC takes a function that does nothing but prefetch for one without effect, and drops its calls
  for (i64 i = 0; i < n * static_cast<i64>(sizeof(real)); i += 64) __builtin_prefetch(bytes + i, write, 2);
}

/// Sum of x[i] y[i] on four vectors; the last (n mod 4 k_wide) go to the first of them.
inline real dot(const real* x, const real* y, i64 n) {
  Wide sum[4] = {};
  i64 i = 0;
  for (; i + 4 * k_wide <= n; i += 4 * k_wide) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] = wide::mul_add(wide::load(x + i + v * k_wide), wide::load(y + i + v * k_wide), sum[v]);
  }
  wide::for_each(n - i, [&](i64 j, i64 count) {
    sum[0] = wide::mul_add(wide::load_up_to(x + i + j, count), wide::load_up_to(y + i + j, count), sum[0]);
  });
  return wide::sum((sum[0] + sum[2]) + (sum[1] + sum[3]));
}

/// y[i] = a x[i].
inline void scaled(real a, const real* x, real* y, i64 n) {
  wide::for_each(n, [&](i64 i, i64 count) { wide::store_up_to(wide::all(a) * wide::load_up_to(x + i, count), y + i, count); });
}

/// y[i] += a x[i].
inline void axpy(real a, const real* x, real* y, i64 n) {
  wide::for_each(n, [&](i64 i, i64 count) {
    wide::store_up_to(wide::mul_add(wide::all(a), wide::load_up_to(x + i, count), wide::load_up_to(y + i, count)), y + i, count);
  });
}

/// y = (y if `add`) + sum of factor(r) row(r), r = begin .. end-1, in order; y is not expected to be read soon.
template <class Row, class Factor>
inline void weighted_sum(i64 begin, i64 end, Row row, Factor factor, bool add, real* y, i64 n) {
  const bool past = pays_to_write_past_cache();
  const auto run = [&]<int V>(i64 i, i64 count) {
    Wide sum[V];
    for (int v = 0; v < V; ++v) sum[v] = add ? wide::load_up_to(y + i + v * k_wide, count) : Wide{};
    for (i64 r = begin; r < end; ++r) {
      const real* x = row(r) + i;
      const Wide by = wide::all(factor(r));
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[v] = wide::mul_add(by, V > 1 ? wide::load(x + v * k_wide) : wide::load_up_to(x, count), sum[v]);
    }
    for (int v = 0; v < V; ++v) {
      if (past && count == k_wide && !add) {
        wide::store_past_cache(sum[v], y + i + v * k_wide);
      } else {
        wide::store_up_to(sum[v], y + i + v * k_wide, count);
      }
    }
  };
  i64 i = 0;
  for (; i + 8 * k_wide <= n; i += 8 * k_wide) run.template operator()<8>(i, k_wide);
  for (; i + k_wide <= n; i += k_wide) run.template operator()<1>(i, k_wide);
  if (i < n) run.template operator()<1>(i, n - i);
}

/// y[i] += b (a x[i]), the product in brackets rounded first.
inline void axpy(real b, real a, const real* x, real* y, i64 n) {
  wide::for_each(n, [&](i64 i, i64 count) {
    wide::store_up_to(wide::mul_add(wide::all(b), wide::all(a) * wide::load_up_to(x + i, count), wide::load_up_to(y + i, count)), y + i, count);
  });
}

}  // namespace pleiad::ops::rows
