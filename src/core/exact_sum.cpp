#include "pleiad/core/exact_sum.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "pleiad/core/error.hpp"

namespace pleiad {

void ExactSum::add(double x) {
  if (!std::isfinite(x)) {
    ++digits_[std::isnan(x) ? k_undefined : k_infinite];
    return;
  }
  PLEIAD_CHECK(x >= 0, "exact sum of {}", x);
  if (x == 0) return;
  // x = mantissa * 2^(k_least + place) with a whole mantissa, both as they stand in its bits.
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x), exponent = bits >> 52, fraction = bits & ((std::uint64_t{1} << 52) - 1);
  const int place = exponent > 0 ? static_cast<int>(exponent) - 1 : 0;
  __extension__ using wide = unsigned __int128;
  wide rest = static_cast<wide>(exponent > 0 ? fraction | std::uint64_t{1} << 52 : fraction) << (place % k_digit_bits);
  for (std::size_t at = static_cast<std::size_t>(place / k_digit_bits); rest != 0; ++at, rest >>= k_digit_bits) {
    digits_[at] += static_cast<i64>(rest & 0xffffffffu);
  }
}

void ExactSum::carry() {
  for (std::size_t i = 0; i + 1 < k_infinite; ++i) {
    digits_[i + 1] += digits_[i] >> k_digit_bits;
    digits_[i] &= 0xffffffff;
  }
}

std::span<i64> ExactSum::digits() {
  carry();
  return digits_;
}

double ExactSum::value() {
  if (digits_[k_undefined] > 0) return std::numeric_limits<double>::quiet_NaN();
  if (digits_[k_infinite] > 0) return std::numeric_limits<double>::infinity();
  carry();
  double sum = 0;
  for (std::size_t i = 0; i < k_infinite; ++i) sum += std::ldexp(static_cast<double>(digits_[i]), static_cast<int>(i) * k_digit_bits + k_least);
  return sum;
}

}  // namespace pleiad
