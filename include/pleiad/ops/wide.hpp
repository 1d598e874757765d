// The widest vector of reals that the compiled instruction set has, for kernels that keep their data in registers. A compiler extension
// of GCC and Clang: operators act on each element, a comparison gives a mask for `mask ? a : b`. Rounding is that of the scalar
// operation, so a result does not depend on which elements share a vector.
#pragma once
#include "pleiad/ops/vec.hpp"

#ifdef __FMA__
#include <immintrin.h>
#endif

namespace pleiad::ops {

#if defined(__AVX512F__)
inline constexpr i64 k_wide_bytes = 64;
inline constexpr i64 k_registers = 32;
#elif defined(__AVX__)
inline constexpr i64 k_wide_bytes = 32;
inline constexpr i64 k_registers = 16;
#else
inline constexpr i64 k_wide_bytes = 16;
inline constexpr i64 k_registers = 16;
#endif
typedef real Wide __attribute__((vector_size(k_wide_bytes)));
inline constexpr i64 k_wide = k_wide_bytes / static_cast<i64>(sizeof(real));

/// Whole numbers, one for each element of a Wide.
#ifdef PLEIAD_DOUBLE
typedef std::int64_t WidePlace;
#else
typedef std::int32_t WidePlace;
#endif
typedef WidePlace WidePlaces __attribute__((vector_size(k_wide_bytes)));

namespace wide {

/// n rounded up to whole vectors.
inline i64 padded(i64 n) { return (n + k_wide - 1) / k_wide * k_wide; }

inline Wide load(const real* x) {
  Wide w;
  std::memcpy(&w, x, sizeof(w));
  return w;
}
inline void store(Wide w, real* x) { std::memcpy(x, &w, sizeof(w)); }
/// x[0..n) to y; short runs, for which a call of memcpy would take longer than the copy.
inline void copy(const real* x, i64 n, real* y) {
  i64 i = 0;
  for (; i + k_wide <= n; i += k_wide) store(load(x + i), y + i);
  for (; i < n; ++i) y[i] = x[i];
}
/// Mask of the first n elements: none where n <= 0, all where n >= k_wide.
inline WidePlaces first(i64 n) {
  WidePlaces place;
  for (i64 i = 0; i < k_wide; ++i) place[i] = static_cast<WidePlace>(i);
  return place < WidePlaces{} + static_cast<WidePlace>(n);
}
/// The first n numbers of x, 0 < n < k_wide, and `rest` behind them: nothing beyond x[n-1] is read.
inline Wide load_first(const real* x, i64 n, Wide rest) {
#if defined(__AVX512F__) && defined(PLEIAD_DOUBLE)
  return _mm512_mask_loadu_pd(rest, static_cast<__mmask8>((1u << n) - 1), x);
#elif defined(__AVX512F__)
  return _mm512_mask_loadu_ps(rest, static_cast<__mmask16>((1u << n) - 1), x);
#else
  for (i64 i = 0; i < n; ++i) rest[i] = x[i];
  return rest;
#endif
}
/// Nothing beyond x[n-1] is written.
inline void store_first(Wide w, real* x, i64 n) {
#if defined(__AVX512F__) && defined(PLEIAD_DOUBLE)
  _mm512_mask_storeu_pd(x, static_cast<__mmask8>((1u << n) - 1), w);
#elif defined(__AVX512F__)
  _mm512_mask_storeu_ps(x, static_cast<__mmask16>((1u << n) - 1), w);
#else
  for (i64 i = 0; i < n; ++i) x[i] = w[i];
#endif
}
/// The same for 0 < n <= k_wide.
inline Wide load_up_to(const real* x, i64 n, Wide rest = Wide{}) { return n == k_wide ? load(x) : load_first(x, n, rest); }
inline void store_up_to(Wide w, real* x, i64 n) {
  if (n == k_wide) return store(w, x);
  store_first(w, x, n);
}
/// The first n elements, and 0.
inline Wide kept(Wide w, i64 n) { return first(n) ? w : Wide{}; }
/// f(i, count) for every run of at most k_wide of n numbers.
template <class F>
inline void for_each(i64 n, F f) {
  i64 i = 0;
  for (; i + k_wide <= n; i += k_wide) f(i, k_wide);
  if (i < n) f(i, n - i);
}
/// The same as store, without a read of what stood there before where that can be avoided: for results that are not needed soon.
inline void store_past_cache(Wide w, real* x) {
#ifdef __AVX512F__
  if (reinterpret_cast<std::uintptr_t>(x) % k_wide_bytes == 0) {
#ifdef PLEIAD_DOUBLE
    return _mm512_stream_pd(x, w);
#else
    return _mm512_stream_ps(x, w);
#endif
  }
#endif
  store(w, x);
}
/// Bit i is set where element i of a mask is.
inline std::uint32_t bits(WidePlaces mask) {
#if defined(__AVX512DQ__) && defined(PLEIAD_DOUBLE)
  return _mm512_movepi64_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__AVX512DQ__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__FMA__) && !defined(__AVX512F__) && defined(PLEIAD_DOUBLE)
  return static_cast<std::uint32_t>(_mm256_movemask_pd(reinterpret_cast<__m256d>(mask)));
#elif defined(__FMA__) && !defined(__AVX512F__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#else
  std::uint32_t set = 0;
  for (i64 i = 0; i < k_wide; ++i) set |= static_cast<std::uint32_t>(mask[i] != 0) << i;
  return set;
#endif
}
/// Writes first + i for every set bit i, one after the other, and how many these are is the result; up to k_wide numbers of `to` change.
inline i64 list_bits(std::uint32_t set, i64 first, WidePlace* to) {
#if defined(__AVX512F__) && !defined(PLEIAD_DOUBLE)
  WidePlaces place;
  for (i64 i = 0; i < k_wide; ++i) place[i] = static_cast<WidePlace>(i);
  place += static_cast<WidePlace>(first);
  const __m512i listed = _mm512_maskz_compress_epi32(static_cast<__mmask16>(set), reinterpret_cast<__m512i>(place));
  std::memcpy(to, &listed, sizeof(listed));
#else
  WidePlace* at = to;
  for (std::uint32_t rest = set; rest != 0; rest &= rest - 1) *at++ = static_cast<WidePlace>(first + std::countr_zero(rest));
#endif
  return std::popcount(set);
}
/// x in all elements, a negative zero too.
inline Wide all(real x) { return x - Wide{}; }

/// vec::mul_add of each element. By intrinsics: GCC makes one instruction of a loop over the elements in some places only.
inline Wide mul_add(Wide a, Wide b, Wide c) {
#if defined(__AVX512F__) && defined(PLEIAD_DOUBLE)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__) && defined(PLEIAD_DOUBLE)
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  for (i64 i = 0; i < k_wide; ++i) c[i] = vec::mul_add(a[i], b[i], c[i]);
  return c;
#endif
}

/// Element-wise b > a ? b : a: a NaN in b is passed over.
inline Wide larger(Wide a, Wide b) { return b > a ? b : a; }

template <i64 bytes>
struct Some {
  typedef real type __attribute__((vector_size(bytes)));
};

/// Joins element i with element i + half, halving until one is left.
template <class Vector, class Join>
inline real fold(Vector w, Join join) {
  if constexpr (sizeof(Vector) == 2 * sizeof(real)) {
    return join(w[0], w[1]);
  } else {
    typename Some<sizeof(Vector) / 2>::type half[2];
    std::memcpy(half, &w, sizeof(w));
    return fold(join(half[0], half[1]), join);
  }
}
inline real sum(Wide w) {
  return fold(w, [](auto a, auto b) { return a + b; });
}
inline real max(Wide w) {
  return fold(w, [](auto a, auto b) { return b > a ? b : a; });
}

/// vec::exp of each element, the same bits.
inline Wide exp(Wide x) {
#ifdef PLEIAD_DOUBLE
  for (i64 i = 0; i < k_wide; ++i) x[i] = vec::exp(x[i]);
  return x;
#else
  typedef std::int32_t Int __attribute__((vector_size(k_wide_bytes)));
  typedef std::uint32_t Bits __attribute__((vector_size(k_wide_bytes)));
  return vec::exp_of<Wide, Int, Bits>(x, [](Wide a, Wide b, Wide c) { return mul_add(a, b, c); });
#endif
}

}  // namespace wide
}  // namespace pleiad::ops
