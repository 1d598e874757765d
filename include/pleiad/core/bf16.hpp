// Brain floats: the upper half of a single-precision number, rounded to nearest even. For the factors of expert products only;
// sums and stored weights stay in single precision.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

#include "pleiad/core/real.hpp"

namespace pleiad {

struct bf16 {
  std::uint16_t bits = 0;
};

inline bf16 to_bf16(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (u >> 16) | 0x40u;  // rounding could carry a NaN into an infinity
  return {static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded)};
}

inline float to_float(bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

/// x as a factor of products: as it is, or rounded.
template <class N>
inline N factor_of(real x) {
  if constexpr (std::is_same_v<N, real>) {
    return x;
  } else {
    return to_bf16(static_cast<float>(x));
  }
}

/// n numbers as factors, rounded or copied.
template <class N>
inline void to_factors(const real* from, N* to, i64 n) {
#pragma omp simd
  for (i64 i = 0; i < n; ++i) to[i] = factor_of<N>(from[i]);
}

}  // namespace pleiad
