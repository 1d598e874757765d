// Loops over short rows whose result depends on the values only, never on addresses or on neighbouring rows.
// Sums use 16 accumulators: element i goes to accumulator i mod 16; the last few (n mod 8, in double n mod 4) are
// added one by one; then the 16 are folded 8, 4, 2, 1 and the last few join. exp and erf are branch-free, so that
// loops over them vectorise. `#pragma omp simd` stands on element-wise loops only (it says: in place is fine), never
// on a sum.
#pragma once
#include "pleiad/core/real.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__GNUC__) && !defined(__AVX__)
#pragma GCC diagnostic ignored "-Wpsabi"  // how vectors are passed matters to nobody: everything here is inlined
#endif

namespace pleiad::ops::vec {

/// a * b + c, rounded once where the machine can do so in one instruction.
template <class T>
inline T mul_add(T a, T b, T c) {
#ifdef __FMA__
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// Some reals side by side in a 32-byte vector register (a compiler extension of GCC and Clang; operators act on each).
typedef real Part __attribute__((vector_size(32)));
inline constexpr i64 k_part = 32 / sizeof(real);
inline constexpr i64 k_accumulators = 16;

/// How a term reads its operands: one after the other, or as many at once as a Part holds. The arithmetic is the same.
struct LoadOne {
  real operator()(const real* x) const { return *x; }
};
struct LoadPart {
  Part operator()(const real* x) const {
    Part p;
    std::memcpy(&p, x, sizeof(p));
    return p;
  }
};

/// Joins term(load, i), i = 0 .. n-1, in the order told at the head of this file; `start` must be neutral for `join`.
/// `term` and `join` are written once for both widths: [=](auto load, i64 i) { return load(x + i) * load(y + i); }.
template <class Term, class Join>
inline real reduce(i64 n, real start, Term term, Join join) {
  constexpr i64 k_parts = k_accumulators / k_part;
  Part s[k_parts];
  for (i64 k = 0; k < k_parts; ++k) s[k] = Part{} + start;
  i64 i = 0;
  for (; i + k_accumulators <= n; i += k_accumulators) {
    for (i64 k = 0; k < k_parts; ++k) s[k] = join(s[k], term(LoadPart(), i + k * k_part));
  }
  for (i64 k = 0; k < k_parts && i + k_part <= n; ++k, i += k_part) s[k] = join(s[k], term(LoadPart(), i));
  real rest = start;
  for (; i < n; ++i) rest = join(rest, term(LoadOne(), i));

  for (i64 half = k_parts / 2; half > 0; half /= 2) {
    for (i64 k = 0; k < half; ++k) s[k] = join(s[k], s[k + half]);
  }
  real quarter[4];
  for (i64 j = 0; j < 4; ++j) quarter[j] = k_part == 8 ? join(s[0][j], s[0][j + k_part - 4]) : s[0][j];
  return join(join(join(quarter[0], quarter[2]), join(quarter[1], quarter[3])), rest);
}

/// Sum of term(load, i), see reduce.
template <class Term>
inline real sum_of_terms(i64 n, Term term) {
  return reduce(n, real(0), term, [](auto a, auto b) { return a + b; });
}

/// Sum of x[i].
inline real sum(const real* x, i64 n) {
  return sum_of_terms(n, [x](auto load, i64 i) { return load(x + i); });
}

/// Sum of x[i] y[i].
inline real dot(const real* x, const real* y, i64 n) {
  return sum_of_terms(n, [x, y](auto load, i64 i) { return load(x + i) * load(y + i); });
}

/// Sum of x[i]^2.
inline real sum_of_squares(const real* x, i64 n) {
  return dot(x, x, n);
}

/// Sum of x[i] y[i] z[i].
inline real dot3(const real* x, const real* y, const real* z, i64 n) {
  return sum_of_terms(n, [x, y, z](auto load, i64 i) { return load(x + i) * load(y + i) * load(z + i); });
}

/// Sum over i of the plain function term(i), which may call exp and erf: vectorised by way of a block on the stack.
/// Blocks of 256 are summed one by one and added in order.
template <class Term>
inline real sum_of(i64 n, Term term) {
  constexpr i64 k_block = 256;
  alignas(64) real block[k_block];
  real total = 0;
  for (i64 begin = 0; begin < n; begin += k_block) {
    const i64 count = std::min(k_block, n - begin);
#pragma omp simd
    for (i64 i = 0; i < count; ++i) block[i] = term(begin + i);
    total += sum(block, count);
  }
  return total;
}

/// Largest x[i]; minus infinity if n = 0. NaN entries are passed over.
inline real max(const real* x, i64 n) {
  return reduce(
      n, -std::numeric_limits<real>::infinity(), [x](auto load, i64 i) { return load(x + i); },
      [](auto a, auto b) { return b > a ? b : a; });
}

/// x[i] *= a.
inline void scale(real a, real* x, i64 n) {
#pragma omp simd
  for (i64 i = 0; i < n; ++i) x[i] *= a;
}

/// y[i] += x[i]. y may be x.
inline void add(const real* x, real* y, i64 n) {
#pragma omp simd
  for (i64 i = 0; i < n; ++i) y[i] += x[i];
}

/// y[i] += a x[i]. y may be x.
inline void axpy(real a, const real* x, real* y, i64 n) {
#pragma omp simd
  for (i64 i = 0; i < n; ++i) y[i] = mul_add(a, x[i], y[i]);
}

/// The body of exp, for one number or for a vector of them: Int and Bits are integers of the same size. `fused` is mul_add.
template <class Real, class Int, class Bits, class Fused>
inline Real exp_of(Real x, Fused fused) {
  const auto all = [](float value) { return Real{} + value; };
  const Real lowest = all(-87.33f), highest = all(89.0f);
  const Real round = all(12582912.0f);  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const auto vanishes = x < lowest;
  // Written so that a comparison with NaN keeps the NaN.
  x = vanishes ? lowest : x;
  x = x > highest ? highest : x;
  const Real shifted = fused(x, all(1.44269504088896341f), round);
  const Real n = shifted - round;
  Real r = fused(n, all(-0.693359375f), x);
  r = fused(n, all(2.12194440e-4f), r);
  Real p = all(1.9875691500e-4f);
  p = fused(p, r, all(1.3981999507e-3f));
  p = fused(p, r, all(8.3334519073e-3f));
  p = fused(p, r, all(4.1665795894e-2f));
  p = fused(p, r, all(1.6666665459e-1f));
  p = fused(p, r, all(5.0000001201e-1f));
  p = fused(p * r, r, r) + 1.0f;
  const Int whole = std::bit_cast<Int>(std::bit_cast<Bits>(shifted) - std::bit_cast<Bits>(round));
  const Int half = whole >> 1;
  const auto power_of_two = [](Int e) { return std::bit_cast<Real>(std::bit_cast<Bits>(e + 127) << 23); };
  const Real value = p * power_of_two(half) * power_of_two(whole - half);
  return vanishes ? Real{} : value;
}

/// exp(x): error at most 1.01 ulp (measured); 0 below -87.33 (denormal results would cost 100 cycles each), infinity
/// from 88.73 up, NaN for NaN. Cody-Waite reduction x = n ln 2 + r, |r| <= ln 2 / 2, polynomial of degree 7 (Cephes
/// expf), scaling by 2^n in two steps.
inline float exp(float x) {
  return exp_of<float, std::int32_t, std::uint32_t>(x, [](float a, float b, float c) { return mul_add(a, b, c); });
}

inline double exp(double x) {
  return std::exp(x);
}

/// erf(x): absolute error below 1.5e-7 (measured: 1.3e-7); +-1 from |x| = 3.92 on, NaN for NaN.
/// Chebyshev interpolants of erf(x) / x in x^2 on [0, 1] (degree 6) and of 1 - erf on [1, 3.92] (degree 13); both are
/// computed and one is chosen.
inline float erf(float x) {
  const float a = std::fabs(x);
  const float s = x * x;
  float inner = 7.875875047e-05f;
  inner = mul_add(inner, s, -8.016864282e-04f);
  inner = mul_add(inner, s, 5.189087423e-03f);
  inner = mul_add(inner, s, -2.685421201e-02f);
  inner = mul_add(inner, s, 1.128359472e-01f);
  inner = mul_add(inner, s, -3.761262667e-01f);
  inner = mul_add(inner, s, 1.128379166e+00f);
  const float t = mul_add(a, 0.684931507f, -1.684931507f);  // [1, 3.92] onto [-1, 1]
  float outer = -3.977473805e-05f;
  outer = mul_add(outer, t, 8.596950127e-04f);
  outer = mul_add(outer, t, -1.499946688e-03f);
  outer = mul_add(outer, t, -2.283204425e-03f);
  outer = mul_add(outer, t, 8.921197391e-03f);
  outer = mul_add(outer, t, -8.066374769e-03f);
  outer = mul_add(outer, t, -6.428854780e-03f);
  outer = mul_add(outer, t, 2.869928415e-02f);
  outer = mul_add(outer, t, -4.512655013e-02f);
  outer = mul_add(outer, t, 4.500531187e-02f);
  outer = mul_add(outer, t, -3.059747660e-02f);
  outer = mul_add(outer, t, 1.393160599e-02f);
  outer = mul_add(outer, t, -3.878195483e-03f);
  outer = mul_add(outer, t, 5.033268608e-04f);
  const float magnitude = a < 1.0f ? inner * a : 1.0f - (a > 3.92f ? 0.0f : outer);
  return std::copysign(magnitude, x);
}

inline double erf(double x) {
  return std::erf(x);
}

/// 1 / (1 + exp(-x)).
inline real sigmoid(real x) {
  return real(1) / (real(1) + exp(-x));
}

/// Distribution function of the standard normal distribution.
inline real normal_cdf(real x) {
  return real(0.5) * (real(1) + erf(x * real(0.70710678118654752440)));
}

/// Density of the standard normal distribution.
inline real normal_density(real x) {
  return real(0.39894228040143267794) * exp(real(-0.5) * x * x);
}

}  // namespace pleiad::ops::vec
