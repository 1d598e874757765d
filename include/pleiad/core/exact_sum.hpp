// A sum of doubles without rounding: its terms may come in any order and from any number of ranks and the result is the same bits.
// The sum is a long integer in units of the least double, kept in digits that whole-number addition brings together.
#pragma once
#include <array>
#include <span>

#include "pleiad/core/real.hpp"

namespace pleiad {

class ExactSum {
 public:
  /// pre: x is not negative, or not a number; at most 2^31 terms.
  void add(double x);
  /// The sum of several ExactSums has the sums of their digits (each of at most 2^31 of them).
  std::span<i64> digits();
  /// Rounded at the end only; infinite or not a number if a term was.
  double value();

 private:
  static constexpr int k_digit_bits = 32;
  static constexpr int k_least = -1074;  // exponent of the least double
  static constexpr std::size_t k_infinite = 67, k_undefined = 68;

  void carry();

  std::array<i64, 69> digits_{};  // 67 digits, then how many terms were infinite, and how many no number
};

}  // namespace pleiad
